-- The dedup windows of request ids and event ids: two hashes each a shard, of which one is written. When a window ends, by the shard's own now, the older
-- hash is unlinked (DEL of a million ids held Redis for 460 ms) and becomes the one that is written. So an id is kept for at least one window and at
-- most two. Each hash has a guard field `#`: a hash without it was lost, and is never taken for an empty one.
-- include: lib/stored.lua
-- include: lib/text.lua

-- Opens a dedup window, or returns nil where its fields in the shard's hash are malformed. name: 'req' or 'ev', the prefix of those fields. keys: the two
-- hashes. Of the two that are read, the newer one is the last: a hold's end and the sum of an event's refunds are written more than once.
local function open_dedup(shard_key, name, keys, now)
  local state = redis.call('HMGET', shard_key, name .. '_active', name .. '_until', name .. '_window')
  local active, till, window = is_flag(state[1]) and tonumber(state[1]), whole(state[2]), whole(state[3])
  -- No script writes an end that is further away than one window: the hashes would keep ids, and grow, for ever.
  if not active or not till or not window or window == 0 or till > now + window then return nil end
  local dedup = { name = name, window = window, active = active, till = till, rotate = {}, read = { keys[2 - active], keys[active + 1] } }
  if now >= till then
    dedup.active = 1 - active
    dedup.till = now - now % window + window
    dedup.rotate = { keys[dedup.active + 1] }
    dedup.read = { keys[active + 1] }
    if now >= till + window then
      dedup.rotate = { keys[1], keys[2] }
      dedup.read = {}
    end
  end
  dedup.write = keys[dedup.active + 1]
  return dedup
end

-- Whether a stored value has the format of its kind. A request has verb, content and outcomes. An event's kind is the first character of its name: `=` the
-- sum of its refunds, `!` a hold's end, `-` a refund, else its spend. Callers may split the value without checking it again.
local function is_kept(dedup, id, value)
  if dedup.name == 'req' then return string.find(value, '^[rtd*]%S* [%w*,]+$') ~= nil end
  local kind = string.sub(id, 1, 1)
  if kind == '=' then return whole(value) ~= nil end
  if kind == '!' then
    local held, settled = string.match(value, '^[sotle],(%d+),(%d+)$')
    return whole(held) ~= nil and whole(settled) ~= nil
  end
  return whole(string.match(value, kind == '-' and '^%d+,(%d+),?%w*$' or '^%d+,(%d+),?%d*,?%d*$')) ~= nil
end

-- Looks up ids: {id = stored value}. nil when a hash was lost or a value is malformed.
local function look_up(dedup, ids)
  local found = {}
  for _, key in ipairs(dedup.read) do
    -- Where the hash has its guard only, as after a quiet window, no id needs a look-up.
    local alone = #ids > 1 and redis.pcall('HLEN', key) == 1
    local got = alone and redis.pcall('HMGET', key, '#') or redis.pcall('HMGET', key, '#', unpack(ids))
    if got.err or not got[1] then return nil end
    for i = 2, #got do
      local value = got[i]
      if value then
        if not is_kept(dedup, ids[i - 1], value) then return nil end
        found[ids[i - 1]] = value
      end
    end
  end
  return found
end

-- Rotates the hashes when their window has ended, and adds the fields to set in the shard's hash. Call it after the journal entry was appended.
local function rotate_hashes(dedup, shard_fields)
  for _, key in ipairs(dedup.rotate) do
    redis.call('UNLINK', key)
    redis.call('HSET', key, '#', '1')
  end
  if #dedup.rotate > 0 then
    local n = #shard_fields
    shard_fields[n + 1], shard_fields[n + 2] = dedup.name .. '_active', tostring(dedup.active)
    shard_fields[n + 3], shard_fields[n + 4] = dedup.name .. '_until', text(dedup.till)
  end
end
