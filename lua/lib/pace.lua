-- Pacing: how much of a daily budget may be spent by now. A try passes while spent + held is below what its curve allows at its instant, and while this
-- minute has spent less than its cap. So an owner is at most one amount ahead of its curve, and no price is favoured. record_spend is never refused.
-- A brand's pacing is of its daily budget, a campaign's of its own daily budget. The owner's hash has
--   p         `<curves>,<lead>,<catch-up>`; no field is no pacing
--             curves: a digit for every day, or seven from Monday on: 0 is a straight line, 1 to 9 the curve in the field `c1` to `c9` (lib/curve.lua)
--             lead: of straight lines, in ppm
--             catch-up: what a minute may spend, in percent of its plan or of a 1440th of the budget, whichever is larger. 0 is no cap. `s` is what is left
--             of the budget in percent of what is left of the plan, from 100 to 300
--   s         what this minute has spent, and its pass rate (lib/minute.lua, lib/pass_rate.lua)
-- Pacing is a passing cause: no status, no journal item and no message has it.
-- include: lib/curve.lua
-- include: lib/local_day.lua
-- include: lib/minute.lua
-- include: lib/pass_rate.lua
-- include: lib/constants.lua
local PACING = 512
local DAY_OF_CURVE, LARGE = 86400000, 10000000000000

