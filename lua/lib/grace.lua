-- The grace of late spends. A spend that occurred on the brand's previous day counts to that day, while that day's end is younger than the grace and
-- the day is not closed. The shard's hash has `grace` (minutes, absent is 0), `closed` (the last day that takes no more spends) and `late_from` (no day that
-- had ended by this instant takes any). A brand with a time zone has a `closed` of its own.
-- include: lib/calendar.lua
-- include: lib/local_day.lua
-- include: lib/stored.lua
local MINUTE_MS = 60000

-- The previous day of a brand: its number, and the instants at which it began and ended. zone: nil is UTC.
local function previous_day(now, zone)
  if zone then
    local today = day_of(local_ms(zone, now))
    return today - 1, day_begins(zone, today - 1), day_begins(zone, today)
  end
  local ends = now - now % DAY_MS
  return ends / DAY_MS - 1, ends - DAY_MS, ends
end

-- Whether late spends still count to the previous day. grace, closed, from: as stored; a malformed one takes none. from: of a zone only, since days of zones
-- end at other instants than the shard's `closed` tells of.
local function takes_late(now, grace, closed, zone, from)
  local day, _, ends = previous_day(now, zone)
  local minutes, last, since = whole(grace or '0'), whole(closed or '0'), whole(zone and from or '0')
  return minutes and last and since and now - ends < minutes * MINUTE_MS and day > last and ends > since or false
end
