#!lua
-- Records spends: the money is already spent, so each is counted and logged, even past a budget or of a paused campaign.
-- KEYS, ARGV and replies: lib/charge.lua. No spend is ever refused (no `x` outcome).
local verb = 'r'
-- include: lib/spend.lua
