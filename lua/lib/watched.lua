-- A brand as watchers are told of it, for the scripts that tell or read it: `version:archived:daily limit:monthly limit:daily used up:monthly used up`.
-- include: lib/plan.lua
local function watched_brand(brand)
  local daily, monthly = brand.budgets[1], brand.budgets[2]
  return table.concat({ text(brand.version), brand.archived and '1' or '0', optional(daily.limit), optional(monthly.limit),
    used_up(daily) and '1' or '0', used_up(monthly) and '1' or '0' }, ':')
end
