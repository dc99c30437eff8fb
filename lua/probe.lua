#!lua flags=allow-oom
-- Whether a shard still stands as its rebuild left it: its own keys, and brands and campaigns with their holds. A call that moves money looks at
-- what it needs; this looks at the rest. What is gone or of a wrong type takes the shard out of use.
-- KEYS  1 shard  2 registry  3 journal  4-5 requests  6-7 events  8.. brands, campaigns (100 together), and holds and expiry of each brand, side by side
-- ARGV  1 layout
-- Reply {'ok'} | {'not_ready', why}: `lost` where this call found it | {'wrong_version', layout}
-- include: lib/call.lua
if ARGV[1] ~= LAYOUT then return { 'wrong_version', LAYOUT } end
local shard, refused = open_shard(KEYS[1], '')
if not shard then return refused end
if redis.call('TYPE', KEYS[3]).ok ~= 'stream' then return lose(KEYS[1], KEYS[3]) end
for _, i in ipairs({ 2, 4, 5, 6, 7 }) do
  local guard = redis.pcall('HEXISTS', KEYS[i], '#')
  if guard ~= 1 then return lose(KEYS[1], KEYS[i]) end
end
local day = day_of(shard.now)
local plans, lost = read_plans(day, month_of(day))
return plans and { 'ok' } or lost
