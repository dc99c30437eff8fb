-- The budgets of brands and campaigns that a call used up or freed, and the breakers that it opened. A piece of its own, because each function before the
-- fast paths costs every call.
-- include: lib/brake.lua
-- include: lib/changes.lua
-- include: lib/text.lua

-- Returns what changes_of does (lib/changes.lua).
local function plan_changes(plans, now)
  local moved, messages = changes_of(plans.brands, now)
  for id, campaign in pairs(plans.campaigns) do
    if campaign.tripped then
      campaign.brake.since = now
      moved[#moved + 1], messages[#messages + 1] = id .. ':breaker:exhausted', id .. ' breaker exhausted ' .. text(now)
    end
  end
  return changes_of(plans.campaigns, now, moved, messages)
end

-- Adds the breakers that a call opened to its entry: `k`, `<campaign id>:<round>:<micros in the minute>` joined by `,`. Returns the format of such an entry
-- ('3'), nil where there is none: programs of the release before would take the breaker for a brand's budget.
local function add_trips(entry, campaigns)
  local told = {}
  for id, campaign in pairs(campaigns) do
    local brake = campaign.tripped and campaign.brake
    if brake then told[#told + 1] = id .. ':' .. text(brake.round) .. ':' .. text(brake.row.spent) end
  end
  if #told == 0 then return nil end
  entry[#entry + 1], entry[#entry + 2] = 'k', table.concat(told, ',')
  return '3'
end
