#!lua flags=allow-oom
-- Keeps the number of the catalog's last change that was published to this shard. It only grows: a catalog that went back to an earlier state is
-- below it. Nothing of money is read or written.
-- KEYS  1 shard
-- ARGV  1 layout  2 instance uuid  3 number, 0 to ask only  4 lower 0|1: it may fall, once the catalog's word was published again
-- Reply {'ok', number before} | {'not_ready', why} | {'wrong_version', layout} | {'foreign', mark}
-- include: lib/shard.lua
-- include: lib/text.lua
if not serves(ARGV[1]) then return { 'wrong_version', LAYOUT } end
local shard, refused = open_shard(KEYS[1], ARGV[2])
if not shard then return refused end
local kept = whole(redis.call('HGET', KEYS[1], 'catalog')) or 0
if tonumber(ARGV[3]) > kept or ARGV[4] == '1' then redis.call('HSET', KEYS[1], 'catalog', ARGV[3]) end
return { 'ok', text(kept) }
