-- Time enters here and nowhere else: epoch milliseconds by Redis' own clock. The tests swap this piece for a clock that they
-- can move; the scripts that run in production carry no switch.
local function read_clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
