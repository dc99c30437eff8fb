-- UTC periods of an instant in epoch milliseconds: the day as its number since 1970-01-01, the month as 202611.
local DAY_MS = 86400000

local function day_of(now)
  return (now - now % DAY_MS) / DAY_MS
end

-- Days to the month of the civil date, by C. Neri and L. Schneider's algorithm (https://doi.org/10.1002/spe.3172): years begin in March, and are counted in
-- quarters of a day. Whole quotients without calls of math.floor, which took longer than all else here.
local function month_of(day)
  local quarters = 4 * (day + 719468) + 3
  local in_century = quarters % 146097
  local rest = in_century - in_century % 4 + 3
  local in_year = rest % 1461
  local months = 5 * (in_year - in_year % 4) / 4 + 461
  local year, month = (quarters - in_century) / 146097 * 100 + (rest - in_year) / 1461, (months - months % 153) / 153
  return month > 12 and (year + 1) * 100 + month - 12 or year * 100 + month
end
