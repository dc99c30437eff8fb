-- Formats a brand for watchers: `version:archived:daily limit:monthly limit:daily used up:monthly used up`, of the first two budgets of the list.
-- include: lib/text.lua
-- include: lib/plan.lua
-- include: lib/budgets.lua
-- include: lib/flight_plan.lua
local function watched_brand(brand)
  local daily, monthly = brand.budgets[1], brand.budgets[2]
  return table.concat({ text(brand.version), brand.archived and '1' or '0', optional(daily.limit), optional(monthly.limit),
    is_used_up(daily.limit, daily.spent) and '1' or '0', is_used_up(monthly.limit, monthly.spent) and '1' or '0' }, ':')
end

-- What follows in a campaign's line where it has limits of its own: `:daily limit:monthly limit:lifetime limit`, then of each `:used up` as 0 or 1, and
-- of a campaign with flights `:f1:f2` and of each of these `:used up`; last, while its breaker is open, `:bk=<since ms>`.
-- limits: its field `x`, or nil. budgets: those with a limit. flights: those in its plan (lib/flight_plan.lua). since: of its open breaker, or nil.
local function watched_own(limits, budgets, flights, since)
  if not limits then return '' end
  local used_up, line = {}, { '', limits }
  for _, budget in ipairs(budgets) do used_up[budget.name] = is_used_up(budget.limit, budget.spent) and '1' or '0' end
  -- each campaign budget
  line[#line + 1] = used_up['$name'] or '0'
  -- end each
  return table.concat(line, ':') .. (flights[1] and watched_flights(flights) or '') .. (since and ':bk=' .. text(since) or '')
end
