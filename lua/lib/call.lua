-- What every call that moves money shares: the grammar of its arguments, the plans of the brands and campaigns that its KEYS name, the journal
-- entry, and writing back what changed. The order in each script: guards, judge, append to the journal (the last guard), write.
-- include: lib/shard.lua
-- include: lib/calendar.lua
-- include: lib/plan.lua
-- include: lib/memory.lua
-- include: lib/holds.lua
-- include: lib/tally.lua

local function amount_of(digits)
  if #digits > 13 or not string.find(digits, '^%d+$') then return nil end
  local amount = tonumber(digits)
  return amount > 0 and amount <= MAX_AMOUNT and amount or nil
end

local function is_id(value, longest)
  return #value <= longest and string.find(value, ID) ~= nil
end

-- The highest ordinal that was published of a brand, nil when the brand never was: what is published and not there was lost.
-- Without the registry's guard nothing can be told unknown from lost.
local function published(brand_id)
  local got = redis.pcall('HMGET', KEYS[2], '#', brand_id)
  if got.err or not got[1] then return math.huge end
  return got[2] and (whole(got[2]) or math.huge) or nil
end

-- The brands and campaigns that KEYS name from the eighth on ({id = plan}, brands with their holds where those keys are given); or nil and
-- the reply.
local function read_plans(day, month)
  local brands, campaigns = {}, {}
  local tag, holds, homes = #KEYS[1] - 4, {}, {}
  for i = 8, #KEYS do
    local kind, id = string.match(string.sub(KEYS[i], tag), '^(%a+):(%d+)$')
    if kind == 'brand' then
      brands[id] = read_brand(KEYS[i], day, month)
      if brands[id] == false or (not brands[id] and published(id)) then return nil, lose(KEYS[1], KEYS[i]) end
    elseif kind == 'campaign' then
      local campaign = read_campaign(KEYS[i], day, month)
      local home = math.floor(tonumber(id) / 65536)
      if campaign == false or (not campaign and tonumber(id) - home * 65536 <= (published(text(home)) or 0)) then
        return nil, lose(KEYS[1], KEYS[i])
      end
      if campaign then
        homes[home] = homes[home] or text(home)
        campaign.id, campaign.home = id, homes[home]
        campaigns[id] = campaign
      end
    elseif kind == 'holds' and i < #KEYS then
      holds[i] = id
    end
  end
  for i, id in pairs(holds) do
    local brand = brands[id]
    if brand then
      brand.holds_key, brand.expiry_key = KEYS[i], KEYS[i + 1]
      if not holds_stand(brand, KEYS[i], KEYS[i + 1]) then return nil, lose(KEYS[1], KEYS[i]) end
    end
  end
  return { brands = brands, campaigns = campaigns }
end

-- Counts an amount to a brand, in the tables. False when a total would leave the numbers that a double holds exactly.
local function count_brand(brand, amount)
  for _, budget in ipairs(brand.budgets) do
    if budget.was_used_up == nil then budget.was_used_up = used_up(budget) end
    budget.spent = budget.spent + amount
    if budget.spent > MAX_TOTAL then return false end
  end
  brand.charged = true
  return true
end

-- The same to a campaign.
local function count_campaign(campaign, amount)
  campaign.daily, campaign.monthly = campaign.daily + amount, campaign.monthly + amount
  campaign.charged = true
end

-- Counts an amount to a brand and its campaign, or answers false.
local function count(brand, campaign, amount)
  if not count_brand(brand, amount) then return false end
  count_campaign(campaign, amount)
  return true
end

-- The budgets that became used up or free again in this call: entries for the journal and messages for watchers.
local function changes_of(brands, now)
  local moved, messages = {}, {}
  for id, brand in pairs(brands) do
    for _, budget in ipairs(brand.charged and brand.budgets or {}) do
      local is = used_up(budget)
      if budget.was_used_up ~= nil and budget.was_used_up ~= is then
        local direction = is and 'exhausted' or 'restored'
        budget.since, budget.moved = text(now), true
        moved[#moved + 1] = id .. ':' .. budget.name .. ':' .. direction
        messages[#messages + 1] = id .. ' ' .. budget.name .. ' ' .. direction .. ' ' .. text(now)
      end
    end
  end
  return moved, messages
end

local appended = '0' -- the number of the entry that this call appended

-- Appends the entry, which is the last guard: NOMKSTREAM refuses to begin a new journal where the old was lost. nil, or the reply.
-- format: '1' when nothing else is said, '2' of an entry with a packed log.
local function append(shard, entry, moved, format)
  if #moved > 0 then entry[#entry + 1], entry[#entry + 2] = 't', table.concat(moved, ',') end
  local added = redis.pcall('XADD', KEYS[3], 'NOMKSTREAM', text(shard.now) .. '-*', 'f', format or '1', 'n', text(shard.n + 1), unpack(entry))
  if added and not added.err then
    shard.n = shard.n + 1
    appended = text(shard.n)
    return nil
  end
  if added and string.find(added.err, 'equal or smaller', 1, true) then return { 'not_ready', 'clock' } end
  return lose(KEYS[1], KEYS[3])
end

-- Writes back the counters and sums on hold that changed.
local function write_plans(plans)
  for _, brand in pairs(plans.brands) do
    if brand.charged then
      local daily, monthly = brand.budgets[1], brand.budgets[2]
      local fields = { daily.field, text(daily.spent), monthly.field, text(monthly.spent) }
      for _, budget in ipairs(brand.budgets) do
        if budget.moved then fields[#fields + 1], fields[#fields + 2] = budget.since_field, budget.since end
      end
      redis.call('HSET', brand.key, unpack(fields))
    end
    if brand.holds_changed then redis.call('HSET', brand.key, 'held', text(brand.held)) end
  end
  for _, campaign in pairs(plans.campaigns) do
    if campaign.charged then
      redis.call('HSET', campaign.key, campaign.day_field, text(campaign.daily), campaign.month_field, text(campaign.monthly))
    end
  end
end

-- To whoever watches, each with the number of its entry: a watcher has seen all up to the n of its snapshot.
local function tell(messages)
  local channel = string.gsub(KEYS[1], 'shard$', 'changes')
  for _, message in ipairs(messages) do redis.call('PUBLISH', channel, message .. ' ' .. appended) end
end

-- The figures after the call: brands `id:daily_spend:monthly_spend:daily_limit:monthly_limit;`, campaigns `id:causes;`.
local function figures(plans, now)
  local brand_lines, campaign_lines, masks = {}, {}, {}
  for id, brand in pairs(plans.brands) do
    local daily, monthly = brand.budgets[1], brand.budgets[2]
    brand_lines[#brand_lines + 1] = id .. ':' .. text(daily.spent) .. ':' .. text(monthly.spent) .. ':'
      .. optional(daily.limit) .. ':' .. optional(monthly.limit)
    masks[id] = budget_mask(brand)
  end
  for id, campaign in pairs(plans.campaigns) do
    local brand = plans.brands[campaign.home]
    if brand then
      local mask = switch_mask(brand, campaign, now) + masks[campaign.home]
      campaign_lines[#campaign_lines + 1] = id .. (mask == 0 and ':0' or ':' .. mask)
    end
  end
  return table.concat(brand_lines, ';'), table.concat(campaign_lines, ';')
end
