-- The fast path of a packed batch (lib/packed.lua): sums in ascending order of campaigns, keys in the same order, and otherwise the usual case. It makes no
-- table per campaign. Where every spend is counted, fast_packed replies. Where some are not, it passes on what it has read, and lib/fast_by_one.lua
-- evaluates the spends one by one. In any unusual case it returns before it has written anything, and the slow path (lib/charge.lua) takes the call.
-- steps: what only a shard of layout 2 needs (lib/fast_own.lua); nil in layout 1, where those functions are never made.
-- include: lib/call.lua
-- include: lib/packed.lua
-- include: lib/plan.lua
-- include: lib/room.lua
-- include: lib/budgets.lua
-- include: lib/gates.lua
-- include: lib/dedup.lua
-- include: lib/holds.lua
-- include: lib/changes.lua
-- include: lib/journal.lua
-- include: lib/figures.lua

-- Reads the brands that KEYS names from FIRST_PLAN on: in order, by number, and the place of the last of their keys. nil where one is unusual: unknown,
-- repeated, with expired holds, or with another day than the first one's by its time zone.
local function usual_brands(verb, day, month, now, steps)
  local brands, by_number, place, stride, at = {}, {}, FIRST_PLAN, verb == 't' and 3 or 1, #shard_key - 4
  while true do
    local id = string.match(KEYS[place] or '', '^brand:(%d+)$', at)
    if not id then return brands, by_number, place - 1 end
    local brand = not by_number[id + 0] and read_brand(KEYS[place], day, month, now)
    -- Paused brands and scheduled changes of limits are the slow path's, which counts by sums too. Only a shard of layout 2 has time zones.
    -- So is the first call of a day that a carry begins (lib/rollover.lua).
    if not brand or brand.paused or brand.n1 or (brand.carry and brand.carry.fresh) or (brand.zone and not steps) or (brands[1] and brand.day ~= brands[1].day) then return nil end
    if brand.paced and not (steps and steps.pace(brand, now, brand.day)) then return nil end
    if verb == 't' and brand.held > 0 then
      local tag, holds_key, expiry_key = string.sub(shard_key, 1, -6), KEYS[place + 1], KEYS[place + 2]
      if holds_key ~= tag .. 'holds:' .. id or expiry_key ~= tag .. 'expiry:' .. id then return nil end
      if not holds_exist(brand, holds_key, expiry_key) or has_due(expiry_key, now) then return nil end
    end
    brand.id, brand.amount = id, 0
    brands[#brands + 1], by_number[id + 0] = brand, brand
    place = place + stride
  end
end

-- Parses the sums of a batch and reads their campaigns, into an array per field. nil where one is unusual. before: the place of the last key of a brand.
local function usual_sums(verb, now, body, by_number, before, day, month, steps)
  local day_field, month_field = period_fields(day, month)
  local campaign_key, ends, place, size, last_id, any_closed = string.sub(shard_key, 1, -6) .. 'campaign:', 1, 0, 0, 0, false
  local ids, amounts, counts, gates, brands, found = {}, {}, {}, {}, {}, {}
  local own = steps and { limits = {}, fields = {}, counted = {}, held = {}, flights = {}, starts = {}, after = {}, after_field = {}, braked = {}, paced = {} }
  for start, campaign_id, digits, times, stop in string.gmatch(body, '()(%d+),(%d+),(%d+);()') do
    place = place + 1
    local key, id, amount, several = KEYS[before + place], campaign_id + 0, digits + 0, times + 0
    local brand = by_number[(id - id % 65536) / 65536]
    -- Ascending order excludes repeated campaigns.
    if start ~= ends or not brand or id <= last_id or key ~= campaign_key .. campaign_id then return nil end
    if several < 1 or #times > 4 or #digits > 16 or amount < several or amount > several * MAX_AMOUNT then return nil end
    -- No campaign of a brand without `own` has limits, flights, brake or pacing (lib/own_held.lua).
    local got = brand.own_held
        and redis.pcall('HMGET', key, 'on', 'archived', 'schedule', day_field, month_field, 'x', LIFETIME, 'f1', 'f2', 'br', 'bk', 's', 'p', 'n1')
      or redis.pcall('HMGET', key, 'on', 'archived', 'schedule', day_field, month_field)
    local schedule, daily, monthly = got[3], got[4] or '0', got[5] or '0'
    if not is_flag(got[1]) or not is_flag(got[2]) or not schedule or (schedule ~= '' and not is_schedule(schedule)) then return nil end
    if daily == '' or monthly == '' or #daily > 16 or #monthly > 16 then return nil end
    local on, archived, closed, outside, broken, paused = got[1] == '1', got[2] == '1' or brand.archived, 0, false, false, false
    local instant, now = now, brand.local_now or now
    if got[14] then return nil end
    if got[6] then
      outside, broken = steps.note(own, place, key, got, verb, brand, campaign_id, amount, instant)
      if outside == nil then return nil end
    end
    -- each gate
    if $closed then closed = closed + $cause end
    -- end each
    any_closed = any_closed or closed > 0
    ids[place], amounts[place], counts[place], gates[place], brands[place] = campaign_id, amount, several, closed, brand
    found[2 * place - 1], found[2 * place] = daily, monthly
    brand.amount = brand.amount + amount
    size, ends, last_id = size + several, stop, id
  end
  if place == 0 or place > MAX_PACKED_CAMPAIGNS or ends ~= #body + 1 or KEYS[before + place + 1] or size > MAX_SPENDS then return nil end
  if not string.find(table.concat(found), WHOLE) then return nil end
  return {
    count = place, size = size, ids = ids, amounts = amounts, counts = counts, gates = gates, brands = brands, found = found, before = before,
    any_closed = any_closed, own = own, day_field = day_field, month_field = month_field,
  }
end

-- A call's events (read_names), their stored values ({name = value}) and the hash to write them to. nil where they are unusual: of another day than UTC's,
-- with a repeated name, or with a dedup window that has ended. day: of the brands; the values that a caller gives have UTC's.
local function usual_events(call, size, day, now)
  local utc = text(day_of(now))
  if call.day ~= utc then return nil end
  if text(day) ~= utc then
    local kept, times = string.gsub((call.kept or '') .. ';', ',' .. utc .. ';', ',' .. text(day) .. ';')
    if times ~= size then return nil end
    call = { names = call.names, kept = string.sub(kept, 1, -2), more = call.more }
  end
  local named, events = read_names(call, size), open_dedup(shard_key, 'ev', event_keys, now)
  if not named or not named.once or not events or #events.rotate > 0 then return nil end
  local seen = look_up(events, named.names)
  if not seen then return nil end
  return named, seen, events.write
end

-- Whether all sums fit into MAX_TOTAL and, of try calls, into their budgets.
local function sums_fit(verb, brands, sums)
  if verb == 't' and sums.any_closed then return false end
  for _, brand in ipairs(brands) do
    if not has_room(brand, brand.held, brand.amount > 0 and verb or 'r', brand.amount) then return false end
  end
  return true
end

-- Counts sums.amounts and each brand's amount, appends the entry and writes everything. Returns the reply.
local function write_usual(verb, call, usual, verdict)
  local shard, sums, steps, now, by_id = usual.shard, usual.sums, usual.steps, usual.shard.now, {}
  for _, brand in ipairs(usual.brands) do
    by_id[brand.id] = brand
    if brand.amount > 0 then count_budgets(brand, brand.amount) end
  end
  local moved, messages = changes_of(by_id, now)
  local entry, flights, starts, rates = entry_of(verb, call, sums.size, verdict, {}), nil, nil, nil
  if steps then
    flights, starts = steps.count(sums, now, moved, messages)
    rates = steps.rates(sums)
    if verb == 't' then steps.note_asked(usual.brands, sums) end
  end
  if flights then entry[#entry + 1], entry[#entry + 2] = 'v', flights end
  local failed = verdict.counted > 0 and append(shard, journal_key, entry, moved, steps and steps.add_zones(entry, by_id, now) or '2')
  if failed then return failed end

  local fields = { 'now', text(now), 'n', text(shard.n), usual.counter, text(shard.count + verdict.counted) }
  if verdict.counted < sums.size then tally(shard_key, verdict.tallies, fields) end
  redis.call('HSET', usual.requests, call.request, verb .. digest_of(call.body, call.log, usual.names) .. ' ' .. verdict.packed)
  if #verdict.events_set > 0 then redis.call('HSET', usual.events, unpack(verdict.events_set)) end
  redis.call('HSET', shard_key, unpack(fields))
  local lines, masks, ids, amounts, gates, found = {}, {}, sums.ids, sums.amounts, sums.gates, sums.found
  for i, brand in ipairs(usual.brands) do
    write_brand(brand)
    lines[i], masks[brand] = figures_of(brand.id, brand), budget_mask(brand)
  end
  for i = 1, sums.count do
    local amount, mask, own = amounts[i], gates[i] + masks[sums.brands[i]], sums.owns and sums.owns[i]
    if own then mask = mask + budget_mask(own) end
    if amount > 0 then
      local key, daily, monthly = KEYS[sums.before + i], found[2 * i - 1] + amount, found[2 * i] + amount
      if steps then
        steps.write(sums, i, key, daily, monthly)
      else
        redis.call('HSET', key, sums.day_field, argument(daily), sums.month_field, argument(monthly))
      end
    end
    ids[i] = ids[i] .. (mask == 0 and ':0' or ':' .. mask)
  end
  publish_messages(shard, messages)
  return { 'ok', verdict.packed, table.concat(lines, ';'), table.concat(ids, ';'), starts or rates and '' or nil, rates }
end

-- A packed call whose shard is open: {shard, counter, active: which hash of request ids is written}; nil for the slow path.
local function open_packed(verb, call)
  local log = call.log
  if not serves(call.layout) or not is_id(call.request, 80) then return nil end
  local version, width = string.byte(log, 1, 2)
  if version ~= (call.day and NAMED or PACKED) or (width ~= 4 and width ~= 8) then return nil end
  local counter = verb == 'r' and 'count:recorded' or 'count:accepted'
  local shard, state = open_shard(shard_key, '', counter, 'req_active', 'req_until')
  if not shard then return nil end
  local active, till = is_flag(state[7]) and tonumber(state[7]), whole(state[8])
  if not active or not till or shard.now >= till then return nil end
  return { shard = shard, counter = counter, requests = request_keys[1 + active], width = width }
end

-- Returns the reply. Or nil and what was read, where the spends must be evaluated one by one. Or nil alone, for the slow path. usual: what open_packed
-- returned, to which this adds what it reads.
local function fast_packed(verb, call, usual, steps)
  local request, log, shard = call.request, call.log, usual.shard
  local now, day = shard.now, day_of(shard.now)
  local month = month_of(day)
  local brands, by_number, before = usual_brands(verb, day, month, now, steps)
  if brands and brands[1] then day, month = brands[1].day, brands[1].month end
  local sums = brands and usual_sums(verb, now, call.body, by_number, before, day, month, steps)
  if not sums or #log ~= 2 + sums.size * (1 + usual.width) then return nil end
  local one, other = redis.pcall('HMGET', request_keys[1], '#', request), redis.pcall('HMGET', request_keys[2], '#', request)
  if not one[1] or not other[1] or one[2] or other[2] then return nil end
  usual.brands, usual.sums, usual.seen, usual.steps = brands, sums, {}, steps
  if call.day then
    -- The stored value of an event of a flight names the flight, which the caller does not know.
    if steps and next(sums.own.flights) then return nil end
    usual.named, usual.seen, usual.events = usual_events(call, sums.size, day, now)
    if not usual.named then return nil end
    usual.names = call.names
  end
  local fit = not next(usual.seen) and sums_fit(verb, brands, sums)
  if steps and not (fit and steps.has_usual_room(sums)) then
    sums.owns = steps.owns_of(sums, now, day)
    if not sums.owns then return nil end
    fit = fit and steps.owns_fit(verb, sums)
  end
  -- When each of the refused may be tried again is told by the slow path.
  if not fit and steps and steps.any_paced(brands, sums) then return nil end
  if not fit then return nil, usual end
  local set = usual.named and usual.named.fields or {}
  return write_usual(verb, call, usual, { packed = 'k*' .. sums.size, events_set = set, counted = sums.size })
end
