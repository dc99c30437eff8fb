-- The checks with which every script begins: mark, layout and clock of the shard.
-- The mark is `<instance uuid>:<generation>`; only a rebuild writes it. Without it no counter is read, because a missing key must never count as zero.
-- include: lib/clock.lua
-- include: lib/constants.lua
-- include: lib/stored.lua

-- Takes a shard out of use until a rebuild, by clearing its mark. Called where a key that must exist is missing, of a wrong type, or malformed. A
-- read-only script cannot write and only returns the reply; its caller then runs probe.lua.
local function invalidate_shard(key, what)
  local gone = redis.pcall('HDEL', key, 'mark')
  if type(gone) ~= 'number' then return { 'not_ready', 'lost' } end
  redis.call('HSET', key, 'lost', what)
  redis.call('PUBLISH', string.gsub(key, 'shard$', 'changes'), '0 shard lost')
  return { 'not_ready', 'lost' }
end

-- Whether this is the layout of an older or newer release, and not a malformed value.
local function is_other_layout(value)
  return value and not serves_data(value) and string.find(value, '^%d%d?%d?$') ~= nil
end

-- Whether this is a mark: `<instance>:<generation>`.
local function is_mark(value)
  return string.find(value, '^[%w-]+:%d+$') ~= nil and #value <= 64
end

-- Opens a shard: returns it and the values of its hash, or nil and the reply. All KEYS must be of one shard, or a call could store its id in one shard
-- and count in another.
-- instance: the uuid that the mark must have, or '' from callers that cannot know it (bidders).
-- counter: a `count:` field that the call will raise, or nil. It and further fields are read in the same HMGET, because each command costs; the further
-- fields are the values from the seventh on.
local function open_shard(key, instance, counter, ...)
  local tag = string.sub(key, 1, -6)
  for i = 2, #KEYS do
    if string.sub(KEYS[i], 1, #tag) ~= tag then return nil, { 'invalid', 0, 'keys' } end
  end
  local state = redis.pcall('HMGET', key, 'mark', 'layout', 'now', 'n', 'rebuilding', counter or 'n', ...)
  if state.err then return nil, { 'not_ready', 'unmarked' } end
  local mark, layout = state[1], state[2]
  if is_other_layout(layout) then return nil, { 'wrong_version', layout } end
  if not mark then return nil, { 'not_ready', state[5] and 'rebuilding' or 'unmarked' } end
  if not is_mark(mark) then return nil, invalidate_shard(key, 'mark') end
  if instance ~= '' and string.sub(mark, 1, #instance + 1) ~= instance .. ':' then return nil, { 'foreign', mark } end
  local last_now, n = whole(state[3]), whole(state[4])
  if not serves_data(layout) then return nil, invalidate_shard(key, 'layout') end
  if not last_now or not n then return nil, invalidate_shard(key, last_now and 'n' or 'now') end
  local now = read_clock()
  if now < last_now - CLOCK_SLACK_MS then return nil, { 'not_ready', 'clock' } end
  return { key = key, mark = mark, layout = layout, now = math.max(now, last_now), n = n, count = stored(state[6]) or 0 }, state
end
