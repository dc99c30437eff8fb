-- Scheduled changes of limits. The hash of a brand or campaign has the next two steps in `n1` and `n2`, so they are taken on the millisecond with every
-- job dead. Each is `<at ms>,<daily>,<monthly>`: the daily and monthly limit from that instant on, in micros, each empty where there is none.
-- Publish takes a step that has passed into the plan's own limits; until then it stands in its place.
-- A step may use a budget up or free it without any call. The call that next counts tells so (lib/changes.lua), with the step's instant.
-- include: lib/budgets.lua
-- include: lib/stored.lua
-- include: lib/text.lua
local STEP = '^(%d+),(%d*),(%d*)$'
local STEPPED = { daily_budget = 1, monthly_budget = 2, campaign_daily_budget = 1, campaign_monthly_budget = 2 }

-- The limits in force at an instant, an array of daily and monthly as texts; those before the last step that has passed, and its instant, each nil where
-- none has. nil where a step is malformed. limits: the plan's own.
local function limits_by(limits, first, second, now)
  local before, since, last = nil, nil, -1
  for i = 1, second and 2 or 1 do
    local value = i == 1 and first or second
    local at, daily, monthly = string.match(value, STEP)
    if not at or #value > 64 or not whole(at) or at + 0 <= last or not is_limit(daily) or not is_limit(monthly) then return nil end
    last = at + 0
    if now >= last then limits, before, since = { daily, monthly, limits[3] }, limits, last end
  end
  return limits, before, since
end

-- Notes which budgets the last step used up or freed, where no call has told it since. before, since: as limits_by returns them.
local function note_steps(budgets, before, since)
  for _, budget in ipairs(budgets) do
    local place = STEPPED[budget.name]
    if place then
      local was = is_used_up(tonumber(before[place]), budget.spent)
      if budget.since == '' or budget.since + 0 < since then
        if was ~= is_used_up(budget.limit, budget.spent) then
          budget.told_used_up, budget.since, budget.stepped = was, text(since), true
        else
          budget.step_before, budget.step_at = tonumber(before[place]), text(since)
        end
      end
    end
  end
end

-- A campaign's limits as in its field `x`, with those that are in force. steps: {limits}, or nil where it has none.
local function in_force(own, steps)
  if not steps then return own end
  return steps.limits[1] .. ':' .. steps.limits[2] .. ':' .. string.match(own, '%d*$')
end
