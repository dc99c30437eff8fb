-- Counters of outcomes for metrics: fields `count:<outcome>` of the shard's hash, which only grow. They are written with the HSET at the end of every
-- call: HINCRBY would cost one more command, and one more permission for bidders.
-- include: lib/text.lua
-- include: lib/stored.lua

-- Raises the counters by counts ({name = how many}), in the fields that the call sets in the shard's hash.
local function tally(shard_key, counts, shard_fields)
  local names, size = {}, #shard_fields
  for name in pairs(counts) do names[#names + 1] = 'count:' .. name end
  local kept = #names > 0 and redis.call('HMGET', shard_key, unpack(names)) or {}
  for i, name in ipairs(names) do
    size = size + 2
    shard_fields[size - 1], shard_fields[size] = name, text((stored(kept[i]) or 0) + counts[string.sub(name, 7)])
  end
end
