-- The field `was` of a brand or campaign: `<day>:<limit>:<limit>...`, its limits at the end of that day, each empty where there was none. Publish keeps it
-- where limits change in a shard with a grace for late spends: these are checked against the limits of the day to which they are booked (lib/late.lua).
-- include: lib/grace.lua
-- include: lib/text.lua

-- The fields to set before an owner's limits change, none where they are kept already. limits: those before, joined by `:`. zone: of its brand.
local function kept_limits(key, limits, now, zone)
  local day = text((previous_day(now, zone)))
  local kept = redis.call('HGET', key, 'was')
  if kept and string.match(kept, '^%d+') == day then return {} end
  return { 'was', day .. ':' .. limits }
end
