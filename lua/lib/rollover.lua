-- Rollover: what a brand's daily budget left on its day before is added to the present day's limit, at most a cap. engine/domain/rollover.py has the rule.
-- The brand's hash has the field `b`, `<cap>,<day>,<left>,<before>`; no field is no rollover. left: what the day before that day left of its limit.
-- before: the limit that the day before had, empty where it had none or the rollover began on that day: late spends of that day are checked against what
-- of it was not carried (lib/late.lua).
-- The first call that counts on a day writes its carry, and tells the journal (lib/carry_entry.lua). Until then each call calculates it anew: days without
-- a spend take no loop, and what they are calculated from changes only by calls that write it.
-- include: lib/calendar.lua
-- include: lib/local_day.lua
-- include: lib/stored.lua
-- include: lib/steps.lua
-- include: lib/text.lua

-- A carry from its field: {cap, day, left, before (false is none), carried}; nil where it is malformed.
local function read_carry(value)
  local cap, day, left, before = string.match(value, '^(%d+),(%d+),(%d+),(%d*)$')
  if not cap or #day > 6 or not whole(cap) or not whole(left) or not is_limit(before) then return nil end
  return { cap = cap + 0, day = day + 0, left = left + 0, before = tonumber(before) or false, carried = math.min(cap + 0, left + 0), fresh = false }
end

local function carry_text(carry)
  return table.concat({ text(carry.cap), text(carry.day), text(carry.left), carry.before and text(carry.before) or '' }, ',')
end

-- A day's limit with what is carried into it, as text. No budget ('' or false) stays none, and one of 0 allows nothing.
local function with_carry(limit, carried)
  if not limit or not string.find(limit, '[1-9]') or not whole(limit) then return limit end
  return text(math.min(limit + carried, MAX_TOTAL))
end

-- The budgets at the ends of days, {first day, micros or nil} each, in their order. daily: of the plan; n1, n2: its steps.
local function budget_pieces(daily, n1, n2, zone)
  local pieces = { { 0, tonumber(daily) } }
  for i = 1, n2 and 2 or 1 do
    local at, limit = string.match((i == 1 and n1 or n2) or '', '^(%d+),(%d*)')
    if at then pieces[#pieces + 1] = { day_of(local_ms(zone, at + 0)), tonumber(limit) } end
  end
  return pieces
end

local function piece_on(pieces, day)
  local found, next_day = pieces[1][2], math.huge
  for i = #pieces, 1, -1 do
    if pieces[i][1] <= day then return pieces[i][2], next_day end
    next_day = pieces[i][1]
  end
  return found, next_day
end

-- What the last of some days without a spend leaves, all of one budget, where the day before them left `left`.
local function left_after(left, budget, days, cap)
  if not budget or budget == 0 then return 0 end
  return math.min(budget + math.min(cap, left + (days - 1) * budget), MAX_TOTAL)
end

-- How many of the days from one until another, which is not counted, never were: a zone that changes may go ahead over a day.
local function skipped_days(zone, from, ends)
  local count = 0
  for i = 2, zone and 4 or 0, 2 do
    if zone[i] < math.huge then
      local before, after = day_of(local_ms(zone, zone[i] - 1)), day_of(local_ms(zone, zone[i]))
      count = count + math.max(0, math.min(after, ends) - math.max(before + 1, from))
    end
  end
  return count
end

-- The carry of a day, from the field `b`; `fresh` where it is to be written. nil where a value is malformed. daily, n1, n2: of the plan.
local function carry_on(key, value, daily, n1, n2, day, zone)
  local carry = read_carry(value)
  if not carry or carry.day >= day then return carry end
  local spent = stored(redis.call('HGET', key, 'd:' .. text(carry.day)))
  if not spent or not daily or not is_limit(daily) then return nil end
  local pieces, cap, last, limit, left = budget_pieces(daily, n1, n2, zone), carry.cap, day - 1, nil, 0
  local month, at = month_of(last), last
  if month_of(carry.day) == month then
    limit = piece_on(pieces, carry.day)
    if limit and limit > 0 then limit = math.min(limit + carry.carried, MAX_TOTAL) end
    left, at = math.max(0, (limit or 0) - spent), carry.day + 1
  else
    while month_of(at - 1) == month do at = at - 1 end
  end
  while at <= last do
    local budget, next_day = piece_on(pieces, at)
    local ends = math.min(next_day, day)
    local days = ends - at - skipped_days(zone, at, ends)
    if days > 0 then
      left = left_after(left, budget, days, cap)
      limit = budget and budget > 0 and left or budget
    end
    at = ends
  end
  if skipped_days(zone, last, day) > 0 then limit = nil end
  if month_of(day) ~= month then left = 0 end
  return { cap = cap, day = day, left = left, before = limit or false, carried = math.min(cap, left), fresh = true }
end
