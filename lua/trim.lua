#!lua flags=allow-oom
-- Drops journal entries below an id that PostgreSQL has had for JOURNAL_KEEP_MINUTES. Approximate (`~`): it frees whole nodes only, a hundred a call.
-- KEYS  1 shard  2 journal
-- ARGV  1 layout  2 instance uuid  3 the lowest entry id to keep
-- Reply {'ok', dropped}: call again until nothing is | {'not_ready', why} | {'wrong_version', layout} | {'foreign', mark}
-- include: lib/shard.lua
-- include: lib/text.lua
if not serves(ARGV[1]) then return { 'wrong_version', LAYOUT } end
local shard, refused = open_shard(KEYS[1], ARGV[2])
if not shard then return refused end
return { 'ok', text(redis.call('XTRIM', KEYS[2], 'MINID', '~', ARGV[3])) }
