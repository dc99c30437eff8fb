#!lua flags=allow-oom
-- Keeps the number of the catalog's last change that was published to this shard. It only grows: a catalog that went back to an earlier state is
-- below it. Nothing of money is read or written.
-- KEYS  1 shard
-- ARGV  1 layout  2 instance uuid  3 number, 0 to ask only  4 lower 0|1: it may fall, once the catalog's word was published again
-- Reply {'ok', number before} | {'not_ready', why} | {'wrong_version', layout} | {'foreign', mark}
-- include: lib/shard.lua
-- include: lib/text.lua
local shard_key, layout, instance, number, may_fall = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if not serves(layout) then return { 'wrong_version', LAYOUT } end
local shard, refused = open_shard(shard_key, instance)
if not shard then return refused end
local kept = whole(redis.call('HGET', shard_key, 'catalog')) or 0
if tonumber(number) > kept or may_fall == '1' then redis.call('HSET', shard_key, 'catalog', number) end
return { 'ok', text(kept) }
