#!lua flags=allow-oom
-- Stores the number of the catalog's last change that was published to this shard. The number only grows, so a catalog that was restored to an
-- earlier state is recognised by its lower number. Also publishes the grace for late spends (lib/grace.lua). Reads and writes no money.
-- KEYS  1 shard
-- ARGV  1 layout  2 instance uuid  3 number, 0 to read only  4 lower 0|1: it may decrease, after the restored catalog was published again
--       5 the grace in minutes; '' or left out keeps it. From 0 it begins with the present day: days before it were to be closed at once
-- Reply {'ok', number before} | {'not_ready', why} | {'wrong_version', layout} | {'foreign', mark}
-- include: lib/shard.lua
-- include: lib/text.lua
-- include: lib/grace.lua
local shard_key, layout, instance, number, may_fall, minutes = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5] or ''
if not serves(layout) then return { 'wrong_version', LAYOUT } end
local shard, refused = open_shard(shard_key, instance)
if not shard then return refused end
local got = redis.call('HMGET', shard_key, 'catalog', 'grace', 'closed')
local kept, grace = whole(got[1]) or 0, got[2] or '0'
if tonumber(number) > kept or may_fall == '1' then redis.call('HSET', shard_key, 'catalog', number) end
if minutes ~= '' and minutes ~= grace then
  local closed = whole(got[3]) or 0
  if grace == '0' then closed = math.max(closed, (previous_day(shard.now))) end
  redis.call('HSET', shard_key, 'now', text(shard.now), 'grace', minutes, 'closed', text(closed), 'layout', WITH_OWN_LIMITS)
  -- In a shard of the first layout no brand has a time zone.
  if grace == '0' and shard.layout == WITH_OWN_LIMITS then redis.call('HSET', shard_key, 'late_from', text(shard.now)) end
  if shard.layout ~= WITH_OWN_LIMITS then
    redis.call('HSET', shard_key, 'late_n', text(shard.n))
    -- Watchers read the shard again, so those of the release before are refused at once.
    local changes = string.gsub(shard_key, 'shard$', 'changes')
    redis.call('PUBLISH', changes, '0 shard lost')
    redis.call('PUBLISH', changes, '0 shard ready ' .. text(shard.now))
  end
end
return { 'ok', text(kept) }
