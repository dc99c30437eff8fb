#!lua
-- Ends a rebuild; no other script writes a mark. The journal must end at PostgreSQL's cursor. The first entry of the new generation is the
-- mark itself.
-- KEYS  1 shard  2 journal
-- ARGV  1 token  2 instance uuid  3 generation  4 n of the cursor  5 last entry id that was persisted, '' = begin a new journal
--       6 lowest now  7 request window ms  8 event window ms, both '' where the memories were kept, with their windows
--       9 `own` where any campaign has limits of its own, else left out
-- Reply {'ok', now} | {'taken'} | {'behind', last entry id}: entries came that were not persisted
-- include: lib/shard.lua
-- include: lib/text.lua
-- include: lib/grace.lua
local token, instance, generation, cursor_n, last_id, lowest_now, request_ms, event_ms, own = unpack(ARGV, 1, 9)
local shard_key, journal = KEYS[1], KEYS[2]
local grace = whole(redis.call('HGET', shard_key, 'grace')) or 0
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
-- Limits and counters of days before are not brought back, so late spends count to the present day and later ones.
if grace > 0 then redis.call('HSET', shard_key, 'closed', text((previous_day(now)))) end
if request_ms ~= '' then
  redis.call('HSET', shard_key, window('req', request_ms))
  redis.call('HSET', shard_key, window('ev', event_ms))
end
-- A difference that was judged before the rebuild is not to be added after it.
local adjusted = redis.call('HGET', shard_key, 'adjusted_n')
if adjusted and not whole(adjusted) then redis.call('HSET', shard_key, 'adjusted_n', text(n)) end
redis.call('HDEL', shard_key, 'rebuilding', 'lost')
redis.call('PUBLISH', string.gsub(shard_key, 'shard$', 'changes'), '0 shard ready ' .. text(now))
return { 'ok', text(now) }
