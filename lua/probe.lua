#!lua flags=allow-oom
-- Whether a shard still stands as its rebuild left it: its own keys, and brands and campaigns with their holds. A call that moves money looks at
-- what it needs; this looks at the rest. What is gone or of a wrong type takes the shard out of use.
-- KEYS  1 shard  2 registry  3 journal  4-5 requests  6-7 events  8.. brands, campaigns (100 together), and holds and expiry of each brand, side by side
-- ARGV  1 layout  2-3 for how many ms request ids and event ids are to be remembered; left out where only the keys are looked at
-- Reply {'ok'} | {'not_ready', why}: `lost` where this call found it | {'wrong_version', layout}
-- include: lib/call.lua
local HOLDS = 200 -- of a brand are looked at one by one; where there are more, the calls that name them look
local layout = ARGV[1]

-- Whether ids were remembered for at least as long as the engine promises: a shorter window has forgotten some that the log still has, so only a rebuild
-- brings them back. A longer one has not, and is cut.
local function remembers(memory, wanted, now)
  if not wanted or memory.window == wanted then return true end
  if memory.window < wanted then return false end
  local fields = { memory.name .. '_window', text(wanted) }
  if #memory.rotate == 0 and memory.till > now + wanted then fields[3], fields[4] = memory.name .. '_until', text(now - now % wanted + wanted) end
  redis.call('HSET', shard_key, unpack(fields))
  return true
end

if not serves(layout) then return { 'wrong_version', LAYOUT } end
local shard, refused = open_shard(shard_key, '')
if not shard then return refused end
if redis.call('TYPE', journal_key).ok ~= 'stream' then return lose(shard_key, journal_key) end
for _, key in ipairs({ registry_key, request_keys[1], request_keys[2], event_keys[1], event_keys[2] }) do
  local guard = redis.pcall('HEXISTS', key, '#')
  if guard ~= 1 then return lose(shard_key, key) end
end
local turned = redis.call('HGET', shard_key, 'adjusted_n')
if turned and not whole(turned) then return lose(shard_key, 'adjusted_n') end
local requests, events = open_memory(shard_key, 'req', request_keys, shard.now), open_memory(shard_key, 'ev', event_keys, shard.now)
if not requests then return lose(shard_key, 'requests') end
if not events then return lose(shard_key, 'events') end
if not remembers(requests, whole(ARGV[2]), shard.now) then return lose(shard_key, 'req_window') end
if not remembers(events, whole(ARGV[3]), shard.now) then return lose(shard_key, 'ev_window') end
local day = day_of(shard.now)
local plans, lost = read_plans(day, month_of(day))
if not plans then return lost end
for id, brand in pairs(plans.brands) do
  if published(id) == math.huge then return lose(shard_key, registry_key) end
  if brand.holds_key and brand.held > 0 and redis.call('HLEN', brand.holds_key) <= HOLDS then
    for _, value in ipairs(redis.call('HVALS', brand.holds_key)) do
      if not hold_of(value) then return lose(shard_key, brand.holds_key) end
    end
  end
end
return { 'ok' }
