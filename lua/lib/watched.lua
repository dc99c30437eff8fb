-- Formats a brand for watchers: `version:archived:daily limit:monthly limit:daily used up:monthly used up`, of the first two budgets of the list.
-- include: lib/text.lua
-- include: lib/plan.lua
-- include: lib/budgets.lua
local function watched_brand(brand)
  local daily, monthly = brand.budgets[1], brand.budgets[2]
  return table.concat({ text(brand.version), brand.archived and '1' or '0', optional(daily.limit), optional(monthly.limit),
    is_used_up(daily.limit, daily.spent) and '1' or '0', is_used_up(monthly.limit, monthly.spent) and '1' or '0' }, ':')
end
