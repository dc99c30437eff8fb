-- The one way money is counted. A call carries up to 1,000 spends of one shard; they are judged in order, each by what the ones before it
-- left, and written together with their journal entry. Guards first, every write after the last guard: Redis does not roll back.
--
-- KEYS  1 shard  2 registry  3 journal  4-5 requests  6-7 events  8.. the brands and campaigns of the spends, in any order
-- ARGV  1 layout  2 request id  3 spends: `<campaign_id>,<amount_micros>,<event_id or nothing>,<occurred_ms or nothing>;` each
-- Reply {'ok', outcomes, brands, campaigns}: outcomes as runs `k*998,x8*2` in the order of the spends: k counted, d duplicate, c conflict,
--         u unknown campaign, x<causes> refused; brands `id:daily_spend:monthly_spend:daily_limit:monthly_limit;` and campaigns
--         `id:causes;` after the whole call (limits empty = none, causes a bit mask, 0 = running)
--       {'not_ready', why} | {'wrong_version', layout} | {'invalid', index, field}: nothing was written
-- include: lib/shard.lua
-- include: lib/calendar.lua
-- include: lib/plan.lua
-- include: lib/memory.lua
local MAX_AMOUNT, MAX_TOTAL, MAX_SPENDS = 1000000000000, 9000000000000000, 1000
local LAST_INSTANT = 253402300799999 -- the end of the year 9999, beyond which neither Python nor PostgreSQL goes with us
local ID = '^[A-Za-z0-9._:/+=@~-]+$'

local function amount_of(digits)
  if #digits > 13 or not string.find(digits, '^%d+$') then return nil end
  local amount = tonumber(digits)
  return amount > 0 and amount <= MAX_AMOUNT and amount or nil
end

