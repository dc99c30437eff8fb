-- A packed batch (lib/packed.lua) by the shortest way: its sums in ascending order of campaigns, their keys in the same order, and
-- nothing out of the ordinary. Answers the reply, or nil, having written nothing, when anything is: the call then goes the general way
-- (lib/charge.lua), which makes a table of each campaign and may look at the spends one by one.
-- include: lib/call.lua
-- include: lib/packed.lua

-- The brands that KEYS name from the eighth on, in order and by number, and the place of the last of their keys; nil where one is not as usual. Their
-- counters are put after those that are found already, as text.
local function usual_brands(verb, at, day_field, month_field, found)
  local brands, homes, place, stride = {}, {}, 8, verb == 't' and 3 or 1
  while true do
    local id = string.match(KEYS[place] or '', '^brand:(%d+)$', at)
    if not id then return brands, homes, place - 1 end
    local key, n = KEYS[place], #found
    local got = redis.pcall('HMGET', key, 'daily', 'monthly', 'archived', day_field, month_field, 'held')
    local daily, monthly, held = got[4] or '0', got[5] or '0', got[6] or '0'
    if homes[id + 0] or not got[1] or not got[2] or not got[3] or daily == '' or monthly == '' or held == '' or (verb == 't' and held ~= '0') then return nil end
    if not string.find(got[1] .. got[2], '^%d*$') or #got[1] > 16 or #got[2] > 16 or not is_flag(got[3]) then return nil end
    found[n + 1], found[n + 2], found[n + 3] = daily, monthly, held
    local brand = {
      key = key, id = id, daily_limit = got[1], monthly_limit = got[2], archived = got[3] == '1', daily = daily, monthly = monthly, amount = 0, mask = 0,
    }
    brands[#brands + 1], homes[id + 0] = brand, brand
    place = place + stride
  end
end

-- Counts the brands' sums in the tables, and notes their causes. False where a budget becomes used up, which is told to the journal and to watchers;
-- or would be exceeded.
local function usual_budgets(verb, brands)
  for _, brand in ipairs(brands) do
    local daily_limit, monthly_limit, amount = tonumber(brand.daily_limit) or math.huge, tonumber(brand.monthly_limit) or math.huge, brand.amount
    local daily_before, monthly_before = brand.daily + 0, brand.monthly + 0
    local daily, monthly = daily_before + amount, monthly_before + amount
    if daily > MAX_TOTAL or monthly > MAX_TOTAL then return false end
    if (daily_before < daily_limit) ~= (daily < daily_limit) or (monthly_before < monthly_limit) ~= (monthly < monthly_limit) then return false end
    if verb == 't' and (daily > daily_limit or monthly > monthly_limit) then return false end
    brand.daily, brand.monthly = daily, monthly
    brand.mask = (daily >= daily_limit and DAILY_BUDGET or 0) + (monthly >= monthly_limit and MONTHLY_BUDGET or 0)
  end
  return true
end

-- A call's events and where they are remembered, when none was seen before; nil otherwise.
local function unseen_events(size, day, now)
  if ARGV[5] ~= text(day) then return nil end
  local named, events = read_names(size), open_memory(KEYS[1], 'ev', { KEYS[6], KEYS[7] }, now)
  if not named or not named.once or not events or #events.rotate > 0 then return nil end
  local seen = recall(events, named.names)
  if not seen or next(seen) then return nil end
  return named, events.write
end

local function quick_packed(verb)
  local request, body, blob, at = ARGV[2], ARGV[3], ARGV[4], #KEYS[1] - 4
  if not blob or ARGV[1] ~= LAYOUT or not is_id(request, 80) then return nil end
  local version, width = string.byte(blob, 1, 2)
  if version ~= (ARGV[5] and NAMED or PACKED) or (width ~= 4 and width ~= 8) then return nil end
  local counter = verb == 'r' and 'count:recorded' or 'count:accepted'
  local shard, state = open_shard(KEYS[1], '', counter, 'req_active', 'req_until')
  if not shard then return nil end
  local now, day = shard.now, day_of(shard.now)
  local active, till = is_flag(state[7]) and tonumber(state[7]), whole(state[8])
  if not active or not till or now >= till then return nil end
  local day_field, month_field = period_fields(day, month_of(day))
  local found = {}
  local brands, homes, before = usual_brands(verb, at, day_field, month_field, found)
  if not brands then return nil end

  local campaign_key = string.sub(KEYS[1], 1, at - 1) .. 'campaign:'
  local size, ends, count, last_id = 0, 1, 0, 0
  local ids, amounts, masks, own, ahead = {}, {}, {}, {}, #found
  for start, campaign_id, digits, times, stop in string.gmatch(body, '()(%d+),(%d+),(%d+);()') do
    count = count + 1
    local key, id, amount, several = KEYS[before + count], campaign_id + 0, digits + 0, times + 0
    local brand = homes[(id - id % 65536) / 65536]
    -- In ascending order none stands twice.
    if start ~= ends or not brand or id <= last_id or key ~= campaign_key .. campaign_id then return nil end
    if several < 1 or #digits > 16 or amount < several or amount > several * MAX_AMOUNT then return nil end
    local got = redis.pcall('HMGET', key, 'on', 'archived', 'schedule', day_field, month_field)
    local on, archived, schedule = got[1], got[2], got[3]
    if not on or not archived or not schedule or got[4] == '' or got[5] == '' then return nil end
    if #(got[4] or '') > 16 or #(got[5] or '') > 16 then return nil end
    if not is_flag(on) or not is_flag(archived) or (schedule ~= '' and not is_schedule(schedule)) then return nil end
    local mask = 0
    if on ~= '1' or archived ~= '0' or schedule ~= '' or brand.archived then
      mask = switches(on == '1', archived == '1' or brand.archived, schedule, now)
      if verb == 't' and mask > 0 then return nil end
    end
    found[ahead + 2 * count - 1], found[ahead + 2 * count] = got[4] or '0', got[5] or '0'
    ids[count], amounts[count], masks[count], own[count] = campaign_id, amount, mask, brand
    brand.amount = brand.amount + amount
    size, ends, last_id = size + several, stop, id
  end
  if count == 0 or ends ~= #body + 1 or KEYS[before + count + 1] or size > MAX_SPENDS or #blob ~= 2 + size * (1 + width) then return nil end
  if not string.find(table.concat(found), WHOLE) or not usual_budgets(verb, brands) then return nil end

  local one, other = redis.pcall('HMGET', KEYS[4], '#', request), redis.pcall('HMGET', KEYS[5], '#', request)
  if not one[1] or not other[1] or one[2] or other[2] then return nil end
  local entry, named, events = { 'r', request, 's', body, 'l', blob }, nil, nil
  if ARGV[5] then
    named, events = unseen_events(size, day, now)
    if not named then return nil end
    entry[7], entry[8] = 'e', named.text
  end
  local failed = append(shard, entry, {}, '2')
  if failed then return failed end

  local outcome = 'k*' .. size
  redis.call('HSET', KEYS[4 + active], request, verb .. string.sub(redis.sha1hex(body .. blob .. (named and named.text or '')), 1, 16) .. ' ' .. outcome)
  if named then redis.call('HSET', events, unpack(named.fields)) end
  redis.call('HSET', KEYS[1], 'now', text(now), 'n', text(shard.n), counter, text(shard.count + size))
  for i, brand in ipairs(brands) do
    local of_day, of_month = brand.daily, brand.monthly
    brands[i] = string.format('%s:%d:%d:%s:%s', brand.id, of_day, of_month, brand.daily_limit, brand.monthly_limit)
    if of_day % ROUND == 0 then of_day = text(of_day) end
    if of_month % ROUND == 0 then of_month = text(of_month) end
    if brand.amount > 0 then redis.call('HSET', brand.key, day_field, of_day, month_field, of_month) end
  end
  for i = 1, count do
    local amount, mask, place = amounts[i], masks[i] + own[i].mask, ahead + 2 * i
    local daily, monthly = found[place - 1] + amount, found[place] + amount
    if daily % ROUND == 0 then daily = text(daily) end
    if monthly % ROUND == 0 then monthly = text(monthly) end
    redis.call('HSET', KEYS[before + i], day_field, daily, month_field, monthly)
    ids[i] = ids[i] .. (mask == 0 and ':0' or ':' .. mask)
  end
  return { 'ok', outcome, table.concat(brands, ';'), table.concat(ids, ';') }
end
