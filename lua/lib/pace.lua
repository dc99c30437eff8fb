-- Pacing: how much of a daily budget may be spent by now. A try passes while spent + held is below what its curve allows at its instant, and while this
-- minute has spent less than its cap. So an owner is at most one amount ahead of its curve, and no price is favoured. record_spend is never refused.
-- A brand's pacing is of its daily budget, a campaign's of its own daily budget. The owner's hash has
--   p         `<curves>,<lead>,<catch-up>`; no field is no pacing
--             curves: a digit for every day, or seven from Monday on: 0 is a straight line, 1 to 9 the curve in the field `c1` to `c9` (lib/curve.lua)
--             lead: of straight lines, in ppm
--             catch-up: what a minute may spend, in percent of its plan or of a 1440th of the budget, whichever is larger. 0 is no cap. `s` is what is left
--             of the budget in percent of what is left of the plan, from 100 to 300
--   s         what this minute has spent (lib/minute.lua)
-- Pacing is a passing cause: no status, no journal item and no message has it.
-- include: lib/curve.lua
-- include: lib/local_day.lua
-- include: lib/minute.lua
-- include: lib/constants.lua
local PACING = 512
local parse_pace, add_pace, gap_of, is_paced_out, earliest
do
  local DAY_OF_CURVE, PPM, LARGE = 86400000, 1000000, 10000000000000

  -- A pace from the field `p`; nil where it is malformed.
  function parse_pace(value)
    local curves, lead, catch_up = string.match(value, '^(%d+),(%d+),(s?%d*)$')
    if not curves or (#curves ~= 1 and #curves ~= 7) or #lead > 8 or lead + 0 < PPM then return nil end
    if catch_up ~= 's' and catch_up ~= '0' and not (string.find(catch_up, '^%d+$') and #catch_up <= 5 and catch_up + 0 >= 100) then return nil end
    return { curves = curves, lead = lead + 0, catch_up = catch_up }
  end

  -- Sets the curve of a day (days since 1970), whose weekday chooses it. False where it is malformed.
  local function choose_curve(pace, day)
    local place = (day + 3) % 7 + 1
    local number = #pace.curves == 1 and pace.curves or string.sub(pace.curves, place, place)
    pace.curve = nil
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

  -- What the minute around a time of the day may spend. Of all instants of a minute it is the same.
  local function most_of(pace, at, length)
    if pace.catch_up == '0' then return math.huge end
    local limit, begins = pace.budget.limit, at - at % 60000
    local before = part_of(limit, due_at(pace, on_curve(begins, length)))
    local plan = part_of(limit, due_at(pace, on_curve(math.min(begins + 60000, length), length))) - before
    local spent_before = pace.budget.spent - pace.minute.spent
    local percent = pace.catch_up == 's' and spread_percent(limit - spent_before, limit - before) or pace.catch_up + 0
    return math.max(percent_of(math.max(plan, quotient(limit, 1440)), percent), 1)
  end

  -- Adds to a brand or campaign its pace at an instant, and to its budgets the row that counts its minute. value: its field `p`. name: of the budget that is
  -- paced; without a limit of it nothing is. False where a field is malformed.
  function add_pace(owner, value, name, now, day)
    local budget, minute = nil, nil
    for _, row in ipairs(owner.budgets) do
      if row.name == name then budget = row end
      if row.minute then minute = row end
    end
    if not budget or not budget.limit then return true end
    local pace = parse_pace(value)
    if not pace then return false end
    pace.key = owner.key
    if not choose_curve(pace, day) then return false end
    if not minute then
      minute = minute_row(redis.call('HGET', owner.key, 's'), nil, now)
      if not minute then return false end
      owner.budgets[#owner.budgets + 1] = minute
    end
    local at, length = time_of_day(now)
    pace.budget, pace.minute, pace.day, owner.pace = budget, minute, day, pace
    pace.allowed, pace.most = part_of(budget.limit, due_at(pace, on_curve(at, length))), most_of(pace, at, length)
    return true
  end

  -- How much more may be spent before the next try is refused: it passes while this is above 0. held: what the owner has on hold.
  function gap_of(pace, held)
    return math.min(pace.allowed - pace.budget.spent - (held > 0 and held or 0), pace.most - pace.minute.spent)
  end

  -- Whether pacing refuses the next try of an owner.
  function is_paced_out(owner, held)
    return owner.pace ~= nil and gap_of(owner.pace, held) <= 0
  end

  -- The first instant from `from` on at which an owner's pacing lets a try pass, if nothing is spent and no hold ends until then; nil where none is in that
  -- day, and where a curve is malformed. now: of the call.
  function earliest(pace, held, now, from)
    local at, length = time_of_day(from)
    local begins, today, curve = from - at, now - time_of_day(now), pace.curve
    local ppm = ppm_above(pace.budget.limit, (begins == today and pace.budget.spent or 0) + (held > 0 and held or 0))
    -- Days are 23 to 25 hours long.
    if not ppm or (begins ~= today and not choose_curve(pace, pace.day + quotient(begins - today + DAY_OF_CURVE / 2, DAY_OF_CURVE))) then return nil end
    local due = quotient(first_due(pace, ppm) * length + DAY_OF_CURVE - 1, DAY_OF_CURVE)
    pace.curve = curve
    return math.max(from, begins + due)
  end
end
