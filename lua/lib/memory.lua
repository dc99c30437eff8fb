-- What was seen before: request ids and event ids, each in two hashes a shard that take turns. A window ends by the shard's own now;
-- then the older hash is unlinked whole (DEL of a million ids held Redis for 460 ms) and becomes the new one. An id is therefore
-- remembered for at least one window and at most two. Field `#` guards each hash: without it the hash was lost, which is never "nothing seen".
-- include: lib/stored.lua
-- include: lib/text.lua

-- name: 'req' or 'ev', the prefix of the fields in the shard's hash; keys: the two hashes.
local function open_memory(shard_key, name, keys, now)
  local state = redis.call('HMGET', shard_key, name .. '_active', name .. '_until', name .. '_window')
  local active, till, window = is_flag(state[1]) and tonumber(state[1]), whole(state[2]), whole(state[3])
  -- No script writes an end that is further away than one window: ids would be kept, and the hashes grow, for ever.
  if not active or not till or not window or window == 0 or till > now + window then return nil end
  local memory = { name = name, window = window, active = active, till = till, rotate = {}, read = { keys[1], keys[2] } }
  if now >= till then
    memory.active = 1 - active
    memory.till = now - now % window + window
    memory.rotate = { keys[memory.active + 1] }
    memory.read = { keys[active + 1] }
    if now >= till + window then
      memory.rotate = { keys[1], keys[2] }
      memory.read = {}
    end
  end
  memory.write = keys[memory.active + 1]
  return memory
end

-- Whether a script wrote this. Of a call: its verb, its content and its outcomes. Of an event, by the first character of its name: the sum of its refunds
-- (`=`), a hold's end (`!`), a refund (`-`), else its spend. Whoever reads one may take it apart without another look.
local function is_kept(memory, id, value)
  if memory.name == 'req' then return string.find(value, '^[rtd*]%S* [%w*,]+$') ~= nil end
  local kind = string.sub(id, 1, 1)
  if kind == '=' then return whole(value) ~= nil end
  if kind == '!' then
    local held, settled = string.match(value, '^[sotle],(%d+),(%d+)$')
    return whole(held) ~= nil and whole(settled) ~= nil
  end
  return whole(string.match(value, kind == '-' and '^%d+,(%d+),?%w*$' or '^%d+,(%d+),?%d*$')) ~= nil
end

-- What is remembered of each id: {id = value}. nil when a hash was lost, or has something that no script wrote.
local function recall(memory, ids)
  local found = {}
  for _, key in ipairs(memory.read) do
    -- Where the guard stands alone, as after a quiet window, no id is looked for.
    local alone = #ids > 1 and redis.pcall('HLEN', key) == 1
    local got = alone and redis.pcall('HMGET', key, '#') or redis.pcall('HMGET', key, '#', unpack(ids))
    if got.err or not got[1] then return nil end
    for i = 2, #got do
      local value = got[i]
      if value then
        if not is_kept(memory, ids[i - 1], value) then return nil end
        found[ids[i - 1]] = value
      end
    end
  end
  return found
end

-- The fields to set in the shard's hash; turns the hashes over when their window has ended. Call after the last guard.
local function turn(memory, shard_fields)
  for _, key in ipairs(memory.rotate) do
    redis.call('UNLINK', key)
    redis.call('HSET', key, '#', '1')
  end
  if #memory.rotate > 0 then
    local n = #shard_fields
    shard_fields[n + 1], shard_fields[n + 2] = memory.name .. '_active', tostring(memory.active)
    shard_fields[n + 3], shard_fields[n + 4] = memory.name .. '_until', text(memory.till)
  end
end
