#!lua flags=allow-oom
-- Drops journal entries that PostgreSQL has had for JOURNAL_KEEP_MINUTES. Trimming is approximate (`~`): it frees whole nodes, about 100 a call.
-- KEYS  1 shard  2 journal
-- ARGV  1 layout  2 instance uuid  3 the lowest entry id to keep
-- Reply {'ok', dropped}: call again until it is 0 | {'not_ready', why} | {'wrong_version', layout} | {'foreign', mark}
-- include: lib/shard.lua
-- include: lib/text.lua
local shard_key, journal_key, layout, instance, lowest_kept = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
if not serves(layout) then return { 'wrong_version', LAYOUT } end
local shard, refused = open_shard(shard_key, instance)
if not shard then return refused end
return { 'ok', text(redis.call('XTRIM', journal_key, 'MINID', '~', lowest_kept)) }
