-- Numbers and words that several pieces share; engine/ says the same, and a test holds them together.
local LAYOUT = '1'

-- Whether these scripts serve a layout, of a caller or of the data: their own. In a release that changes the layout also the one before it, so long as
-- calls get equal replies, so that a rolling upgrade refuses nobody.
local function serves(layout)
  return layout == LAYOUT
end

local CLOCK_SLACK_MS = 1000
local MAX_AMOUNT, MAX_TOTAL = 1000000000000, 9000000000000000
local MAX_SPENDS = 1000
local LAST_INSTANT = 253402300799999 -- the end of the year 9999, beyond which neither Python nor PostgreSQL goes with us
local SHORT = 48 -- a text call of so many characters is remembered as it is, a longer one by its digest
local ID = '^[%w._:/+=@~-]+$'
-- Several numbers at once, joined: whole where each has something and nothing but digits is among them. Then Lua's arithmetic may read them, which takes
-- half of what tonumber does; a pattern for each would take more than all else that is done with it.
local WHOLE = '^%d+$'
-- As an argument of a command the server writes a number itself, for half of what string.format takes, digit by digit up to 2^53. But Redis 7.2.0 to 7.2.4 write a
-- multiple of this as 1e+08 (redis/redis#13113), so such a one must be put into text.
local ROUND = 100000000
