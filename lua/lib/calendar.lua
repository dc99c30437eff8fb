-- UTC periods of an instant in epoch milliseconds: the day as its number since 1970-01-01, the month as 202611.
local DAY_MS = 86400000

local function day_of(now)
  return math.floor(now / DAY_MS)
end

-- Days to civil date, by Howard Hinnant's algorithm (http://howardhinnant.github.io/date_algorithms.html#civil_from_days).
local function month_of(day)
  local z = day + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return year * 100 + month
end
