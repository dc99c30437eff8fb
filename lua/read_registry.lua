#!lua flags=no-writes
-- Reads the registry: the brands of a shard and each one's highest campaign ordinal, in pages or for named brands. Writes nothing.
-- KEYS  1 shard  2 registry
-- ARGV  1 layout  2 cursor of HSCAN, '0' to begin  3.. brand ids (500 at most): then only these, in one reply
-- Reply {'ok', mark, now, n, next cursor, `<brand>:<highest ordinal>;` each}: the cursor is '0' at the end. A brand published during the pages
--         may be missing, and one may come twice
--       {'not_ready', why} | {'wrong_version', layout}
-- include: lib/shard.lua
-- include: lib/text.lua
local shard_key, registry_key, layout, after = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
if not serves(layout) then return { 'wrong_version', LAYOUT } end
local shard, refused = open_shard(shard_key, '')
if not shard then return refused end
local found, cursor = {}, '0'
if #ARGV > 2 then
  local got = redis.pcall('HMGET', registry_key, '#', unpack(ARGV, 3))
  if got.err or not got[1] then return { 'not_ready', 'lost' } end
  for i = 3, #ARGV do
    if got[i - 1] then
      if not whole(got[i - 1]) then return { 'not_ready', 'lost' } end
      found[#found + 1] = ARGV[i] .. ':' .. got[i - 1] .. ';'
    end
  end
else
  local page = redis.call('HGET', registry_key, '#') and redis.call('HSCAN', registry_key, after, 'COUNT', '500')
  if not page then return { 'not_ready', 'lost' } end
  cursor = page[1]
  for i = 1, #page[2], 2 do
    if page[2][i] ~= '#' then
      if not whole(page[2][i]) or not whole(page[2][i + 1]) then return { 'not_ready', 'lost' } end
      found[#found + 1] = page[2][i] .. ':' .. page[2][i + 1] .. ';'
    end
  end
end
return { 'ok', shard.mark, text(shard.now), text(shard.n), cursor, table.concat(found) }
