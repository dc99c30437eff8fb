-- The one list of causes that do not depend on money: why a campaign may not run now. The loader writes `-- each gate` blocks out for each row.
--
-- cause   the bit; engine/domain/causes.py has the same
-- closed  when the gate is closed: an expression of `on`, `archived` (the campaign or its brand), `schedule` (compiled) and `now` (ms)
-- | gate     | cause | closed                                                |
-- | manual   | 1     | not on                                                |
-- | archived | 2     | archived                                              |
-- | schedule | 4     | schedule ~= '' and not within_schedule(schedule, now) |
-- include: lib/schedule.lua

-- The closed gates as a mask, 0 where the campaign may run.
local function closed_gates(on, archived, schedule, now)
  local closed = 0
  -- each gate
  if $closed then closed = closed + $cause end
  -- end each
  return closed
end
