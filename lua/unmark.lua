#!lua flags=allow-oom
-- Clears a shard's mark, which takes it out of use until it is rebuilt. Jobs call it where the journal and PostgreSQL do not agree.
-- KEYS  1 shard
-- ARGV  1 instance uuid  2 what was found
-- Reply {'ok'} | {'foreign', mark}
local shard_key, instance, found = KEYS[1], ARGV[1], ARGV[2]
local mark = redis.call('HGET', shard_key, 'mark')
if mark and string.sub(mark, 1, #instance + 1) ~= instance .. ':' then return { 'foreign', mark } end
redis.call('HDEL', shard_key, 'mark')
redis.call('HSET', shard_key, 'lost', found)
redis.call('PUBLISH', string.gsub(shard_key, 'shard$', 'changes'), '0 shard lost')
return { 'ok' }
