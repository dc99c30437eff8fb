#!lua
-- Tries spends: refuses, without counting, each spend that would exceed a budget or whose campaign may not run now.
-- KEYS, ARGV and replies: lib/charge.lua.
local verb = 't'
-- include: lib/spend.lua
