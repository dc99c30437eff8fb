#!lua flags=no-writes
-- Reads counters of up to 200 hashes of a shard, and the journal number n of the same instant. Writes nothing.
-- KEYS  1 shard  2.. brands or campaigns
-- ARGV  1 layout  2.. fields (`d:20748`, `m:202611`)
-- Reply {'ok', mark, now, n, values of the first hash, of the second, ...}: values joined by `:`, 0 where there is none
--       {'not_ready', why} | {'wrong_version', layout}
-- include: lib/shard.lua
-- include: lib/text.lua
local shard_key, layout = KEYS[1], ARGV[1]
if not serves(layout) then return { 'wrong_version', LAYOUT } end
local shard, refused = open_shard(shard_key, '')
if not shard then return refused end
local fields = { unpack(ARGV, 2) }
local reply = { 'ok', shard.mark, text(shard.now), text(shard.n) }
for i = 2, #KEYS do
  local got = redis.pcall('HMGET', KEYS[i], unpack(fields))
  if got.err then return { 'not_ready', 'lost' } end
  for j = 1, #fields do
    if not stored(got[j]) then return { 'not_ready', 'lost' } end
    got[j] = got[j] or '0'
  end
  reply[i + 3] = table.concat(got, ':')
end
return reply
