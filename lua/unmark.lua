#!lua flags=allow-oom
-- Takes a shard out of use until it is rebuilt: whoever finds that its history does not fit says so here.
-- KEYS  1 shard
-- ARGV  1 instance uuid  2 what was found
-- Reply {'ok'} | {'foreign', mark}
local mark = redis.call('HGET', KEYS[1], 'mark')
if mark and string.sub(mark, 1, #ARGV[1] + 1) ~= ARGV[1] .. ':' then return { 'foreign', mark } end
redis.call('HDEL', KEYS[1], 'mark')
redis.call('HSET', KEYS[1], 'lost', ARGV[2])
redis.call('PUBLISH', string.gsub(KEYS[1], 'shard$', 'changes'), '0 shard lost')
return { 'ok' }
