-- The shared parts of every call that moves money: checks of arguments, reading brands and campaigns that KEYS names, and writing back what changed.
-- The order in each script: check, evaluate, append to the journal (the last step that can refuse), write.
-- include: lib/keys.lua
-- include: lib/shard.lua
-- include: lib/text.lua
-- include: lib/calendar.lua
-- include: lib/plan.lua
-- include: lib/dedup.lua
-- include: lib/holds.lua
-- include: lib/tally.lua
-- include: lib/changes.lua
-- include: lib/minute.lua
-- include: lib/pace.lua
-- include: lib/journal.lua
-- include: lib/figures.lua
-- include: lib/carry_entry.lua

local function amount_of(digits)
  if #digits > 13 or not string.find(digits, '^%d+$') then return nil end
  local amount = tonumber(digits)
  return amount > 0 and amount <= MAX_AMOUNT and amount or nil
end

local function is_id(value, longest)
  return #value <= longest and string.find(value, ID) ~= nil
end

-- The digest that is stored in place of a long call's content.
local function digest_of(body, log, names)
  return string.sub(redis.sha1hex(log and body .. log .. (names or '') or body), 1, 16)
end

-- The highest campaign ordinal that was published of a brand; nil when the brand never was. A published campaign without a key was lost. Without the
-- registry's guard field, unknown and lost cannot be distinguished, so everything counts as published.
local function published(brand_id)
  local got = redis.pcall('HMGET', registry_key, '#', brand_id)
  if got.err or not got[1] then return math.huge end
  return got[2] and (whole(got[2]) or math.huge) or nil
end

