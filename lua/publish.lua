#!lua
-- Brings the catalog's word on one brand and up to 200 of its campaigns into the live state. A version not above the one in Redis changes nothing.
-- KEYS  1 shard  2 registry  3 journal  4 brand  5.. its campaigns, by ascending ordinal
-- ARGV  1 layout  2 instance uuid  3 brand id  4 version  5 daily limit  6 monthly limit (micros, empty = none)  7 archived 0|1
--       8 create 0|1: this brand was never published and has no log rows, so that a missing hash is new and not lost
--       then for each campaign: id, version, on 0|1, archived 0|1, compiled schedule, create 0|1
-- Reply {'ok', brand version, n, now, ahead}; ahead: `<id>:<version>` joined by `,`, each brand or campaign that Redis has in a higher version, or in
--         this version with another content. A late publish meets the first, a catalog that went back to an earlier state meets both
--       {'not_ready', why} | {'wrong_version', layout} | {'foreign', mark}
-- include: lib/shard.lua
-- include: lib/calendar.lua
-- include: lib/plan.lua
-- include: lib/watched.lua
local shard_key, registry, journal, brand_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
if ARGV[1] ~= LAYOUT then return { 'wrong_version', LAYOUT } end
local shard, refused = open_shard(shard_key, ARGV[2])
if not shard then return refused end
local id, version = ARGV[3], tonumber(ARGV[4])
local day = day_of(shard.now)
local month = month_of(day)

local registered = redis.pcall('HGET', registry, id)
if type(registered) == 'table' or redis.call('HEXISTS', registry, '#') == 0 then return lose(shard_key, registry) end
if registered and not whole(registered) then return lose(shard_key, registry) end
local brand = read_brand(brand_key, day, month)
if brand == false or (not brand and (registered or ARGV[8] ~= '1')) then return lose(shard_key, brand_key) end

local highest, writes, ahead = tonumber(registered or '0'), {}, {}
for i = 5, #KEYS do
  local at = 9 + (i - 5) * 6
  local campaign = read_campaign(KEYS[i], day, month)
  local ordinal = tonumber(ARGV[at]) % 65536
  if campaign == false or (not campaign and (ordinal <= highest or ARGV[at + 5] ~= '1')) then return lose(shard_key, KEYS[i]) end
  if not campaign and ordinal ~= highest + 1 then return redis.error_reply('publish: campaign ' .. ARGV[at] .. ' before its elder') end
  if not campaign then highest = ordinal end
  local given, has = tonumber(ARGV[at + 1]), campaign and tonumber(campaign.version) or 0
  if not campaign or given > has then
    writes[#writes + 1] = { KEYS[i], 'v', ARGV[at + 1], 'on', ARGV[at + 2], 'archived', ARGV[at + 3], 'schedule', ARGV[at + 4] }
  elseif given < has or campaign.on ~= (ARGV[at + 2] == '1') or campaign.archived ~= (ARGV[at + 3] == '1') or campaign.schedule ~= ARGV[at + 4] then
    ahead[#ahead + 1] = ARGV[at] .. ':' .. text(has)
  end
end

local brand_write, moved = nil, {}
if not brand or version > brand.version then
  brand_write = { brand_key, 'v', ARGV[4], 'daily', ARGV[5], 'monthly', ARGV[6], 'archived', ARGV[7] }
  for i, budget in ipairs(brand and brand.budgets or {}) do
    local was = used_up(budget)
    budget.limit = tonumber(ARGV[4 + i])
    if was ~= used_up(budget) then
      brand_write[#brand_write + 1], brand_write[#brand_write + 2] = budget.since_field, text(shard.now)
      moved[#moved + 1] = id .. ':' .. budget.name .. ':' .. (was and 'restored' or 'exhausted')
    end
  end
elseif version < brand.version or brand.archived ~= (ARGV[7] == '1') or brand.budgets[1].limit ~= tonumber(ARGV[5])
  or brand.budgets[2].limit ~= tonumber(ARGV[6]) then
  ahead[#ahead + 1] = id .. ':' .. text(brand.version)
end

-- The last guard is the journal itself; every write comes after it.
local n = shard.n
if #moved > 0 then
  local added = redis.pcall('XADD', journal, 'NOMKSTREAM', text(shard.now) .. '-*', 'f', '1', 'n', text(n + 1), 't', table.concat(moved, ','))
  if not added or added.err then return lose(shard_key, journal) end
  n = n + 1
end
redis.call('HSET', shard_key, 'now', text(shard.now), 'n', text(n))
if brand_write then redis.call('HSET', unpack(brand_write)) end
for _, write in ipairs(writes) do redis.call('HSET', unpack(write)) end
redis.call('HSET', registry, id, text(highest))
-- Watchers need not ask: the message is the brand as it stands now and the campaigns that changed, each under its version.
if brand_write or #writes > 0 then
  local stands = brand or { budgets = { { spent = 0 }, { spent = 0 } } }
  if brand_write then
    stands.version, stands.archived = version, ARGV[7] == '1'
    for i, budget in ipairs(stands.budgets) do budget.limit = tonumber(ARGV[4 + i]) end
  end
  local words = { id .. ' plan published ' .. text(shard.now) .. ' ' .. text(n), watched_brand(stands) }
  for _, write in ipairs(writes) do
    words[#words + 1] = string.match(write[1], '%d+$') .. ':' .. table.concat({ write[3], write[5], write[7], write[9] }, ':')
  end
  redis.call('PUBLISH', string.gsub(shard_key, 'shard$', 'changes'), table.concat(words, ' '))
end
return { 'ok', ARGV[4], text(n), text(shard.now), table.concat(ahead, ',') }
