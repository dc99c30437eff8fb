#!lua
-- Reserves, settles and releases holds: money set aside for a bid in flight. Each hold ends exactly once: it is settled at the real price,
-- released, or expires by Redis' clock. A repeated call gets the same reply. Up to 200 operations of one shard, evaluated in order.
-- KEYS  1 shard  2 registry  3 journal  4-5 requests  6-7 events  8.. brands, campaigns, and holds and expiry of each brand, side by side
-- ARGV  1 layout  2 operations, each one of
--         `R,<campaign_id>,<hold id>,<amount_micros>,<ttl_ms>;` reserve  `S,<campaign_id>,<hold id>,<amount_micros>,;` settle
--         `L,<campaign_id>,<hold id>,,;` release  `E,<campaign_id>,,,;` only remove expired holds
-- Reply {'ok', outcomes joined by `,`, brands, campaigns} (figures as in lib/charge.lua):
--         reserve: a accepted, x<causes> refused; settle: s settled, o settled over what was held, t counted late (after its end, or never
--         held); release: l released, n unknown hold; all: how the hold ended earlier (s o t l e, e = expired), c conflict, u unknown
--         campaign, w expired holds removed
--       {'not_ready', why} | {'wrong_version', layout} | {'invalid', index, field}: nothing was written
-- include: lib/call.lua
-- include: lib/flight_entry.lua
-- include: lib/zone_entry.lua
-- include: lib/plan_changes.lua
local MAX_OPERATIONS, MAX_TTL_MS = 200, 86400000

local function parse(body)
  local operations, ends = {}, 1
  for start, verb, campaign, hold, digits, ttl, stop in string.gmatch(body, '()([RSLE]),(%d+),([^,;]*),([^,;]*),([^,;]*);()') do
    local index = #operations
    if start ~= ends or index >= MAX_OPERATIONS then return nil, { 'invalid', index, 'operations' } end
    local amount = amount_of(digits)
    if (verb == 'R' or verb == 'S') and not amount then return nil, { 'invalid', index, 'amount' } end
    if verb ~= 'E' and not is_id(hold, 64) then return nil, { 'invalid', index, 'hold_id' } end
    local ttl_ms = string.find(ttl, '^%d+$') and #ttl <= 8 and tonumber(ttl)
    if verb == 'R' and not (ttl_ms and ttl_ms > 0 and ttl_ms <= MAX_TTL_MS) then return nil, { 'invalid', index, 'ttl' } end
    operations[index + 1] = { verb = verb, campaign = campaign, hold = hold, digits = digits, amount = amount, ttl = ttl_ms, name = campaign .. ':' .. hold }
    ends = stop
  end
  if #operations == 0 or ends ~= #body + 1 then return nil, { 'invalid', #operations, 'operations' } end
  return operations
end

local layout, body = ARGV[1], ARGV[2]
if not serves(layout) then return { 'wrong_version', LAYOUT } end
local shard, refused = open_shard(shard_key, '')
if not shard then return refused end
local operations, bad = parse(body)
if not operations then return bad end
local now = shard.now
local plans, lost = read_plans(now)
if not plans then return lost end

