-- The published plan and the counters of a brand and its campaigns, as their hashes hold them, and the causes that follow.
-- include: lib/text.lua
-- include: lib/stored.lua
-- include: lib/schedule.lua
-- include: lib/constants.lua

-- nil where a key is not there at all, false where something stands there that no publish wrote.
local function absent(key)
  if redis.call('EXISTS', key) == 1 then return false end
  return nil
end

-- The fields of the counters of a day and a month, spelled once a call.
local spelled = {}
local function period_fields(day, month)
  if spelled.day ~= day or spelled.month ~= month then
    spelled = { day = day, month = month, day_field = 'd:' .. text(day), month_field = 'm:' .. text(month) }
  end
  return spelled.day_field, spelled.month_field
end

-- A brand, or nil where there is none; false where its hash is not what a publish writes.
-- budgets: what a spend is checked against, in order: {cause, field of the counter, limit or nil, spent, field of its last change}.
local function read_brand(key, day, month)
  local day_field, month_field = period_fields(day, month)
  local got = redis.pcall('HMGET', key, 'v', 'daily', 'monthly', 'archived', day_field, month_field, 'daily_at', 'monthly_at', 'held')
  if got.err then return false end
  if not got[1] then return absent(key) end
  local version, daily_spend, monthly_spend, held = whole(got[1]), stored(got[5]), stored(got[6]), whole(got[9] or '0')
  if not version or not is_limit(got[2]) or not is_limit(got[3]) or not is_flag(got[4]) then return false end
  if not daily_spend or not monthly_spend or not held or not is_since(got[7]) or not is_since(got[8]) then return false end
  return {
    key = key, version = version, archived = got[4] == '1', held = held,
    budgets = {
      { cause = DAILY_BUDGET, name = 'daily_budget', field = day_field, limit = tonumber(got[2]), spent = daily_spend, since_field = 'daily_at', since = got[7] or '' },
      { cause = MONTHLY_BUDGET, name = 'monthly_budget', field = month_field, limit = tonumber(got[3]), spent = monthly_spend, since_field = 'monthly_at', since = got[8] or '' },
    },
  }
end

-- A campaign, with what a call finds out about it; nil where there is none, false where its hash is not what a publish writes.
local function read_campaign(key, day, month)
  local day_field, month_field = period_fields(day, month)
  local got = redis.pcall('HMGET', key, 'v', 'on', 'archived', 'schedule', day_field, month_field)
  if got.err then return false end
  if not got[1] then return absent(key) end
  local daily, monthly = stored(got[5]), stored(got[6])
  if not whole(got[1]) or not is_flag(got[2]) or not is_flag(got[3]) or not got[4] or not is_schedule(got[4]) then return false end
  if not daily or not monthly then return false end
  return {
    key = key, version = got[1], on = got[2] == '1', archived = got[3] == '1', schedule = got[4],
    day_field = day_field, month_field = month_field, daily = daily, monthly = monthly,
    id = false, home = false, charged = false, switched = false, -- a table that grows later is built twice
  }
end

local function used_up(budget)
  return budget.limit ~= nil and budget.spent >= budget.limit
end

-- The causes that do not depend on money.
local function switches(on, archived, schedule, now)
  return (on and 0 or MANUAL) + (archived and ARCHIVED or 0) + (within_schedule(schedule, now) and 0 or SCHEDULE)
end

-- The same of a campaign and its brand, worked out once a campaign: a call has one now.
local function switch_mask(brand, campaign, now)
  if not campaign.switched then
    campaign.switched = switches(campaign.on, campaign.archived or brand.archived, campaign.schedule, now)
  end
  return campaign.switched
end

-- The causes that do: of which budgets nothing is left.
local function budget_mask(brand)
  local mask = 0
  for _, budget in ipairs(brand.budgets) do
    if used_up(budget) then mask = mask + budget.cause end
  end
  return mask
end

-- Why a spend or hold may not be made now: causes of the campaign, and budgets that it would take past their limits. What is on hold
-- counts against every period that it could be settled in.
local function refusal(brand, campaign, amount, now)
  local mask = switch_mask(brand, campaign, now)
  for _, budget in ipairs(brand.budgets) do
    if used_up(budget) or (budget.limit and budget.spent + brand.held + amount > budget.limit) then mask = mask + budget.cause end
  end
  return mask
end

local function optional(number)
  return number and text(number) or ''
end
