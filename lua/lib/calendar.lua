-- UTC periods of an instant in epoch milliseconds: the day as its number since 1970-01-01, the month as 202611.
local DAY_MS = 86400000

local function day_of(now)
  return (now - now % DAY_MS) / DAY_MS
end

-- Days to civil date, by Howard Hinnant's algorithm (http://howardhinnant.github.io/date_algorithms.html#civil_from_days).
-- Whole quotients without calls of math.floor, which took longer than all else here.
local function month_of(day)
  local z = day + 719468
  local doe = z % 146097
  local era = (z - doe) / 146097
  local days = doe - (doe - doe % 1460) / 1460 + (doe - doe % 36524) / 36524 - (doe - doe % 146096) / 146096
  local yoe = (days - days % 365) / 365
  local doy = doe - (365 * yoe + (yoe - yoe % 4) / 4 - (yoe - yoe % 100) / 100)
  local mp = 5 * doy + 2
  mp = (mp - mp % 153) / 153
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return year * 100 + month
end
