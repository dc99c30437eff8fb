#!lua
-- Begins a rebuild: takes the shard out of use under a token. Every call answers `not_ready` until rebuild_finish writes the new mark.
-- A later begin replaces the token of an earlier one, whose rebuild then fails with `taken`.
-- KEYS  1 shard  2 journal
-- ARGV  1 instance uuid  2 token  3 take over 0|1: also a shard that another instance owns; only on a person's request
-- Reply {'ok', last now, n, type of the journal, last entry id} | {'foreign', mark}: text, '' where there is none
local shard_key, journal_key, instance, token, take_over = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
local kind = redis.call('TYPE', shard_key).ok
if kind ~= 'hash' and kind ~= 'none' then redis.call('UNLINK', shard_key) end
local state = redis.call('HMGET', shard_key, 'mark', 'now', 'n', 'owner')
-- The mark names the owner; without a mark the field `owner` of the last rebuild does. Only an instance's uuid is a name: whatever else stands there
-- was written by no rebuild, and is as if nothing stood there.
local owner = state[1] and string.match(state[1], '^([%w-]+):%d+$') or string.match(state[4] or '', '^%x+%-%x+%-%x+%-%x+%-%x+$')
if owner and owner ~= instance and take_over ~= '1' then return { 'foreign', owner } end
redis.call('HDEL', shard_key, 'mark')
if state[1] then redis.call('PUBLISH', string.gsub(shard_key, 'shard$', 'changes'), '0 shard lost') end
redis.call('HSET', shard_key, 'rebuilding', token, 'owner', instance)
local journal = redis.call('TYPE', journal_key).ok
local last = journal == 'stream' and redis.call('XREVRANGE', journal_key, '+', '-', 'COUNT', '1')[1]
return { 'ok', state[2] or '', state[3] or '', journal, last and last[1] or '' }
