#!lua
-- States facts: the money is gone, so each spend is counted and logged even past a budget or on a paused campaign, and the reply shows it.
-- KEYS, ARGV and replies: lib/charge.lua. No spend is ever refused (no `x` outcome).
-- include: lib/quick.lua
local answer = quick('r')
if answer then return answer end
-- include: lib/quick_packed.lua
answer = quick_packed('r')
if answer then return answer end
-- include: lib/charge.lua
return charge('r')
