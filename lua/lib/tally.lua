-- What calls were answered, counted for whoever watches: fields `count:<outcome>` of the shard's hash that only grow. They go out in the HSET
-- that ends every call, as whole numbers: HINCRBY would be one more command, and one that a bidder's login need not be allowed.
-- include: lib/text.lua
-- include: lib/stored.lua

-- Adds {name = how many} to the fields that the call is about to set in the shard's hash.
local function tally(shard_key, counts, shard_fields)
  local names, size = {}, #shard_fields
  for name in pairs(counts) do names[#names + 1] = 'count:' .. name end
  local kept = #names > 0 and redis.call('HMGET', shard_key, unpack(names)) or {}
  for i, name in ipairs(names) do
    size = size + 2
    shard_fields[size - 1], shard_fields[size] = name, text((stored(kept[i]) or 0) + counts[string.sub(name, 7)])
  end
end
