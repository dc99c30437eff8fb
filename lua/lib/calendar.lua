-- UTC periods of an instant in epoch milliseconds: the day as its number since 1970-01-01, the month as 202611.
local DAY_MS = 86400000

local function day_of(now)
  return (now - now % DAY_MS) / DAY_MS
end

-- The month of a day, by the algorithm of C. Neri and L. Schneider (https://doi.org/10.1002/spe.3172): years begin in March and are counted in quarters
-- of a day. Quotients come from subtracting remainders, because calls of math.floor took longer than all the rest.
local function month_of(day)
  local quarters = 4 * (day + 719468) + 3
  local in_century = quarters % 146097
  local rest = in_century - in_century % 4 + 3
  local in_year = rest % 1461
  local months = 5 * (in_year - in_year % 4) / 4 + 461
  local year, month = (quarters - in_century) / 146097 * 100 + (rest - in_year) / 1461, (months - months % 153) / 153
  return month > 12 and (year + 1) * 100 + month - 12 or year * 100 + month
end
