-- Numbers and words that several pieces share; engine/ says the same, and a test holds them together.
local LAYOUT = '1'
local CLOCK_SLACK_MS = 1000
local MAX_AMOUNT, MAX_TOTAL = 1000000000000, 9000000000000000
local MAX_SPENDS = 1000
local SHORT = 48 -- a text call of so many characters is remembered as it is, a longer one by its digest
local ID = '^[%w._:/+=@~-]+$'
-- Several numbers at once, joined: whole where each has something and nothing but digits is among them. Then Lua's arithmetic may read them, which takes
-- half of what tonumber does; a pattern for each would take more than all else that is done with it.
local WHOLE = '^%d+$'
-- Causes are bits, in the order of engine/domain/causes.py; new ones are appended.
local MANUAL, ARCHIVED, SCHEDULE, DAILY_BUDGET, MONTHLY_BUDGET = 1, 2, 4, 8, 16
