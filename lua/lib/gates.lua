-- The one list of gates: causes that do not depend on money, for which a campaign may not run now. The loader repeats `-- each gate` blocks for each row.
--
-- cause   the bit; engine/domain/causes.py has the same
-- closed  whether the gate is closed: an expression of `on`, `archived` (the campaign or its brand), `schedule` (compiled), `now` (ms) and `outside`
--         (the campaign has flights and none is in force, lib/flights.lua), `broken` (its breaker is open, lib/brake.lua), and `paused` (its brand is)
-- | gate     | cause | closed                                                |
-- | manual   | 1     | not on                                                |
-- | archived | 2     | archived                                              |
-- | schedule | 4     | schedule ~= '' and not within_schedule(schedule, now) |
-- | flight   | 256   | outside                                               |
-- | breaker  | 2048  | broken                                                |
-- | brand_paused | 4096 | paused                                             |
-- include: lib/schedule.lua

-- The closed gates as a mask, 0 where a campaign may run. now: the local time of its brand.
local function closed_gates(on, archived, schedule, now, outside, broken, paused)
  local closed = 0
  -- each gate
  if $closed then closed = closed + $cause end
  -- end each
  return closed
end