-- The spends of a call, or nil and the reply that names the first bad field.
local function parse_spends(body)
  local spends, ends = {}, 1
  for start, campaign, digits, event, occurred, stop in string.gmatch(body, '()(%d+),([^,;]*),([^,;]*),([^,;]*);()') do
    local index = #spends
    if start ~= ends or index >= MAX_SPENDS then return nil, { 'invalid', index, 'spends' } end
    local amount = amount_of(digits)
    if not amount then return nil, { 'invalid', index, 'amount' } end
    if event ~= '' and (#event > 64 or not string.find(event, ID)) then return nil, { 'invalid', index, 'event_id' } end
    if occurred ~= '' and (#occurred > 15 or not string.find(occurred, '^%d+$') or tonumber(occurred) > LAST_INSTANT) then return nil, { 'invalid', index, 'occurred_at' } end
    spends[index + 1] = { campaign = campaign, digits = digits, amount = amount, event = event, stop = stop - 1, start = start }
    ends = stop
  end
  if #spends == 0 or ends ~= #body + 1 then return nil, { 'invalid', #spends, 'spends' } end
  return spends
end

-- Runs of equal outcomes, to text and back.
local function pack_outcomes(outcomes)
  local runs, count = {}, 0
  for i, outcome in ipairs(outcomes) do
    count = count + 1
    if outcomes[i + 1] ~= outcome then
      runs[#runs + 1] = outcome .. '*' .. count
      count = 0
    end
  end
  return table.concat(runs, ',')
end

local function unpack_outcomes(packed)
  local outcomes = {}
  for outcome, count in string.gmatch(packed, '(%w+)%*(%d+)') do
    for _ = 1, tonumber(count) do outcomes[#outcomes + 1] = outcome end
  end
  return outcomes
end

-- The highest ordinal that was published of a brand, nil when the brand never was: what is published and not there was lost.
-- Without the registry's guard nothing can be told unknown from lost.
local function published(brand_id)
  local got = redis.pcall('HMGET', KEYS[2], '#', brand_id)
  if got.err or not got[1] then return math.huge end
  return tonumber(got[2] or '')
end

-- The brands and campaigns that the call names: {id = plan}; or nil and the reply.
local function read_plans(shard, day, month)
  local brands, campaigns = {}, {}
  for i = 8, #KEYS do
    local kind, id = string.match(KEYS[i], ':(%a+):(%d+)$')
    if kind == 'brand' then
      brands[id] = read_brand(KEYS[i], day, month)
      if brands[id] == false then return nil, lose(KEYS[1], KEYS[i]) end
      if not brands[id] and published(id) then return nil, lose(KEYS[1], KEYS[i]) end
    elseif kind == 'campaign' then
      local campaign = read_campaign(KEYS[i], day, month)
      local home = math.floor(tonumber(id) / 65536)
      if campaign == false then return nil, lose(KEYS[1], KEYS[i]) end
      if not campaign and tonumber(id) - home * 65536 <= (published(text(home)) or 0) then
        return nil, lose(KEYS[1], KEYS[i])
      end
      if campaign then
        campaign.id, campaign.home = id, text(home)
        campaigns[id] = campaign
      end
    end
  end
  return { brands = brands, campaigns = campaigns }
end

-- Why a spend may not be made now: causes of the campaign, and budgets that it would take past their limits.
local function refusal(brand, campaign, amount, now)
  local mask = switch_mask(brand, campaign, now)
  for _, budget in ipairs(brand.budgets) do
    if used_up(budget) or (budget.limit and budget.spent + amount > budget.limit) then mask = mask + budget.cause end
  end
  return mask
end

local function charge(verb)
  local shard_key, journal = KEYS[1], KEYS[3]
  local request, body = ARGV[2], ARGV[3]
  if ARGV[1] ~= LAYOUT then return { 'wrong_version', LAYOUT } end
  local shard, refused = open_shard(shard_key, '')
  if not shard then return refused end
  if #request > 80 or not string.find(request, ID) then return { 'invalid', 0, 'request_id' } end
  local spends, bad = parse_spends(body)
  if not spends then return bad end

  local now = shard.now
  local day = day_of(now)
  local plans, lost = read_plans(shard, day, month_of(day))
  if not plans then return lost end

  -- A retried call: the same outcomes with today's figures. What was unknown then is judged afresh; other content is a conflict.
  local requests = open_memory(shard_key, 'req', { KEYS[4], KEYS[5] }, now)
  local recalled = requests and recall(requests, { request })
  if not recalled then return lose(shard_key, 'requests') end
  local digest = string.sub(redis.sha1hex(body), 1, 16)
  local before
  if recalled[request] then
    local kept_verb, kept_digest, kept = string.match(recalled[request], '^(.)(%x+) (.*)$')
    if kept_digest ~= digest or (kept_verb ~= '*' and kept_verb ~= verb) then
      before = {}
      for i = 1, #spends do before[i] = 'c' end
    else
      before = unpack_outcomes(kept)
    end
  end

  local ids, asked = {}, {}
  for _, spend in ipairs(spends) do
    if spend.event ~= '' then
      local campaign = plans.campaigns[spend.campaign]
      spend.seen_as = campaign and campaign.home .. ':' .. spend.event
      if spend.seen_as and not asked[spend.seen_as] then
        asked[spend.seen_as] = true
        ids[#ids + 1] = spend.seen_as
      end
    end
  end
  local events, seen = nil, {}
  if #ids > 0 then
    events = open_memory(shard_key, 'ev', { KEYS[6], KEYS[7] }, now)
    seen = events and recall(events, ids)
    if not seen then return lose(shard_key, 'events') end
  end

  -- Judge each in turn. Totals move in the tables; nothing is written yet.
  local outcomes, entry_outcomes, events_set, fresh, counted = {}, {}, {}, 0, 0
  for i, spend in ipairs(spends) do
    local campaign = plans.campaigns[spend.campaign]
    local brand = campaign and plans.brands[campaign.home]
    local outcome = before and before[i]
    if outcome == 'u' then outcome = nil end
    local again = outcome == 'k'
    if not outcome then
      local value = spend.campaign .. ',' .. spend.digits
      local known = spend.seen_as and seen[spend.seen_as]
      if not campaign or not brand then
        outcome = 'u'
      elseif known then
        outcome = known == value and 'd' or 'c'
      else
        local mask = verb == 't' and refusal(brand, campaign, spend.amount, now) or 0
        if mask > 0 then
          outcome = 'x' .. mask
        else
          outcome = 'k'
          counted = counted + 1
          for _, budget in ipairs(brand.budgets) do
            if budget.was_used_up == nil then budget.was_used_up = used_up(budget) end
            budget.spent = budget.spent + spend.amount
            if budget.spent > MAX_TOTAL then return { 'invalid', i - 1, 'total' } end
          end
          for _, counter in ipairs(campaign.counters) do counter.spent = counter.spent + spend.amount end
          brand.charged, campaign.charged = true, true
          if spend.seen_as then
            seen[spend.seen_as] = value
            events_set[#events_set + 1], events_set[#events_set + 2] = spend.seen_as, value
          end
        end
      end
      if outcome ~= 'u' then fresh = fresh + 1 end
    end
    outcomes[i] = outcome
    entry_outcomes[i] = again and 'p' or outcome
  end

  -- The last guard is the journal itself: NOMKSTREAM refuses to begin a new one where the old was lost.
  local changes = {}
  if counted > 0 then
    local moved = {}
    for id, brand in pairs(plans.brands) do
      for _, budget in ipairs(brand and brand.charged and brand.budgets or {}) do
        if budget.was_used_up == false and used_up(budget) then
          budget.since = text(now)
          moved[#moved + 1] = id .. ':' .. budget.name .. ':exhausted'
          changes[#changes + 1] = id .. ' ' .. budget.name .. ' exhausted ' .. text(now)
        end
      end
    end
    local entry = { 'f', '1', 'n', text(shard.n + 1), 'r', request, 'b', body }
    if counted < #spends then
      entry[#entry + 1], entry[#entry + 2] = 'o', verb .. pack_outcomes(entry_outcomes)
    end
    if #moved > 0 then entry[#entry + 1], entry[#entry + 2] = 't', table.concat(moved, ',') end
    local added = redis.pcall('XADD', journal, 'NOMKSTREAM', text(now) .. '-*', unpack(entry))
    if not added then return lose(shard_key, journal) end
    if added.err then
      if string.find(added.err, 'equal or smaller', 1, true) then return { 'not_ready', 'clock' } end
      return lose(shard_key, journal)
    end
  end

  local shard_fields = { 'now', text(now), 'n', text(shard.n + (counted > 0 and 1 or 0)) }
  if fresh > 0 then
    turn(requests, shard_fields)
    redis.call('HSET', requests.write, request, verb .. digest .. ' ' .. pack_outcomes(outcomes))
    if events then
      turn(events, shard_fields)
      if #events_set > 0 then redis.call('HSET', events.write, unpack(events_set)) end
    end
  end
  redis.call('HSET', shard_key, unpack(shard_fields))

  local brand_lines, campaign_lines = {}, {}
  for id, brand in pairs(plans.brands) do
    if brand then
      local daily, monthly = brand.budgets[1], brand.budgets[2]
      if brand.charged then
        redis.call('HSET', brand.key, daily.field, text(daily.spent), monthly.field, text(monthly.spent),
          daily.since_field, daily.since, monthly.since_field, monthly.since)
      end
      brand_lines[#brand_lines + 1] = id .. ':' .. text(daily.spent) .. ':' .. text(monthly.spent) .. ':'
        .. optional(daily.limit) .. ':' .. optional(monthly.limit)
    end
  end
  for id, campaign in pairs(plans.campaigns) do
    if campaign.charged then
      local daily, monthly = campaign.counters[1], campaign.counters[2]
      redis.call('HSET', campaign.key, daily.field, text(daily.spent), monthly.field, text(monthly.spent))
    end
    local brand = plans.brands[campaign.home]
    if brand then
      campaign_lines[#campaign_lines + 1] = id .. ':' .. (switch_mask(brand, campaign, now) + budget_mask(brand))
    end
  end
  for _, change in ipairs(changes) do redis.call('PUBLISH', string.gsub(shard_key, 'shard$', 'changes'), change) end
  return { 'ok', pack_outcomes(outcomes), table.concat(brand_lines, ';'), table.concat(campaign_lines, ';') }
end
