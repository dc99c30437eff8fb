-- Formats a brand for watchers: `version:archived:daily limit:monthly limit:daily used up:monthly used up`, of the first two budgets of the list.
-- include: lib/text.lua
-- include: lib/plan.lua
-- include: lib/budgets.lua
local function watched_brand(brand)
  local daily, monthly = brand.budgets[1], brand.budgets[2]
  return table.concat({ text(brand.version), brand.archived and '1' or '0', optional(daily.limit), optional(monthly.limit),
    is_used_up(daily.limit, daily.spent) and '1' or '0', is_used_up(monthly.limit, monthly.spent) and '1' or '0' }, ':')
end

-- What follows in a campaign's line where it has limits of its own: `:daily limit:monthly limit:lifetime limit`, then of each `:used up` as 0 or 1.
-- limits: its field `x`, or nil. budgets: those with a limit.
local function watched_own(limits, budgets)
  if not limits then return '' end
  local used_up, line = {}, { '', limits }
  for _, budget in ipairs(budgets) do used_up[budget.name] = is_used_up(budget.limit, budget.spent) and '1' or '0' end
  -- each campaign budget
  line[#line + 1] = used_up['$name'] or '0'
  -- end each
  return table.concat(line, ':')
end