-- For each named hold: the amount if it is open, and how it ended if it has.
local open, ended, ended_names, held_now = {}, {}, {}, {}
for _, operation in ipairs(operations) do
  local campaign = plans.campaigns[operation.campaign]
  operation.brand = campaign and plans.brands[campaign.brand_id]
  if operation.verb ~= 'E' and operation.brand then
    if not operation.brand.holds_key then return { 'invalid', 0, 'keys' } end
    if not held_by(operation.brand, operation.campaign) then return invalidate_shard(shard_key, operation.brand.key) end
    ended_names[#ended_names + 1] = '!' .. operation.name
  end
end
local events = open_dedup(shard_key, 'ev', event_keys, now)
local remembered = events and look_up(events, ended_names)
if not remembered then return invalidate_shard(shard_key, 'events') end

local lines, due, swept = {}, {}, {}
for _, brand in pairs(plans.brands) do
  if brand.holds_key then
    due[brand] = expire_holds(brand, brand.holds_key, brand.expiry_key, now)
    if not due[brand] then return invalidate_shard(shard_key, brand.holds_key) end
    expired_lines(due[brand], lines)
    brand.holds_changed = #due[brand] > 0
    for _, hold in ipairs(due[brand]) do swept[hold.name] = 'e,' .. hold.held .. ',0' end
  end
end
for _, operation in ipairs(operations) do
  local name = operation.name
  if operation.verb ~= 'E' and operation.brand and ended[name] == nil and open[name] == nil then
    local value = not swept[name] and operation.brand.held > 0 and redis.call('HGET', operation.brand.holds_key, name)
    if value then
      open[name] = hold_of(value)
      if not open[name] then return invalidate_shard(shard_key, operation.brand.holds_key) end
    end
    ended[name] = swept[name] or remembered['!' .. name] or false
  end
end

local writes, short = {}, nil
local function finish(operation, state, held)
  ended[operation.name] = state .. ',' .. held .. ',' .. (operation.digits ~= '' and operation.digits or '0')
  if open[operation.name] then
    -- A sum that is smaller than its holds was written by no script, and would open the budget.
    if not add_held(operation.brand, operation.campaign, -tonumber(open[operation.name])) then short = operation.brand end
    operation.brand.holds_changed = true
    open[operation.name] = nil
  end
  writes[operation.name] = { operation = operation, ended = ended[operation.name] }
end

local function reserve(operation, was, was_held)
  local held = open[operation.name] or (was and was_held)
  if held and held ~= '0' then
    if held ~= operation.digits then return 'c' end
    return open[operation.name] and 'a' or was
  end
  if was then return was end
  local campaign = plans.campaigns[operation.campaign]
  local mask = refusal(operation.brand, campaign, operation.amount, now)
  if is_held_back_by(operation.brand, campaign) then mask = mask + PACING end
  if mask == 0 or is_asked(mask) then
    note_asked(operation.brand, operation.amount)
    note_asked(campaign, operation.amount)
  end
  if mask == RATE then campaign.awaited = math.max(campaign.awaited or 0, operation.amount) end
  if mask > 0 then return 'x' .. mask end
  local expires = text(now + operation.ttl)
  add_held(operation.brand, operation.campaign, operation.amount)
  operation.brand.holds_changed = true
  open[operation.name] = operation.digits
  writes[operation.name] = { operation = operation, open = operation.digits .. ',' .. expires, expires = expires }
  lines[#lines + 1] = 'R,' .. operation.campaign .. ',' .. operation.hold .. ',' .. operation.digits .. ',' .. expires .. ';'
  return 'a'
end

-- A settled price is money already spent. It is counted once, also after the hold's end or without a hold, and then marked late.
local function settle(operation, was, was_held, was_settled)
  if was == 's' or was == 'o' or was == 't' then return was_settled == operation.digits and was or 'c' end
  local held = open[operation.name]
  local state = not held and 't' or (operation.amount > tonumber(held) and 'o' or 's')
  if not count(operation.brand, plans.campaigns[operation.campaign], operation.amount) then return nil end
  finish(operation, state, held or was_held or '0')
  lines[#lines + 1] = string.upper(state) .. ',' .. operation.campaign .. ',' .. operation.hold .. ',' .. operation.digits .. ',' .. (held or was_held or '0') .. ';'
  return state
end

local function release(operation, was)
  if was then return was end
  local held = open[operation.name]
  if not held then return 'n' end
  finish(operation, 'l', held)
  lines[#lines + 1] = 'L,' .. operation.campaign .. ',' .. operation.hold .. ',' .. held .. ',;'
  return 'l'
end

local outcomes, refusals = {}, {}
for i, operation in ipairs(operations) do
  local was, was_held, was_settled
  if ended[operation.name] then
    was, was_held, was_settled = string.match(ended[operation.name], '^(%a),(%d+),(%d+)$')
    if not was then return invalidate_shard(shard_key, 'events') end
  end
  if not operation.brand then
    outcomes[i] = 'u'
  elseif operation.verb == 'E' then
    outcomes[i] = 'w'
  elseif operation.verb == 'R' then
    outcomes[i] = reserve(operation, was, was_held)
  elseif operation.verb == 'S' then
    outcomes[i] = settle(operation, was, was_held, was_settled)
  else
    outcomes[i] = release(operation, was)
  end
  if not outcomes[i] then return { 'invalid', i - 1, 'total' } end
  if string.find(outcomes[i], '^x') then refusals['h' .. outcomes[i]] = (refusals['h' .. outcomes[i]] or 0) + 1 end
end

if short then return invalidate_shard(shard_key, short.key) end
local moved, messages = plan_changes(plans, now)
if #lines > 0 then
  local entry = { 'h', table.concat(lines) }
  add_flights(entry, plans.campaigns)
  local zoned, begun = add_zones(entry, plans.brands, now), add_carries(entry, plans.brands)
  local failed = append(shard, journal_key, entry, moved, add_trips(entry, plans.campaigns) or zoned or begun)
  if failed then return failed end
end
local shard_fields, event_fields = { 'now', text(now), 'n', text(shard.n) }, {}
for brand, holds in pairs(due) do write_expired(holds, brand.holds_key, brand.expiry_key, event_fields) end
for name, write in pairs(writes) do
  local brand = write.operation.brand
  if write.open then
    redis.call('HSET', brand.holds_key, name, write.open)
    redis.call('ZADD', brand.expiry_key, write.expires, name)
  else
    redis.call('HDEL', brand.holds_key, name)
    redis.call('ZREM', brand.expiry_key, name)
    event_fields[#event_fields + 1], event_fields[#event_fields + 2] = '!' .. name, write.ended
  end
end
if #lines > 0 then rotate_hashes(events, shard_fields) end
if #event_fields > 0 then redis.call('HSET', events.write, unpack(event_fields)) end
if next(refusals) then tally(shard_key, refusals, shard_fields) end
redis.call('HSET', shard_key, unpack(shard_fields))
write_plans(plans)
add_rates(plans, now, messages)
publish_messages(shard, messages)
local told = table.concat(outcomes, ',')
return { 'ok', told, figures(plans, now, told) }
