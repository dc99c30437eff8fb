#!lua flags=allow-oom
-- Removes the counters of closed periods from up to 200 hashes of a shard. Refuses a period that is not over, or to which late spends still count.
-- After it no late spend counts to a day that was given.
-- KEYS  1 shard  2.. brands and campaigns
-- ARGV  1 layout  2 instance uuid  3.. up to 100 fields of a day (`d:20748`) or a month (`m:202611`)
-- Reply {'ok', removed} | {'open', field} | {'not_ready', why} | {'wrong_version', layout} | {'foreign', mark}
-- include: lib/shard.lua
-- include: lib/calendar.lua
-- include: lib/text.lua
-- include: lib/grace.lua
local shard_key, layout, instance = KEYS[1], ARGV[1], ARGV[2]
if not serves(layout) then return { 'wrong_version', LAYOUT } end
local shard, refused = open_shard(shard_key, instance)
if not shard then return refused end
local grace = redis.call('HMGET', shard_key, 'grace', 'closed')
local first_open, closed = day_of(shard.now), whole(grace[2]) or 0
if takes_late(shard.now, grace[1], grace[2]) then first_open = first_open - 1 end
local fields = { unpack(ARGV, 3) }
for _, field in ipairs(fields) do
  local kind, number = string.match(field, '^([dm]):(%d+)$')
  if not kind or tonumber(number) >= (kind == 'd' and first_open or month_of(first_open)) then return { 'open', field } end
  if kind == 'd' then closed = math.max(closed, tonumber(number)) end
end
local removed = 0
for i = 2, #KEYS do removed = removed + redis.call('HDEL', KEYS[i], unpack(fields)) end
redis.call('HSET', shard_key, 'now', text(shard.now))
if grace[1] then redis.call('HSET', shard_key, 'closed', text(closed)) end
return { 'ok', text(removed) }
