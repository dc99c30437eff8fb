-- The day of a brand, which is the UTC day: the time of its day at an instant, in ms, and the length of that day in ms.
local function time_of_day(now)
  return now % 86400000, 86400000
end
