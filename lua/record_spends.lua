#!lua
-- States facts: the money is gone, so each spend is counted and logged even past a budget or on a paused campaign, and the reply shows it.
-- KEYS, ARGV and replies: lib/charge.lua. No spend is ever refused (no `x` outcome).
local verb = 'r'
-- include: lib/spend.lua
