#!lua flags=allow-oom
-- Whether a shard still stands as its rebuild left it: its own keys, and brands and campaigns with their holds. A call that moves money looks at
-- what it needs; this looks at the rest. What is gone or of a wrong type takes the shard out of use.
-- KEYS  1 shard  2 registry  3 journal  4-5 requests  6-7 events  8.. brands, campaigns (100 together), and holds and expiry of each brand, side by side
-- ARGV  1 layout
-- Reply {'ok'} | {'not_ready', why}: `lost` where this call found it | {'wrong_version', layout}
-- include: lib/call.lua
local HOLDS = 200 -- of a brand are looked at one by one; where there are more, the calls that name them look
if ARGV[1] ~= LAYOUT then return { 'wrong_version', LAYOUT } end
local shard, refused = open_shard(KEYS[1], '')
if not shard then return refused end
if redis.call('TYPE', KEYS[3]).ok ~= 'stream' then return lose(KEYS[1], KEYS[3]) end
for _, i in ipairs({ 2, 4, 5, 6, 7 }) do
  local guard = redis.pcall('HEXISTS', KEYS[i], '#')
  if guard ~= 1 then return lose(KEYS[1], KEYS[i]) end
end
local turned = redis.call('HGET', KEYS[1], 'adjusted_n')
if turned and not whole(turned) then return lose(KEYS[1], 'adjusted_n') end
if not open_memory(KEYS[1], 'req', { KEYS[4], KEYS[5] }, shard.now) then return lose(KEYS[1], 'requests') end
if not open_memory(KEYS[1], 'ev', { KEYS[6], KEYS[7] }, shard.now) then return lose(KEYS[1], 'events') end
local day = day_of(shard.now)
local plans, lost = read_plans(day, month_of(day))
if not plans then return lost end
for id, brand in pairs(plans.brands) do
  if published(id) == math.huge then return lose(KEYS[1], KEYS[2]) end
  if brand.holds_key and brand.held > 0 and redis.call('HLEN', brand.holds_key) <= HOLDS then
    for _, value in ipairs(redis.call('HVALS', brand.holds_key)) do
      if not hold_of(value) then return lose(KEYS[1], brand.holds_key) end
    end
  end
end
return { 'ok' }
