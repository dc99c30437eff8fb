-- Flights of a campaign: spans of time with a budget each. Its hash has the present or last flight in `f1` and the next in `f2`, so both begin and end
-- on the millisecond with every job dead. Each is `<number>,<counter>,<start ms>,<end ms>,<limit>`; the start is included, the end is not. With `,e` at
-- its end it is spread evenly over its days (lib/flight_part.lua).
-- counter  a flight counts in the field `f:<counter>`, which never rolls. It is the flight's own number; where a flight goes on with what the one
--          before left, it is that one's counter, and limit is then the sum of both budgets
-- A lifetime budget is a flight without ends: its limit is in `x` and its counter is `f:0`. A campaign has the one or the others.
-- This piece is in the fast path of a single spend, so it has one function.
-- include: lib/budgets.lua
local FLIGHT = '^(%d+),(%d+),(%d+),(%d+),(%d+)(,?e?)$'

-- A campaign's limits at an instant, as in the field `x` but with that of the flight in force; the field of the flight's or lifetime's counter; that
-- counter's number (nil in no flight); whether it has flights and none is in force; and when the next begins. nil where a field is malformed. The limits'
-- `even` is {start, end, whether its counter is its own} of a flight that is spread evenly.
local function limits_at(own, first, second, now)
  local limits = { string.match(own, OWN_LIMITS) }
  if #limits == 0 then return nil end
  if not first then return limits, LIFETIME, nil, false, nil end
  if limits[3] ~= '' then return nil end
  local next_start = nil
  for i = 1, second and 2 or 1 do
    local value = i == 1 and first or second
    local no, counter, starts, ends, limit, spread = string.match(value, FLIGHT)
    if not no or (spread ~= '' and spread ~= ',e') or #value > 64 or #starts > 15 or #ends > 15 or #limit > 16 then return nil end
    if now < starts + 0 then
      next_start = next_start or starts + 0
    elseif now < ends + 0 then
      limits[3] = limit
      if spread == ',e' then limits.even = { starts + 0, ends + 0, no == counter } end
      return limits, 'f:' .. counter, counter, false, nil
    end
  end
  return limits, LIFETIME, nil, true, next_start
end
