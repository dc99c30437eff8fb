-- The budgets of brands and campaigns that a call used up or freed. A piece of its own, because each function before the fast paths costs every call.
-- include: lib/changes.lua

-- Returns what changes_of does (lib/changes.lua).
local function plan_changes(plans, now)
  local moved, messages = changes_of(plans.brands, now)
  return changes_of(plans.campaigns, now, moved, messages)
end