-- A pace from the field `p`; nil where it is malformed.
local function parse_pace(value)
  local curves, lead, catch_up = string.match(value, '^(%d+),(%d+),(s?%d*)$')
  if not curves or (#curves ~= 1 and #curves ~= 7) or #lead > 8 or lead + 0 < PPM then return nil end
  if catch_up ~= 's' and catch_up ~= '0' and not (string.find(catch_up, '^%d+$') and #catch_up <= 5 and catch_up + 0 >= 100) then return nil end
  return {
    -- A table has room for a power of two: more would cost twice as much.
    curves = curves, lead = lead + 0, catch_up = catch_up, key = false, day = false, curve = false, allowed = false, most = false,
  }
end

-- Sets the curve of a day (days since 1970), whose weekday chooses it. False where it is malformed.
local function choose_curve(pace, day)
  local place = (day + 3) % 7 + 1
  local number = #pace.curves == 1 and pace.curves or string.sub(pace.curves, place, place)
  if pace.curve then pace.curve, pace.from = false, nil end
  if number == '0' then return true end
  local curve = redis.call('HGET', pace.key, 'c' .. number)
  if not curve or #curve % 12 ~= 0 or #curve < 24 or not string.find(curve, '^00000%d+1000000$') then return false end
  pace.curve = curve
  return true
end

-- A time of a day of any length, on a curve's day.
local function on_curve(at, length)
  return quotient(at * DAY_OF_CURVE, length)
end

-- What is left of a budget in percent of what is left of its plan, from 100 to 300.
local function spread_percent(left, planned)
  if planned > LARGE then left, planned = quotient(left, 1000), quotient(planned, 1000) end
  if left >= 3 * planned then return 300 end
  return left > planned and quotient(left * 100, planned) or 100
end

local function percent_of(amount, percent)
  local low = amount % 100
  return math.min((amount - low) / 100 * percent + quotient(low * percent, 100), MAX_TOTAL)
end

-- What of a limit is due when the minute around a time of the day begins, and when it ends.
local function due_around(pace, limit, at, length)
  local begins = at - at % 60000
  return part_of(limit, due_at(pace, on_curve(begins, length))), part_of(limit, due_at(pace, on_curve(math.min(begins + 60000, length), length)))
end

-- What the minute around a time of the day may spend of a limit. Of all instants of a minute it is the same. spent_before: in the day, before the minute.
local function most_of(pace, limit, spent_before, at, length)
  if pace.catch_up == '0' then return math.huge end
  local before, after = due_around(pace, limit, at, length)
  local percent = pace.catch_up == 's' and spread_percent(limit - spent_before, limit - before) or pace.catch_up + 0
  return math.max(percent_of(math.max(after - before, quotient(limit, 1440)), percent), 1)
end

-- What may be spent of a limit by a time of the day, and in its minute. length: of the day.
local function allowance(pace, limit, spent_before, at, length)
  return part_of(limit, due_at(pace, on_curve(at, length))), most_of(pace, limit, spent_before, at, length)
end

-- The pace of an owner on a day, from its key, its field `p` and its time zone (lib/local_day.lua); nil where a field is malformed.
local function read_pace(key, value, day, zone)
  local pace = parse_pace(value)
  if not pace then return nil end
  pace.key, pace.day = key, day
  if zone then pace.zone = zone end
  return choose_curve(pace, day) and pace or nil
end

-- Adds to a brand or campaign its pace at an instant, and to its budgets the row that counts its minute. value: its field `p`. name: of the budget that is
-- paced; without a limit of it nothing is. held: what the owner has on hold. False where a field is malformed.
local function add_pace(owner, value, name, now, day, held)
  local budget, minute = nil, nil
  for _, row in ipairs(owner.budgets) do
    if row.name == name then budget = row end
    if row.minute then minute = row end
  end
  if not budget or not budget.limit then return true end
  local pace = read_pace(owner.key, value, day, owner.zone)
  if not pace then return false end
  if not minute then
    minute = minute_row(redis.call('HGET', owner.key, 's'), nil, now)
    if not minute then return false end
    owner.budgets[#owner.budgets + 1] = minute
  end
  pace.budget, pace.minute, owner.pace = budget, minute, pace
  if owner.carry then pace.carries = true end
  pace.allowed, pace.most = allowance(pace, budget.limit, budget.spent - minute.spent, time_of_day(now, owner.zone))
  add_rate(minute.minute, function()
    local _, after = due_around(pace, budget.limit, time_of_day(now, owner.zone))
    return math.min(after - budget.spent + minute.spent - math.max(held, 0), pace.most)
  end)
  return true
end

-- Sets what a pace allows by an instant, and in its minute, of the limit that its budget has then.
local function pace_at(pace, at)
  local budget = pace.budget
  pace.allowed, pace.most = allowance(pace, budget.limit, budget.spent - pace.minute.spent, time_of_day(at, pace.zone))
end

-- How much more may be spent before the next try is refused: it passes while this is above 0. held: what the owner has on hold.
local function gap_of(pace, held)
  return math.min(pace.allowed - pace.budget.spent - (held > 0 and held or 0), pace.most - pace.minute.spent)
end

-- Whether pacing refuses the next try of an owner.
local function is_paced_out(owner, held)
  return owner.pace ~= nil and gap_of(owner.pace, held) <= 0
end

-- The first instant from `from` on at which an owner's pacing lets a try pass, if nothing is spent and no hold ends until then; nil where none is in that
-- day, where it is on another day of a brand with a rollover, and where a curve is malformed. now: of the call.
local function earliest(pace, held, now, from)
  local at, length = time_of_day(from, pace.zone)
  local begins, today, curve = from - at, now - time_of_day(now, pace.zone), pace.curve
  -- What is carried into another day is not known yet.
  if pace.carries and begins ~= today then return nil end
  local ppm = ppm_above(pace.budget.limit, (begins == today and pace.budget.spent or 0) + (held > 0 and held or 0))
  -- Days are 23 to 25 hours long.
  if not ppm or (begins ~= today and not choose_curve(pace, pace.day + quotient(begins - today + DAY_OF_CURVE / 2, DAY_OF_CURVE))) then return nil end
  local due = quotient(first_due(pace, ppm) * length + DAY_OF_CURVE - 1, DAY_OF_CURVE)
  pace.curve, pace.from = curve, nil
  return math.max(from, begins + due)
end

-- Whether pacing refused, and nothing that lasts longer than the minute: such a try counts as asked (lib/pass_rate.lua).
local function is_asked(mask)
  return mask == PACING or mask == PACING + RATE
end
