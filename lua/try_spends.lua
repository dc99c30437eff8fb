#!lua
-- Asks: a spend that would take any budget past its limit, or whose campaign may not run now, is refused and consumes nothing.
-- KEYS, ARGV and replies: lib/charge.lua.
local verb = 't'
-- include: lib/spend.lua
