#!lua
-- Ends a rebuild; no other script writes a mark. The journal must end at PostgreSQL's cursor. The first entry of the new generation is the
-- mark itself.
-- KEYS  1 shard  2 journal
-- ARGV  1 token  2 instance uuid  3 generation  4 n of the cursor  5 last entry id that was persisted, '' = begin a new journal
--       6 lowest now  7 request window ms  8 event window ms, both '' where the memories were kept, with their windows
--       9 `own` where any campaign has limits of its own, else left out or empty
--       10 the grace for late spends in minutes where the shard has none any more, and 11 the last day that the log has closed (empty = none): late spends
--         count to the day before, where that is later. Left out, they count to the present day and later ones
--       12 `late_from`, where each brand with a time zone has its own last closed day: 0. Left out or empty, no day of a zone that has ended takes late spends
-- Reply {'ok', now} | {'taken'} | {'behind', last entry id}: entries came that were not persisted
-- include: lib/shard.lua
-- include: lib/text.lua
-- include: lib/grace.lua
local token, instance, generation, cursor_n, last_id, lowest_now, request_ms, event_ms, own, minutes, closed, from = unpack(ARGV, 1, 12)
local shard_key, journal = KEYS[1], KEYS[2]
local grace = whole(redis.call('HGET', shard_key, 'grace')) or 0
if grace == 0 then grace = whole(minutes or '') or 0 end
local layout = (own == 'own' or grace > 0) and WITH_OWN_LIMITS or LAYOUT
if redis.call('HGET', shard_key, 'rebuilding') ~= token then return { 'taken' } end
local now = math.max(read_clock(), tonumber(lowest_now))
if last_id == '' then
  redis.call('UNLINK', journal)
else
  local last = redis.call('XREVRANGE', journal, '+', '-', 'COUNT', '1')[1]
  if not last or last[1] ~= last_id then return { 'behind', last and last[1] or '' } end
end
local n = tonumber(cursor_n) + 1
redis.call('XADD', journal, text(now) .. '-*', 'f', '1', 'n', text(n), 'g', generation)
local function window(name, width)
  local ms = tonumber(width)
  return name .. '_active', '0', name .. '_until', text(now - now % ms + ms), name .. '_window', width
end
redis.call('HSET', shard_key, 'mark', instance .. ':' .. generation, 'owner', instance, 'layout', layout, 'now', text(now), 'n', text(n))
if layout == WITH_OWN_LIMITS then redis.call('HSET', shard_key, 'late_n', text(n)) end
if grace > 0 then
  closed = closed and (whole(closed) or 0) or (previous_day(now))
  -- What ended in another time zone is not in `closed`, but in the brand's own.
  redis.call('HSET', shard_key, 'grace', text(grace), 'closed', text(closed), 'late_from', whole(from) and from or text(now))
end
if request_ms ~= '' then
  redis.call('HSET', shard_key, window('req', request_ms))
  redis.call('HSET', shard_key, window('ev', event_ms))
end
-- A difference that was judged before the rebuild is not to be added after it.
local adjusted = redis.call('HGET', shard_key, 'adjusted_n')
if adjusted and not whole(adjusted) then redis.call('HSET', shard_key, 'adjusted_n', text(n)) end
-- A grace that is no number is written anew with the next stamp; what belongs to it has gone with it.
for _, name in ipairs({ 'grace', 'closed', 'late_from' }) do
  local value = redis.call('HGET', shard_key, name)
  if value and not whole(value) then redis.call('HDEL', shard_key, name) end
end
redis.call('HDEL', shard_key, 'rebuilding', 'lost')
redis.call('PUBLISH', string.gsub(shard_key, 'shard$', 'changes'), '0 shard ready ' .. text(now))
return { 'ok', text(now) }
