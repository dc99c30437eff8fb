-- Reads the published plan and the counters of brands and campaigns from their hashes, and derives their causes.
-- include: lib/text.lua
-- include: lib/stored.lua
-- include: lib/schedule.lua
-- include: lib/constants.lua
-- include: lib/calendar.lua
-- include: lib/budgets.lua
-- include: lib/gates.lua
-- include: lib/flights.lua
-- include: lib/own_held.lua
-- include: lib/brake.lua

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
-- where they are needed.
local NO_BUDGETS = {}
local function own_budgets(given, flight_field, spent, day_field, month_field, since)
  local budgets = {}
  -- each campaign budget
  if given[$limit] ~= '' then
    local counted = spent[$counter] or $absent
    local budget = counted and budget_of('$name', $cause, $counter, '$since', given[$limit], counted, since and since[$i])
    if not budget then return nil end
    budgets[#budgets + 1] = budget
  end
  -- end each
  return budgets
end

-- The same with its counters and these instants, which it reads; returns the instants too, and the brake where it has one, whose minute is the last row.
local function read_own_budgets(key, given, flight_field, day_field, month_field, now)
  local got = redis.call('HMGET', key, day_field, month_field, flight_field, 'br', 'bk', 's'
    -- each campaign budget
    , '$since'
    -- end each
  )
  local since = {
    -- each campaign budget
    got[6 + $i] or '',
    -- end each
  }
  local spent = { [day_field] = got[1] or nil, [month_field] = got[2] or nil, [flight_field] = got[3] or nil }
  local budgets, brake = own_budgets(given, flight_field, spent, day_field, month_field, since), got[4] and brake_at(got[4], got[5], got[6], now)
  if not budgets or brake == nil then return nil end
  if brake then budgets[#budgets + 1] = brake.row end
  return budgets, since, brake
end

-- Reads a brand. nil where there is none, false where its hash is malformed.
-- budgets: what a spend is checked against, in the order of the list (lib/budgets.lua).
local function read_brand(key, day, month)
  local day_field, month_field = period_fields(day, month)
  local got = redis.pcall('HMGET', key, 'v', 'archived', 'held', 'own'
    -- each brand budget
    , '$limit', $counter, '$since'
    -- end each
    , 'p'
  )
  if got.err then return false end
  if not got[1] then return absent(key) end
  local version, held, budgets = whole(got[1]), whole(got[3] or '0'), {}
  if not version or not is_flag(got[2]) or not held or (got[4] and got[4] ~= '1') then return false end
  -- each brand budget
  budgets[$i] = budget_of('$name', $cause, $counter, '$since', got[3 * $i + 2] or $absent, got[3 * $i + 3], got[3 * $i + 4])
  if not budgets[$i] then return false end
  -- end each
  return { key = key, version = version, archived = got[2] == '1', held = held, budgets = budgets, own_held = got[4] == '1' and {}, paced = got[#got] }
end

-- Reads a campaign. nil where there is none, false where its hash is malformed.
local function read_campaign(key, day, month, now)
  local day_field, month_field = period_fields(day, month)
  local got = redis.pcall('HMGET', key, 'v', 'on', 'archived', 'schedule', day_field, month_field, 'x', 'f1', 'f2', 'p')
  if got.err then return false end
  if not got[1] then return absent(key) end
  local schedule, daily, monthly, limits, budgets = got[4], stored(got[5]), stored(got[6]), got[7], NO_BUDGETS
  if not whole(got[1]) or not is_flag(got[2]) or not is_flag(got[3]) or not schedule then return false end
  if not daily or not monthly or (schedule ~= '' and not is_schedule(schedule)) then return false end
  local given, flight_field, flight, outside, starts, brake, _
  if limits then
    given, flight_field, flight, outside, starts = limits_at(limits, got[8], got[9], now)
    if not given then return false end
    -- Bidders are told that it runs from then on.
    if starts and schedule ~= '' and not within_schedule(schedule, starts) then starts = nil end
    budgets, _, brake = read_own_budgets(key, given, flight_field, day_field, month_field, now)
  end
  if not budgets then return false end
  return {
    key = key, version = got[1], on = got[2] == '1', archived = got[3] == '1', schedule = schedule, daily = daily, monthly = monthly,
    limits = limits, budgets = budgets, f1 = got[8], f2 = got[9], flight = flight, outside = outside, starts = starts,
    brake = brake, broken = brake and brake.since ~= nil, paced = got[10],
    id = false, brand_id = false, charged = false, closed = false, -- set here, because a table that grows later is allocated twice
  }
end

-- The closed gates as a mask, 0 where a campaign may run.
local function closed_gates(on, archived, schedule, now, outside, broken)
  local closed = 0
  -- each gate
  if $closed then closed = closed + $cause end
  -- end each
  return closed
end

-- The closed gates of a campaign, computed once a call: all of a call happens at one instant.
local function gates_of(brand, campaign, now)
  if not campaign.closed then
    campaign.closed = closed_gates(campaign.on, campaign.archived or brand.archived, campaign.schedule, now, campaign.outside, campaign.broken)
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
