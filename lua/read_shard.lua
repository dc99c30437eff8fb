#!lua flags=allow-oom
-- Reads the state of one shard, marked or not; jobs call it every second. Takes the shard out of use where mark, layout, now or n is malformed.
-- With tick = 1 it also moves the shard's now forward and stores it. No later entry can then have an earlier instant, so that the close of a day
-- knows the day's last entry.
-- KEYS  1 shard  2 journal
-- ARGV  1 tick 0|1
-- Reply {mark, layout, now, n, lost, rebuilding, clock, entries, last entry id}: text, '' where there is none; clock is Redis' own time. Where one was
--         published, a tenth: the grace for late spends in minutes (lib/grace.lua)
-- include: lib/shard.lua
-- include: lib/text.lua
local shard_key, journal_key, tick = KEYS[1], KEYS[2], ARGV[1]
local clock = read_clock()
local state = redis.pcall('HMGET', shard_key, 'mark', 'layout', 'now', 'n', 'lost', 'rebuilding', 'grace')
if state.err then return { '', '', '', '', shard_key, '', text(clock), '0', '' } end
local foreign_layout = is_other_layout(state[2])
local odd = not foreign_layout and (state[1] and not is_mark(state[1]) and 'mark' or not serves_data(state[2]) and 'layout' or not whole(state[3]) and 'now'
  or not whole(state[4]) and 'n')
if odd and state[1] then
  invalidate_shard(shard_key, odd)
  state[1], state[5] = false, odd
end
-- Malformed values are left out of the reply.
if not foreign_layout and not serves_data(state[2]) then state[2] = false end
for i = 3, 4 do state[i] = whole(state[i]) and state[i] or false end
if tick == '1' and state[1] and whole(state[3]) then
  state[3] = text(math.max(clock, tonumber(state[3])))
  redis.call('HSET', shard_key, 'now', state[3])
end
local reply = {}
for i = 1, 6 do reply[i] = state[i] or '' end
local last = redis.pcall('XREVRANGE', journal_key, '+', '-', 'COUNT', '1')
local entries = redis.pcall('XLEN', journal_key)
reply[7] = text(clock)
reply[8] = type(entries) == 'number' and text(entries) or '0'
reply[9] = not last.err and last[1] and last[1][1] or ''
if whole(state[7]) then reply[10] = state[7] end
return reply
