-- Constants that several pieces share. engine/ has the same values; a test compares them.
local LAYOUT = '1'

-- The layout of a shard of which any campaign has limits of its own. Scripts of the release before would ignore these, and refuse this layout.
local WITH_OWN_LIMITS = '2'

-- Whether these scripts serve a caller's layout.
local function serves(layout)
  return layout == LAYOUT
end

-- Whether these scripts serve a layout of data. A release that changes the layout serves the one before too, as long as calls get equal replies. So a
-- rolling upgrade refuses nobody.
local function serves_data(layout)
  return layout == LAYOUT or layout == WITH_OWN_LIMITS
end

local CLOCK_SLACK_MS = 1000
local MAX_AMOUNT, MAX_TOTAL = 1000000000000, 9000000000000000
local MAX_SPENDS = 1000
local LAST_INSTANT = 253402300799999 -- the end of the year 9999, the last that Python can represent
-- The cause of a minute that has no room: it passes, so it is in no list of budgets (lib/minute.lua).
local RATE = 1024
local SHORT = 48 -- the content of a text call up to this length is stored as it is, a longer one as its digest
local ID = '^[%w._:/+=@~-]+$'
-- Matches when every number in a concatenation is digits only; check each for '' before. One pattern over the joined text is cheaper than one per number,
-- and afterwards Lua's arithmetic may convert them, in half the time of tonumber.
local WHOLE = '^%d+$'
-- The server formats a number that is an argument of a command, in half the time of string.format and exactly up to 2^53. But Redis 7.2.0 to 7.2.4 format
-- multiples of this as 1e+08 (redis/redis#13113), so they must be passed as text.
local ROUND = 100000000
