-- Reads the published plan and the counters of brands and campaigns from their hashes, and derives their causes.
-- include: lib/text.lua
-- include: lib/stored.lua
-- include: lib/schedule.lua
-- include: lib/constants.lua
-- include: lib/calendar.lua
-- include: lib/local_day.lua
-- include: lib/budgets.lua
-- include: lib/gates.lua
-- include: lib/flights.lua
-- include: lib/flight_part.lua
-- include: lib/own_held.lua
-- include: lib/brake.lua
-- include: lib/steps.lua
-- include: lib/rollover.lua

-- nil where a key does not exist, false where it exists and is not what publish writes.
local function absent(key)
  if redis.call('EXISTS', key) == 1 then return false end
  return nil
end

-- The fields of the counters of a day and a month, formatted once a call.
local spelled = {}
local function period_fields(day, month)
  if spelled.day ~= day or spelled.month ~= month then
    spelled = { day = day, month = month, day_field = 'd:' .. text(day), month_field = 'm:' .. text(month) }
  end
  return spelled.day_field, spelled.month_field
end

-- The fields of the counters of a day, a month and a flight: {name of the budget = field}.
local function counters_of(day, month, flight_field)
  local day_field, month_field = 'd:' .. text(day), 'm:' .. text(month)
  return {
    -- each budget
    $name = $counter,
    -- end each
  }
end

-- A budget from the fields of its owner's hash; nil where one is malformed.
local function budget_of(name, cause, field, since_field, limit, spent, since)
  local counted = stored(spent)
  if not limit or not is_limit(limit) or not counted or not is_since(since) then return nil end
  return { name = name, cause = cause, field = field, since_field = since_field, limit = tonumber(limit), spent = counted, since = since or '' }
end

