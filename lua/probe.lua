#!lua flags=allow-oom
-- Checks that no key of a shard is missing or of a wrong type: its own keys, brands, campaigns and holds. A call that moves money checks only
-- the keys that it needs; this checks the rest. A bad key takes the shard out of use.
-- KEYS  1 shard  2 registry  3 journal  4-5 requests  6-7 events  8.. brands, campaigns (100 together), and holds and expiry of each brand, side by side
-- ARGV  1 layout  2-3 for how many ms request ids and event ids are to be remembered; left out where only the keys are looked at
-- Reply {'ok'} | {'not_ready', why}: `lost` where this call found it | {'wrong_version', layout}
-- include: lib/call.lua
local HOLDS = 200 -- up to so many holds of a brand are checked one by one; of more, the calls that name them check theirs
local SHARD_NUMBERS = { 'adjusted_n', 'grace', 'closed', 'late_from', 'late_n' } -- which calls that move money seldom read
local LONGEST_WINDOW = 2592000000 -- 30 days, the most that the settings allow
local layout = ARGV[1]

-- Whether a dedup window is at least as long as the setting: a shorter one has forgotten ids that the log still has, so only a rebuild brings them back.
-- A longer one stays, since workers may have different settings during a change of them; one that no setting allows is cut.
local function has_window(dedup, wanted, now)
  if not wanted or (dedup.window >= wanted and dedup.window <= LONGEST_WINDOW) then return true end
  if dedup.window < wanted then return false end
  local fields = { dedup.name .. '_window', text(wanted) }
  if #dedup.rotate == 0 and dedup.till > now + wanted then fields[3], fields[4] = dedup.name .. '_until', text(now - now % wanted + wanted) end
  redis.call('HSET', shard_key, unpack(fields))
  return true
end

if not serves(layout) then return { 'wrong_version', LAYOUT } end
local shard, refused = open_shard(shard_key, '')
if not shard then return refused end
if redis.call('TYPE', journal_key).ok ~= 'stream' then return invalidate_shard(shard_key, journal_key) end
for _, key in ipairs({ registry_key, request_keys[1], request_keys[2], event_keys[1], event_keys[2] }) do
  local guard = redis.pcall('HEXISTS', key, '#')
  if guard ~= 1 then return invalidate_shard(shard_key, key) end
end
for i, value in ipairs(redis.call('HMGET', shard_key, unpack(SHARD_NUMBERS))) do
  if value and not whole(value) then return invalidate_shard(shard_key, SHARD_NUMBERS[i]) end
end
local requests, events = open_dedup(shard_key, 'req', request_keys, shard.now), open_dedup(shard_key, 'ev', event_keys, shard.now)
if not requests then return invalidate_shard(shard_key, 'requests') end
if not events then return invalidate_shard(shard_key, 'events') end
if not has_window(requests, whole(ARGV[2]), shard.now) then return invalidate_shard(shard_key, 'req_window') end
if not has_window(events, whole(ARGV[3]), shard.now) then return invalidate_shard(shard_key, 'ev_window') end
local plans, lost = read_plans(shard.now)
if not plans then return lost end
for id, brand in pairs(plans.brands) do
  if published(id) == math.huge then return invalidate_shard(shard_key, registry_key) end
  local closed = brand.zone and redis.call('HGET', brand.key, 'closed')
  if closed and not whole(closed) then return invalidate_shard(shard_key, brand.key) end
  if brand.holds_key and brand.held > 0 and redis.call('HLEN', brand.holds_key) <= HOLDS then
    for _, value in ipairs(redis.call('HVALS', brand.holds_key)) do
      if not hold_of(value) then return invalidate_shard(shard_key, brand.holds_key) end
    end
  end
end
return { 'ok' }
