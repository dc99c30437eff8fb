-- The brake of a campaign: a limit for a minute, and a breaker. Fields of its hash, absent where it never had one; whoever has one has `x` too:
-- br  `<limit>,<breaker>,<round>`: micros a minute each, empty is none; round rises when a person resumes the campaign
-- bk  `<since ms>` while the breaker is open; after a person resumed it `,<minute>,<micros>`: what that minute had by then, which counts no more
-- s   the minute (lib/minute.lua)
-- A call that spends only what may be refused (try, reserve, lease) keeps to the limit. Money that is spent already is counted past it, and past the breaker.
-- include: lib/minute.lua
-- include: lib/stored.lua
local NO_BRAKE, BREAKER = ',,0', 2048

-- The brake at an instant: {text, breaker, round, since (while it is open), base (what does not count of the minute), row (of the campaign's budgets)}. nil
-- where a field is malformed.
local function brake_at(value, opened, minute, now)
  local limit, breaker, round = string.match(value, '^(%d*),(%d*),(%d+)$')
  local row = limit and minute_row(minute, tonumber(limit), now)
  if not row or not is_limit(limit) or not is_limit(breaker) or not whole(round) or #value > 64 then return nil end
  local brake = { text = value, breaker = tonumber(breaker), round = tonumber(round), base = 0, row = row }
  if opened then
    local resumed, base = string.match(opened, '^,(%d+),(%d+)$')
    brake.since = whole(opened)
    if not brake.since and not (whole(resumed) and whole(base)) then return nil end
    if not brake.since and tonumber(resumed) == row.minute.no then brake.base = tonumber(base) end
  end
  return brake
end

-- What more may be spent in the minute before the breaker opens, which is when it is passed.
local function before_trip(brake)
  return brake and brake.breaker and not brake.since and brake.breaker - brake.row.spent + brake.base or math.huge
end
