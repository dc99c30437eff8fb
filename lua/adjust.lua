#!lua
-- Reconcile's one tool: adds a difference to a counter, with a journal entry that says so. Never a SET: spends go on meanwhile.
-- KEYS  1 shard  2 registry  3 journal  4 the brand's or campaign's hash
-- ARGV  1 layout  2 instance uuid  3 field (`d:20748`, `m:202611`)  4 difference in micros, signed  5 what it may not have become meanwhile: a
--       correction's name, remembered in the hash's own shard so that a repeat adds nothing
-- Reply {'ok', value after} | {'done'} | {'not_ready', why} | {'wrong_version', layout} | {'foreign', mark}
-- include: lib/call.lua
if ARGV[1] ~= LAYOUT then return { 'wrong_version', LAYOUT } end
local shard, refused = open_shard(KEYS[1], ARGV[2])
if not shard then return refused end
local difference = string.find(ARGV[4], '^%-?%d+$') and #ARGV[4] <= 17 and tonumber(ARGV[4])
if not difference or not string.find(ARGV[3], '^[dm]:%d+$') or not is_id(ARGV[5], 64) then return { 'invalid', 0, 'adjustment' } end
local value = stored(redis.call('HGET', KEYS[4], ARGV[3]))
if not value then return lose(KEYS[1], KEYS[4]) end
if redis.call('HGET', KEYS[1], 'adjusted') == ARGV[5] then return { 'done' } end
local owner, id = string.match(KEYS[4], ':(%a+):(%d+)$')
local line = 'A,' .. owner .. ',' .. id .. ',' .. ARGV[3] .. ',' .. ARGV[4] .. ',' .. ARGV[5] .. ';'
local failed = append(shard, { 'a', line }, {})
if failed then return failed end
redis.call('HSET', KEYS[1], 'now', text(shard.now), 'n', text(shard.n), 'adjusted', ARGV[5])
redis.call('HSET', KEYS[4], ARGV[3], text(value + difference))
return { 'ok', text(value + difference) }
