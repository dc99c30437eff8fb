-- The grace of late spends. A spend that occurred on the brand's previous day counts to that day, while that day's end is younger than the grace and
-- the day is not closed. The shard's hash has `grace` (minutes, absent is 0) and `closed` (the last day that takes no more spends).
-- include: lib/calendar.lua
-- include: lib/stored.lua
local MINUTE_MS = 60000

-- The previous day of a brand: its number, and the instants at which it began and ended. Days are those of UTC.
local function previous_day(now)
  local ends = now - now % DAY_MS
  return ends / DAY_MS - 1, ends - DAY_MS, ends
end

-- Whether late spends still count to the previous day. grace, closed: as stored; a malformed one takes none.
local function takes_late(now, grace, closed)
  local day, _, ends = previous_day(now)
  local minutes, last = whole(grace or '0'), whole(closed or '0')
  return minutes and last and now - ends < minutes * MINUTE_MS and day > last or false
end
