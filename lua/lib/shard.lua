-- The guard that every script begins with: is this shard whole, of our layout, and its clock sane?
-- The mark is `<instance uuid>:<generation>`; only a rebuild writes it. Without it nothing is read as money: missing is never zero.
-- include: lib/clock.lua
-- include: lib/constants.lua

-- Answers the opened shard, or nil and the reply to give.
-- instance: the uuid that the mark must carry, or '' from callers that cannot know it (bidders).
-- counter: a `count:` field that the call will raise, read along because each command of a script costs; nil where there is none. So are further
-- fields, which stand from the seventh on in the hash's values, the second answer.
local function open_shard(key, instance, counter, ...)
  local state = redis.pcall('HMGET', key, 'mark', 'layout', 'now', 'n', 'rebuilding', counter or 'n', ...)
  if state.err then return nil, { 'not_ready', 'unmarked' } end
  local mark, layout = state[1], state[2]
  if layout and layout ~= LAYOUT then return nil, { 'wrong_version', layout } end
  if not mark then return nil, { 'not_ready', state[5] and 'rebuilding' or 'unmarked' } end
  if instance ~= '' and string.sub(mark, 1, #instance + 1) ~= instance .. ':' then return nil, { 'foreign', mark } end
  local kept, n = tonumber(state[3] or ''), tonumber(state[4] or '')
  if not layout or not kept or not n then return nil, { 'not_ready', 'unmarked' } end
  local now = read_clock()
  if now < kept - CLOCK_SLACK_MS then return nil, { 'not_ready', 'clock' } end
  return { mark = mark, now = math.max(now, kept), n = n, count = tonumber(state[6] or '0') or 0 }, state
end

-- A key that must exist is gone or of a wrong type: the shard is not to be believed any more. Its mark goes, a rebuild brings it back.
local function lose(key, what)
  redis.call('HDEL', key, 'mark')
  redis.call('HSET', key, 'lost', what)
  redis.call('PUBLISH', string.gsub(key, 'shard$', 'changes'), '0 shard lost')
  return { 'not_ready', 'lost' }
end
