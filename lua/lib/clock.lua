-- The only source of time: epoch milliseconds by Redis' own clock. Tests replace this piece by a clock that they can move, so production scripts have
-- no switch.
local function read_clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