-- A campaign's own budgets that have a limit, in the order of the list; nil where a value is malformed. given, flight_field: its limits and the field of
-- its flight's counter (lib/flights.lua). spent: {field = value} of its counters. since: the instants at which each budget of the list last changed,
-- where they are needed. before: the limits before the last step (lib/steps.lua), which may have lifted one.
local NO_BUDGETS = {}
local function own_budgets(given, flight_field, spent, day_field, month_field, since, before)
  local budgets = {}
  -- each campaign budget
  if given[$limit] ~= '' or (before and before[$limit] ~= '') then
    local counted = spent[$counter] or $absent
    local budget = counted and budget_of('$name', $cause, $counter, '$since', given[$limit], counted, since and since[$i])
    if not budget then return nil end
    budgets[#budgets + 1] = budget
  end
  -- end each
  return budgets
end

-- The same with its counters, steps and these instants, which it reads; returns the instants too, the brake where it has one, whose minute is the last row,
-- and where it has steps {n1, n2, limits in force}.
local function read_own_budgets(key, given, flight_field, day_field, month_field, now, zone)
  local got = redis.call('HMGET', key, day_field, month_field, flight_field, 'br', 'bk', 's', 'n1', 'n2'
    -- each campaign budget
    , '$since'
    -- end each
  )
  local since = {
    -- each campaign budget
    got[8 + $i] or '',
    -- end each
  }
  local limits, before, stepped_at, steps = given, nil, nil, nil
  if got[7] then
    limits, before, stepped_at = limits_by(given, got[7], got[8], now)
    if not limits then return nil end
    steps = { n1 = got[7], n2 = got[8] or nil, limits = limits }
  end
  local spent = { [day_field] = got[1] or nil, [month_field] = got[2] or nil, [flight_field] = got[3] or nil }
  if given.even and stored(got[1]) and stored(got[3]) then
    take_part(limits, stored(got[1]), stored(got[3]), now, zone, given.even)
    if before then take_part(before, stored(got[1]), stored(got[3]), now, zone, given.even) end
  end
  local budgets = own_budgets(limits, flight_field, spent, day_field, month_field, since, before)
  local brake = got[4] and brake_at(got[4], got[5], got[6], now)
  if not budgets or brake == nil then return nil end
  if stepped_at then note_steps(budgets, before, stepped_at) end
  for _, budget in ipairs(budgets) do
    if budget.stepped then since[STEPPED[budget.name]] = budget.since end
  end
  if brake then budgets[#budgets + 1] = brake.row end
  return budgets, since, brake, steps
end

-- Whether a text says what stops a whole brand: 0, or the sum of 1 (archived) and 2 (paused).
local function is_stop(value)
  return value and string.find(value, '^[0-3]$') ~= nil
end

-- Reads a brand. nil where there is none, false where its hash is malformed. day, month: those of UTC at `now`; the brand has its own.
-- budgets: what a spend is checked against, in the order of the list (lib/budgets.lua). given: the text of its zone ('' is UTC), where the hash is not to say it.
local function read_brand(key, day, month, now, given)
  local day_field, month_field = period_fields(day, month)
  local got = redis.pcall('HMGET', key, 'v', 'archived', 'held', 'own'
    -- each brand budget
    , '$limit', $counter, '$since'
    -- end each
    , 'b', 'p', 'n1', 'n2', 'zone'
  )
  if got.err then return false end
  if not got[1] then return absent(key) end
  local zone_text, zone, local_now = given or got[#got] or '', nil, nil
  if zone_text ~= '' then
    zone = zone_of(zone_text)
    if not zone then return false end
    local_now = local_ms(zone, now)
    local own_day = day_of(local_now)
    -- Most hours of a day have the same number in UTC, and no second read.
    if own_day ~= day then return read_brand(key, own_day, month_of(own_day), now, given) end
  elseif got[#got] == '' then
    return false
  end
  local paced, n1, n2 = got[#got - 3], got[#got - 2], got[#got - 1]
  local plain, limits, before, since = NO_BUDGETS, NO_BUDGETS, nil, nil
  if n1 then
    plain = { got[5], got[8] }
    limits, before, since = limits_by(plain, n1, n2, now)
    if not limits then return false end
  end
  local carry = got[#got - 4] or nil
  if carry then
    -- make: carry_on, with_carry
    carry = carry_on(key, carry, got[5], n1, n2, day, zone)
    if not carry then return false end
    plain = { got[5], got[8] }
    limits = { with_carry(limits[1] or got[5], carry.carried), limits[2] or got[8] }
    if before then before = { with_carry(before[1], carry.carried), before[2] } end
  end
  local version, held, budgets = whole(got[1]), whole(got[3] or '0'), {}
  if not version or not is_stop(got[2]) or not held or (got[4] and got[4] ~= '1') then return false end
  -- each brand budget
  budgets[$i] = budget_of('$name', $cause, $counter, '$since', limits[$i] or got[3 * $i + 2] or $absent, got[3 * $i + 3], got[3 * $i + 4])
  if not budgets[$i] then return false end
  -- end each
  if since then note_steps(budgets, before, since) end
  return {
    key = key, version = version, archived = got[2] % 2 == 1, paused = got[2] >= '2', stops = got[2], held = held, budgets = budgets,
    own_held = got[4] == '1' and {}, paced = paced,
    zone = zone, zone_text = zone_text, local_now = local_now, day = day, month = month, given = plain, n1 = n1, n2 = n2, carry = carry,
  }
end

-- Reads a campaign. nil where there is none, false where its hash is malformed. day, month, zone: of its brand.
local function read_campaign(key, day, month, now, zone)
  local day_field, month_field = period_fields(day, month)
  local got = redis.pcall('HMGET', key, 'v', 'on', 'archived', 'schedule', day_field, month_field, 'x', 'f1', 'f2', 'p')
  if got.err then return false end
  if not got[1] then return absent(key) end
  local schedule, daily, monthly, limits, budgets = got[4], stored(got[5]), stored(got[6]), got[7], NO_BUDGETS
  if not whole(got[1]) or not is_flag(got[2]) or not is_flag(got[3]) or not schedule then return false end
  if not daily or not monthly or (schedule ~= '' and not is_schedule(schedule)) then return false end
  local given, flight_field, flight, outside, starts, brake, steps, _
  if limits then
    given, flight_field, flight, outside, starts = limits_at(limits, got[8], got[9], now)
    if not given then return false end
    -- Bidders are told that it runs from then on.
    if starts and schedule ~= '' and not within_schedule(schedule, local_ms(zone, starts)) then starts = nil end
    budgets, _, brake, steps = read_own_budgets(key, given, flight_field, day_field, month_field, now, zone)
  end
  if not budgets then return false end
  return {
    key = key, version = got[1], on = got[2] == '1', archived = got[3] == '1', schedule = schedule, daily = daily, monthly = monthly,
    limits = limits, budgets = budgets, f1 = got[8], f2 = got[9], flight = flight, outside = outside, starts = starts,
    brake = brake, broken = brake and brake.since ~= nil, paced = got[10], zone = zone, day = day, month = month,
    given = given, n1 = steps and steps.n1, n2 = steps and steps.n2,
    id = false, brand_id = false, charged = false, closed = false, -- set here, because a table that grows later is allocated twice
  }
end

-- The closed gates of a campaign, computed once a call: all of a call happens at one instant.
local function gates_of(brand, campaign, now)
  if not campaign.closed then
    local at = local_ms(brand.zone, now)
    campaign.closed = closed_gates(campaign.on, campaign.archived or brand.archived, campaign.schedule, at, campaign.outside, campaign.broken, brand.paused)
  end
  return campaign.closed
end

-- The causes of the used-up budgets of a brand, or of a campaign's own.
local function budget_mask(owner)
  local mask = 0
  for _, budget in ipairs(owner.budgets) do
    if is_used_up(budget.limit, budget.spent) then mask = mask + budget.cause end
  end
  return mask
end

-- The causes of an owner's budgets that an amount would exceed, beside what the owner has on hold.
local function unfit_mask(owner, held, amount)
  local mask = 0
  for _, budget in ipairs(owner.budgets) do
    if not fits(budget.limit, budget.spent, held, amount) then mask = mask + budget.cause end
  end
  return mask
end

-- The causes for which a hold may not be set, without pacing: closed gates, and budgets that it would exceed.
local function refusal(brand, campaign, amount, now)
  local mask = gates_of(brand, campaign, now) + unfit_mask(brand, brand.held, amount)
  return campaign.budgets[1] and mask + unfit_mask(campaign, held_by(brand, campaign.id), amount) or mask
end

local function optional(number)
  return number and text(number) or ''
end