-- Reads the brands and campaigns that KEYS names from FIRST_PLAN on: {id = plan} each, brands with their holds where those keys are given. Or nil and
-- the reply.
local function read_plans(now)
  local day = day_of(now)
  local month = month_of(day)
  local brands, campaigns, in_utc = {}, {}, { day = day, month = month }
  local tag, holds, brand_ids, campaign_keys = #shard_key - 4, {}, {}, {}
  for i = FIRST_PLAN, #KEYS do
    local kind, id = string.match(KEYS[i], '^(%a+):(%d+)$', tag)
    if kind == 'brand' then
      brands[id] = read_brand(KEYS[i], day, month, now)
      if brands[id] == false or (not brands[id] and published(id)) then return nil, invalidate_shard(shard_key, KEYS[i]) end
    elseif kind == 'campaign' then
      campaign_keys[#campaign_keys + 1] = { KEYS[i], id }
    elseif kind == 'holds' and i < #KEYS then
      holds[i] = id
    end
  end
  for _, of in ipairs(campaign_keys) do
    local key, id = of[1], of[2]
    local ordinal = id % 65536
    local brand_number = (id - ordinal) / 65536
    local brand_id = brand_ids[brand_number] or text(brand_number)
    brand_ids[brand_number] = brand_id
    local brand = brands[brand_id] or in_utc
    local campaign = read_campaign(key, brand.day, brand.month, now, brand.zone)
    if campaign == false or (not campaign and ordinal <= (published(brand_id) or 0)) then return nil, invalidate_shard(shard_key, key) end
    if campaign then
      campaign.id, campaign.brand_id = id, brand_id
      campaigns[id] = campaign
    end
  end
  for i, id in pairs(holds) do
    local brand = brands[id]
    if brand then
      brand.holds_key, brand.expiry_key = KEYS[i], KEYS[i + 1]
      if not holds_exist(brand, KEYS[i], KEYS[i + 1]) then return nil, invalidate_shard(shard_key, KEYS[i]) end
    end
  end
  for _, brand in pairs(brands) do
    if brand.paced and not add_pace(brand, brand.paced, 'daily_budget', now, brand.day, brand.held) then return nil, invalidate_shard(shard_key, brand.key) end
  end
  for _, campaign in pairs(campaigns) do
    local brand = campaign.budgets[1] and brands[campaign.brand_id]
    if brand and not held_by(brand, campaign.id) then return nil, invalidate_shard(shard_key, brand.key) end
    local held = campaign.paced and brand and held_by(brand, campaign.id) or 0
    if campaign.paced and not add_pace(campaign, campaign.paced, 'campaign_daily_budget', now, campaign.day, held) then
      return nil, invalidate_shard(shard_key, campaign.key)
    end
  end
  return { brands = brands, campaigns = campaigns }
end

-- Adds an amount to the budgets of a brand, or to a campaign's own, in the tables. False when a total would exceed MAX_TOTAL.
local function count_budgets(owner, amount)
  for _, budget in ipairs(owner.budgets) do
    note_before(budget)
    budget.spent = budget.spent + amount
    if budget.spent > MAX_TOTAL then return false end
  end
  owner.charged = true
  return true
end

-- Opens a campaign's breaker, in the tables, where the minute has passed it.
local function note_trip(campaign)
  if before_trip(campaign.brake) >= 0 or campaign.broken then return end
  campaign.broken, campaign.tripped = true, true
  if campaign.closed then campaign.closed = campaign.closed + BREAKER end
end

-- Adds an amount to a campaign's counters, in the tables, and opens its breaker where that was passed. False as above.
local function count_campaign(campaign, amount)
  campaign.daily, campaign.monthly = campaign.daily + amount, campaign.monthly + amount
  if not count_budgets(campaign, amount) then return false end
  note_trip(campaign)
  return true
end

-- Adds an amount to a brand and its campaign, in the tables. False when a total would exceed MAX_TOTAL.
local function count(brand, campaign, amount)
  return count_budgets(brand, amount) and count_campaign(campaign, amount)
end

-- Writes a brand's counters, its sum on hold and those of its campaigns, where they changed.
local function write_brand(brand)
  if brand.charged then
    local fields = {}
    for i, budget in ipairs(brand.budgets) do fields[2 * i - 1], fields[2 * i] = budget.field, counted_value(budget) end
    add_since(brand, fields)
    if brand.carry then
      -- make: add_carry
      add_carry(brand, fields)
    end
    redis.call('HSET', brand.key, unpack(fields))
  elseif brand.asked then
    redis.call('HSET', brand.key, 's', counted_value(brand.pace.minute))
  end
  if not brand.holds_changed then return end
  redis.call('HSET', brand.key, 'held', text(brand.held))
  for campaign_id in pairs(brand.own_held_changed or {}) do
    local sum, field = brand.own_held[campaign_id], 'h:' .. campaign_id
    if sum == 0 then redis.call('HDEL', brand.key, field) else redis.call('HSET', brand.key, field, text(sum)) end
  end
end

-- Writes a campaign's counters, and those of its own budgets with the instants of their changes.
local function write_counters(key, budgets, day_field, daily, month_field, monthly)
  if not budgets[1] then return redis.call('HSET', key, day_field, argument(daily), month_field, argument(monthly)) end
  local fields = { day_field, argument(daily), month_field, argument(monthly) }
  for _, budget in ipairs(budgets) do
    local of_period = budget.field == day_field or budget.field == month_field
    if not of_period then fields[#fields + 1], fields[#fields + 2] = budget.field, counted_value(budget) end
  end
  add_since({ budgets = budgets }, fields)
  redis.call('HSET', key, unpack(fields))
end

-- Writes all brands, and the counters of campaigns, where they changed.
local function write_plans(plans)
  for _, brand in pairs(plans.brands) do write_brand(brand) end
  for _, campaign in pairs(plans.campaigns) do
    if campaign.charged then
      local day_field, month_field = period_fields(campaign.day, campaign.month)
      write_counters(campaign.key, campaign.budgets, day_field, campaign.daily, month_field, campaign.monthly)
    elseif campaign.asked then
      redis.call('HSET', campaign.key, 's', counted_value(campaign.pace.minute))
    end
    if campaign.tripped then redis.call('HSET', campaign.key, 'bk', text(campaign.brake.since)) end
  end
end
