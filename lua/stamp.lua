#!lua flags=allow-oom
-- Stores the number of the catalog's last change that was published to this shard. The number only grows, so a catalog that was restored to an
-- earlier state is recognised by its lower number. Reads and writes no money.
-- KEYS  1 shard
-- ARGV  1 layout  2 instance uuid  3 number, 0 to read only  4 lower 0|1: it may decrease, after the restored catalog was published again
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
