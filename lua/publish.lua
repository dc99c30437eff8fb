#!lua
-- Publishes the plan of one brand and up to 200 of its campaigns from the catalog. A version that is not above the one in Redis changes nothing.
-- KEYS  1 shard  2 registry  3 journal  4 brand  5.. its campaigns, by ascending ordinal; last, where campaigns come with limits of their own, holds
-- ARGV  1 layout  2 instance uuid  3 brand id  4 version  5 daily limit  6 monthly limit (micros, empty = none)
--       7 stops: 0, or the sum of 1 (archived) and 2 (paused)
--       8 create 0|1: this brand was never published and has no log rows, so that a missing hash is new and not lost
--       then for each campaign: id, version, on 0|1, archived 0|1, compiled schedule, create 0|1; and where the last key is holds: its own limits
--         `<daily>:<monthly>:<lifetime>` (each empty = none), with flights `|<f1>` or `|<f1>|<f2>` (lib/flights.lua), then with a brake `|br=<its field>`
--         (lib/brake.lua), and what its lifetime counter begins with, `<micros>,<month>,<n>`, or empty: the micros that the log has of it before that month,
--         read when it had all entries up to n
--       then the limits of further budgets, in the order of the list (lib/budgets.lua); budgets that are left out keep their limits
--       last, where the brand has pacing, a time zone or steps, its named parts (lib/paced_plan.lua, `|zone=<its field>`: lib/local_day.lua,
--       lib/stepped_plan.lua, `|ro=<cap>` of its rollover: lib/rolled_plan.lua); those of a campaign are at the end of its limits. A zone by which the brand's day would go back is an error, and changes nothing
-- Reply {'ok', brand version, n, now, ahead}; ahead: `<id>:<version>` joined by `,`, each brand or campaign that Redis has in a higher version, or in
--         this version with other content. A late publish causes the first; a catalog that was restored to an earlier state causes both.
--         A sixth element, where there are any: ids joined by `,` of campaigns that were left out, because their lifetime counter needs what the log
--         has up to n
--       {'not_ready', why} | {'wrong_version', layout} | {'foreign', mark}
-- include: lib/shard.lua
-- include: lib/text.lua
-- include: lib/stored.lua
-- include: lib/calendar.lua
-- include: lib/plan.lua
-- include: lib/changes.lua
-- include: lib/journal.lua
-- include: lib/watched.lua
-- include: lib/own_limits.lua
-- include: lib/paced_plan.lua
-- include: lib/stepped_plan.lua
-- include: lib/was.lua
-- include: lib/rolled_plan.lua
local shard_key, registry, journal, brand_key, FIRST_CAMPAIGN = KEYS[1], KEYS[2], KEYS[3], KEYS[4], 5
local layout, instance, id, version_text, stops, create = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[7], ARGV[8]
local holds_key = string.find(KEYS[#KEYS], ':holds:%d+$') and KEYS[#KEYS]
local LAST_CAMPAIGN = holds_key and #KEYS - 1 or #KEYS
local OF_CAMPAIGN, A_CAMPAIGN = 9, holds_key and 8 or 6 -- the first argument of campaigns, and how many each has
if not serves(layout) then return { 'wrong_version', LAYOUT } end
local shard, refused = open_shard(shard_key, instance)
if not shard then return refused end
local version, day = tonumber(version_text), day_of(shard.now)
local month = month_of(day)

-- The limit in ARGV of the budget in row i of the list: '' is no limit, nil is not given.
local function given_limit(i)
  return ARGV[i <= 2 and 4 + i or OF_CAMPAIGN + A_CAMPAIGN * (LAST_CAMPAIGN - FIRST_CAMPAIGN + 1) + i - 3]
end

-- The brand's pacing, after the limits.
local budgets = 0
-- each brand budget
budgets = $i
-- end each
local _, brand_parts = named_parts(given_limit(budgets + 1) or '')
local zone_text = brand_parts.zone or ''
local zone = zone_text ~= '' and zone_of(zone_text) or nil
brand_parts.zone = nil
local n1, n2 = taken_steps(brand_parts)
local cap = brand_parts.ro
brand_parts.ro = nil
if cap and not whole(cap) then return redis.error_reply('publish: rollover of brand ' .. id) end
if not is_pacing(brand_parts) or not are_steps(n1, n2) then return redis.error_reply('publish: pacing of brand ' .. id) end
if zone_text ~= '' and not zone then return redis.error_reply('publish: time zone of brand ' .. id) end

-- The arguments of the campaign in KEYS[i].
local function given_campaign(i)
  local at = OF_CAMPAIGN + (i - FIRST_CAMPAIGN) * A_CAMPAIGN
  local plan, parts = named_parts(holds_key and ARGV[at + 6] or '')
  local own, f1, f2 = string.match(plan, '^([^|]*)|?([^|]*)|?([^|]*)$')
  local br = parts.br
  f1, f2, parts.br = f1 ~= '' and f1 or nil, f2 ~= '' and f2 or nil, nil
  local own_n1, own_n2 = taken_steps(parts)
  return {
    id = ARGV[at], version = ARGV[at + 1], on = ARGV[at + 2], archived = ARGV[at + 3], schedule = ARGV[at + 4], create = ARGV[at + 5],
    limits = own, f1 = f1, f2 = f2, br = br, parts = parts, n1 = own_n1, n2 = own_n2, base = holds_key and ARGV[at + 7] or '', key = KEYS[i],
  }
end

local registered = redis.pcall('HGET', registry, id)
if type(registered) == 'table' or redis.call('HEXISTS', registry, '#') == 0 then return invalidate_shard(shard_key, registry) end
if registered and not whole(registered) then return invalidate_shard(shard_key, registry) end
local brand = read_brand(brand_key, day, month, shard.now)
local was_zoned = brand and brand.zone_text ~= ''
if brand and version > brand.version and zone_text ~= brand.zone_text then
  -- Counters of a day that is over, and perhaps closed, would go on.
  if day_of(local_ms(zone, shard.now)) < brand.day then return redis.error_reply('publish: the day of brand ' .. id .. ' would go back') end
  local before = brand
  brand = read_brand(brand_key, day, month, shard.now, zone_text)
  -- What the days until now left goes by the zone that they had: the text of a later one may not know a day that never was.
  if brand and brand.day == before.day then brand.budgets, brand.carry = before.budgets, before.carry end
end
if brand then zone = brand.zone end
day = day_of(local_ms(zone, shard.now))
month = month_of(day)
if brand == false or (not brand and (registered or create ~= '1')) then return invalidate_shard(shard_key, brand_key) end

local late_n = shard.layout == WITH_OWN_LIMITS and whole(redis.call('HGET', shard_key, 'late_n')) or shard.n
local with_grace = shard.layout == WITH_OWN_LIMITS and (whole(redis.call('HGET', shard_key, 'grace')) or 0) > 0
local highest, writes, ahead, uncounted, any_limits = tonumber(registered or '0'), {}, {}, {}, false
for i = FIRST_CAMPAIGN, LAST_CAMPAIGN do
  local given, campaign = given_campaign(i), read_campaign(KEYS[i], day, month, shard.now, zone)
  local ordinal = tonumber(given.id) % 65536
  if campaign == false or (not campaign and (ordinal <= highest or given.create ~= '1')) then return invalidate_shard(shard_key, KEYS[i]) end
  if not campaign and ordinal ~= highest + 1 then return redis.error_reply('publish: campaign ' .. given.id .. ' before its elder') end
  if not campaign then highest = ordinal end
  local given_version, live_version = tonumber(given.version), campaign and tonumber(campaign.version) or 0
  any_limits = any_limits or has_limits(given.limits) or given.f1 or given.br or given.parts.p or given.n1
  if not fits_together(given) or not is_pacing(given.parts) then return redis.error_reply('publish: limits of campaign ' .. given.id) end
  if not campaign or given_version > live_version then
    local list = take_limits(given, campaign, day, month, late_n, shard.now, zone) and writes or uncounted
    list[#list + 1], given.paced = given, campaign and campaign.paced
    if campaign and with_grace and (campaign.n1 or not same_limits({ limits = campaign.limits }, { limits = given.limits })) then
      for _, part in ipairs(kept_limits(given.key, own_limits_before(campaign, shard.now), shard.now, zone)) do given.set[#given.set + 1] = part end
    end
  elseif given_version < live_version or campaign.on ~= (given.on == '1') or campaign.archived ~= (given.archived == '1')
    or campaign.schedule ~= given.schedule or not same_limits(campaign, given) or not same_pacing(given.key, campaign.paced, given.parts) then
    ahead[#ahead + 1] = given.id .. ':' .. text(live_version)
  end
end
local own_held = any_limits and not (brand and brand.own_held) and first_own_held(holds_key) or {}
if any_limits and not own_held then return invalidate_shard(shard_key, holds_key) end

-- Whether any limit in Redis differs from the one in the call.
local function has_other_limits()
  for i, budget in ipairs(brand.budgets) do
    local limit = given_limit(i)
    local live = budget.limit
    if brand.n1 or brand.carry then live = tonumber(brand.given[i]) end
    if limit and live ~= tonumber(limit) then return true end
  end
  return false
end

local brand_write, moved, carry = nil, {}, nil
if not brand or version > brand.version then
  local before = {}
  for i, budget in ipairs(brand and brand.budgets or {}) do before[i] = optional(budget.limit) end
  if brand and brand.n1 then
    before = limits_before(brand, brand.given, shard.now)
  elseif brand and brand.carry then
    before = brand.given
  end
  local kept = brand and with_grace and (brand.n1 or has_other_limits()) and kept_limits(brand_key, table.concat(before, ':'), shard.now, zone) or {}
  brand_write = { 'v', version_text, 'archived', stops, unpack(kept) }
  brand = brand or { budgets = {
    -- each brand budget
    { name = '$name', spent = 0 },
    -- end each
  } }
  local in_force = n1 and limits_by({ given_limit(1), given_limit(2) }, n1, n2, shard.now) or {}
  carry = carry_by(brand.carry, cap, day)
  if carry then in_force = { with_carry(in_force[1] or given_limit(1), carry.carried), in_force[2] } end
  local function set_limit(i, field)
    local limit, budget = given_limit(i), brand.budgets[i]
    if not limit then return end
    brand_write[#brand_write + 1], brand_write[#brand_write + 2] = field, limit
    if brand.version then note_before(budget) end
    budget.limit = tonumber(in_force[i] or limit)
  end
  -- each brand budget
  set_limit($i, '$limit')
  -- end each
  moved = changes_of({ [id] = brand }, shard.now)
  add_since(brand, brand_write)
  brand.version, brand.archived, brand.paused, brand.zone_text = version, stops % 2 == 1, stops >= '2', zone_text
  if zone_text ~= '' then
    local size = #brand_write
    brand_write[size + 1], brand_write[size + 2] = 'zone', zone_text
    -- Days before it may be closed already.
    if with_grace and not was_zoned then brand_write[size + 3], brand_write[size + 4] = 'closed', text(day - 1) end
  end
elseif version < brand.version or brand.stops ~= stops or brand.zone_text ~= zone_text or has_other_limits()
  or not same_steps(brand, n1, n2) or not same_cap(brand.carry, cap)
  or not same_pacing(brand_key, brand.paced, brand_parts) then
  ahead[#ahead + 1] = id .. ':' .. text(brand.version)
end

local any_resumed = false
for _, of in ipairs(writes) do
  changes_of({ [of.id] = of }, shard.now, moved)
  add_since(of, of.set)
  if of.resumed then moved[#moved + 1], any_resumed = of.id .. ':breaker:restored', true end
end

-- The journal entry is the last check that can refuse; every write comes after it.
local entry = {}
local begun = carry and add_carries(entry, { [id] = { carry = carry } }, true)
local failed = (#moved > 0 or begun) and append(shard, journal, entry, moved, any_resumed and '3' or begun)
if failed then return failed end
local now_text, n, changes = text(shard.now), text(shard.n), string.gsub(shard_key, 'shard$', 'changes')
redis.call('HSET', shard_key, 'now', now_text, 'n', n)
if brand_write then
  redis.call('HSET', brand_key, unpack(brand_write))
  if zone_text == '' then redis.call('HDEL', brand_key, 'zone') end
  write_cap(brand_key, brand.carry, carry)
  write_steps(brand_key, brand, n1, n2)
  brand.n1, brand.n2 = n1, n2
  write_pacing(brand_key, brand.paced, brand_parts)
end
local new_layout = shard.layout ~= WITH_OWN_LIMITS and (any_limits or (brand_write and (brand_parts.p or n1 or cap or zone_text ~= '' or brand.paused)))
if new_layout then redis.call('HSET', shard_key, 'layout', WITH_OWN_LIMITS, 'late_n', n) end
if #own_held > 0 then redis.call('HSET', brand_key, unpack(own_held)) end
for _, of in ipairs(writes) do
  redis.call('HSET', of.key, 'v', of.version, 'on', of.on, 'archived', of.archived, 'schedule', of.schedule, unpack(of.set))
  if #of.unset > 0 then redis.call('HDEL', of.key, unpack(of.unset)) end
  write_pacing(of.key, of.paced, of.parts)
end
redis.call('HSET', registry, id, text(highest))
-- The message has the whole brand and the changed campaigns, each with its version, so that watchers need not read them.
if brand_write or #writes > 0 then
  local parts = { id .. ' plan published ' .. now_text .. ' ' .. n, watched_brand(brand, shard.now) }
  for _, of in ipairs(writes) do
    parts[#parts + 1] = string.match(of.key, '%d+$') .. ':' .. table.concat({ of.version, of.on, of.archived, of.schedule }, ':')
      .. watched_own(of.set[2], of.budgets, of.flights, of.since, of.steps, shard.now)
  end
  redis.call('PUBLISH', changes, table.concat(parts, ' '))
end
if new_layout then
  -- Watchers read the shard again, so those of the release before are refused at once.
  redis.call('PUBLISH', changes, '0 shard lost')
  redis.call('PUBLISH', changes, '0 shard ready ' .. now_text)
end
local left_out = {}
for i, of in ipairs(uncounted) do left_out[i] = of.id end
return { 'ok', version_text, n, now_text, table.concat(ahead, ','), left_out[1] and table.concat(left_out, ',') or nil }
