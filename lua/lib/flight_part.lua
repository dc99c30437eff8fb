-- The part of a flight that is spread evenly for each of its days: what was left of it when the day began, by the day's share of the time that was left.
-- It bounds the campaign's counter of the day, as its own daily budget does, and is derived from the two counters: what is spent in a day moves both, so
-- the part stays as it was when the day began. Nothing is stored, so a rebuild loses nothing. The last day has all that is left.
-- include: lib/flights.lua
-- include: lib/local_day.lua
-- include: lib/text.lua

-- Lowers the limit of the day in a campaign's limits (lib/flights.lua) to the part of the day. daily, spent: what the campaign spent today, and what its
-- flight's counter has. zone: of its brand. even: where it is not in these limits.
local function take_part(limits, daily, spent, now, zone, even)
  local WHOLE_TIME = 10000000
  local starts, ends, of_its_own = unpack(even or limits.even)
  local at, length = time_of_day(now, zone)
  local begins, limit = math.max(starts, now - at), tonumber(limits[3])
  local share = math.floor((math.min(ends, now - at + length) - begins) * WHOLE_TIME / (ends - begins))
  -- On the day on which it begins a counter of its own has today's spend alone, and the campaign's day may have spends of before.
  local is_first = of_its_own and starts > now - at
  local left = is_first and limit or math.max(limit - math.max(spent - daily, 0), 0)
  local part = (left - left % WHOLE_TIME) / WHOLE_TIME * share + math.floor(left % WHOLE_TIME * share / WHOLE_TIME)
  if is_first then part = math.max(part + daily - spent, 0) end
  part = math.min(part, MAX_TOTAL)
  if limits[1] == '' or part < limits[1] + 0 then limits[1] = text(part) end
end
