-- Curves of pacing (lib/pace.lua): which part of a day's budget is due by a time of the day, in ppm. All numbers are whole and below 2^53.
-- A curve's text has 12 digits a point: 5 of the second of the day, 7 of the ppm that are due by then. It begins at second 0, and ends at 1000000.
-- A pace without a text is a straight line of `lead` ppm: 1000000 reaches the whole budget at LANDED, 1200000 in five sixths of that time.
-- Times are of a day of 24 hours; longer and shorter days stretch the curve (lib/pace.lua).
local PPM, POINT, LANDED = 1000000, 12, 86100000 -- complete five minutes before the day's end, so that the last spends still fit

-- The quotient of whole numbers, rounded down.
local function quotient(a, b)
  return (a - a % b) / b
end

-- A part of a limit, rounded down. Exact in doubles for each limit up to MAX_TOTAL.
local function part_of(limit, ppm)
  local low = limit % PPM
  return (limit - low) / PPM * ppm + quotient(low * ppm, PPM)
end

-- The point number i of a curve, from 0: its time in ms, and its ppm.
local function point(curve, i)
  return string.sub(curve, i * POINT + 1, i * POINT + 5) * 1000, string.sub(curve, i * POINT + 6, i * POINT + POINT) + 0
end

-- The ppm that are due at a time of the day. The pace keeps the two points around it, because the next time asked for is mostly between them too.
local function due_at(pace, at)
  local curve = pace.curve
  if not curve then return at < LANDED and math.min(quotient(at * pace.lead, LANDED), PPM) or PPM end
  if not pace.from or at < pace.from or at >= pace.to then
    local low, high = 0, #curve / POINT - 1
    while high - low > 1 do
      local middle = quotient(low + high, 2)
      if string.sub(curve, middle * POINT + 1, middle * POINT + 5) * 1000 <= at then low = middle else high = middle end
    end
    pace.from, pace.before = point(curve, low)
    pace.to, pace.after = point(curve, high)
  end
  if at >= pace.to then return pace.after end
  return pace.before + quotient((pace.after - pace.before) * (at - pace.from), pace.to - pace.from)
end

-- The first time of the day at which so many ppm are due: the curve read backwards.
local function first_due(pace, ppm)
  local curve = pace.curve
  if not curve then return math.min(quotient(ppm * LANDED + pace.lead - 1, pace.lead), LANDED) end
  local low, high = 0, #curve / POINT - 1
  local from, before = point(curve, low)
  if before >= ppm then return from end
  while high - low > 1 do
    local middle = quotient(low + high, 2)
    if string.sub(curve, middle * POINT + 6, middle * POINT + POINT) + 0 < ppm then low = middle else high = middle end
  end
  from, before = point(curve, low)
  local to, after = point(curve, high)
  return from + quotient((ppm - before) * (to - from) + after - before - 1, after - before)
end

-- The least ppm whose part of a limit is above an amount; nil where the whole limit is not.
local function ppm_above(limit, amount)
  if amount >= limit then return nil end
  local ppm = math.max(math.floor((amount + 1) / limit * PPM), 0)
  while ppm > 0 and part_of(limit, ppm - 1) > amount do ppm = ppm - 1 end
  while part_of(limit, ppm) <= amount do ppm = ppm + 1 end
  return ppm
end
