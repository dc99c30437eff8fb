#!lua
-- Asks: a spend that would take any budget past its limit, or whose campaign may not run now, is refused and consumes nothing.
-- KEYS, ARGV and replies: lib/charge.lua.
-- include: lib/quick.lua
local answer = quick('t')
if answer then return answer end
-- include: lib/quick_packed.lua
answer = quick_packed('t')
if answer then return answer end
-- include: lib/charge.lua
return charge('t')
