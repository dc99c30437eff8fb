-- Draws from a lease: counts spends that a bidder made in its own memory, and shrinks the lease's hold by their sum.
-- The money is already spent, so a draw is always counted, also past the hold (`over`) or after its end (`late`). The journal's line tells which.
-- include: lib/call.lua
-- include: lib/holds.lua
-- include: lib/text.lua

-- nil when a call is a valid draw: packed, of one campaign, with its brand's holds among KEYS. Else the reply.
local function unfit_draw(call, sums, plans)
  if not call.log or #sums ~= 1 then return { 'invalid', 0, 'spends' } end
  if not is_id(call.lease or '', 64) then return { 'invalid', 0, 'lease' } end
  if not string.find(call.first_sent or '', '^%d*$') or #call.first_sent > 15 then return { 'invalid', 0, 'first_sent' } end
  local campaign = plans.campaigns[sums[1].campaign]
  local brand = campaign and plans.brands[campaign.brand_id]
  if brand and not brand.holds_key then return { 'invalid', 0, 'keys' } end
  return nil
end

-- Whether an earlier attempt of this call may have been counted and have left the dedup window since. A client knows Redis' clock to a few seconds.
local CLOCKS_APART_MS = 5000
local function is_forgotten(call, requests, now)
  return call.first_sent ~= '' and now - tonumber(call.first_sent) > requests.window - CLOCKS_APART_MS
end

-- Takes an amount off a lease's hold, in the tables. Returns what write_draw must do, with the journal's line: `D` within the hold, `P` past it, `Q` after
-- its end, then the amount left and its expiry. Writes nothing. nil where the stored hold is malformed, or above the brand's sum on hold.
local function draw(brand, campaign, lease, amount, now)
  local name = campaign .. ':' .. lease
  local value = redis.call('HGET', brand.holds_key, name)
  local held, expires, number
  if value then
    held, expires, number = hold_of(value)
    if not held then return nil end
    number = number ~= '' and ',' .. number or ''
  end
  local rest = held and tonumber(expires) > now and tonumber(held) or 0
  if rest > brand.held then return nil end
  local kind, left = rest >= amount and 'D' or (rest > 0 and 'P' or 'Q'), math.max(rest - amount, 0)
  if not add_held(brand, campaign, left - rest) then return nil end
  return {
    brand = brand, name = name, rest = (expires or '') .. (number or ''), left = left, ends = left == 0 and rest > 0, within = kind == 'D',
    line = kind .. ',' .. campaign .. ',' .. lease .. ',' .. text(left) .. ',' .. (left > 0 and expires or '') .. ';',
  }
end

-- The write phase. A hold that was drawn completely is not stored as ended, because its lease may refill it.
local function write_draw(drawn)
  local brand = drawn.brand
  if drawn.left > 0 then
    redis.call('HSET', brand.holds_key, drawn.name, text(drawn.left) .. ',' .. drawn.rest)
  elseif drawn.ends then
    redis.call('HDEL', brand.holds_key, drawn.name)
    redis.call('ZREM', brand.expiry_key, drawn.name)
  end
  brand.holds_changed = brand.holds_changed or drawn.left > 0 or drawn.ends
end
