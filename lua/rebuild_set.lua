#!lua
-- Writes one slice of a rebuild: replaces up to 200 keys, or adds fields to them. It sets and never increments, so repeating a slice is harmless.
-- KEYS  1 shard  2.. hashes
-- ARGV  1 token  2 mode: replace | add (fields and values of hashes) | score (scores and names added to sorted sets)
--       then for each key: how many values, then the values
-- Reply {'ok'} | {'taken'}: another rebuild has the shard
local shard_key, token, mode = KEYS[1], ARGV[1], ARGV[2]
if redis.call('HGET', shard_key, 'rebuilding') ~= token then return { 'taken' } end
local at = 3
for i = 2, #KEYS do
  local count = tonumber(ARGV[at])
  if mode == 'replace' then redis.call('UNLINK', KEYS[i]) end
  if count > 0 then redis.call(mode == 'score' and 'ZADD' or 'HSET', KEYS[i], unpack(ARGV, at + 1, at + count)) end
  at = at + count + 1
end
return { 'ok' }
