-- The day of a brand, which is that of its time zone. A brand's hash has the zone as the field `zone`; no field is UTC:
-- `<offset>`, or with the next one or two changes of it `<offset>,<change>,<offset then>,<change>,<offset then>`. Offsets are signed ms, changes instants
-- in ms. The local time is the instant and the offset in force then. A local day never goes back: engine/domain/zones.py chooses the changes.
-- Days have 23 to 25 hours, and up to 50 where a brand changes its zone.
-- include: lib/calendar.lua
-- A zone from its text, {offset, change, offset, change, offset}; nil where it is malformed.
local function zone_of(value)
  local first, rest = string.match(value, '^(-?%d+)(.*)$')
  if not first or #value > 57 then return nil end
  local zone = { tonumber(first), math.huge, 0, math.huge, 0 }
  for i = 2, 4, 2 do
    if rest ~= '' then
      local at, offset, more = string.match(rest, '^,(%d+),(-?%d+)(.*)$')
      if not at or #at > 15 or (i == 4 and tonumber(at) <= zone[2]) then return nil end
      zone[i], zone[i + 1], rest = tonumber(at), tonumber(offset), more
    end
  end
  for i = 1, 5, 2 do
    if math.abs(zone[i]) >= 2 * DAY_MS then return nil end
  end
  return rest == '' and zone or nil
end

-- The local time of an instant. zone: nil is UTC.
local function local_ms(zone, at)
  if not zone then return at end
  return at + (at < zone[2] and zone[1] or at < zone[4] and zone[3] or zone[5])
end

-- The instant at which a day begins: the first one whose local day is this or a later one.
local function day_begins(zone, day)
  local wanted = day * DAY_MS
  if not zone then return wanted end
  if wanted - zone[1] < zone[2] then return wanted - zone[1] end
  if wanted - zone[3] < zone[4] then return math.max(wanted - zone[3], zone[2]) end
  return math.max(wanted - zone[5], zone[4])
end

-- The time of the day at an instant, in ms since it began, and the length of that day in ms.
local function time_of_day(now, zone)
  if not zone then return now % DAY_MS, DAY_MS end
  local day = day_of(local_ms(zone, now))
  local begins = day_begins(zone, day)
  return now - begins, day_begins(zone, day + 1) - begins
end
