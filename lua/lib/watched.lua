-- Formats a brand for watchers: `version:archived:daily limit:monthly limit:daily used up:monthly used up`, of the first two budgets of the list; with a
-- time zone then `:zone=` its field (lib/local_day.lua); where it is paused `:paused=1`; where a step of its limits is to come, `:n=<at ms>` of the
-- next: a watcher reads the shard again then.
-- include: lib/text.lua
-- include: lib/plan.lua
-- include: lib/budgets.lua
-- include: lib/flight_plan.lua

-- What a watcher waits for of steps: the instant of the next that is to come.
local function watched_steps(n1, n2, now)
  for i = 1, n2 and 2 or 1 do
    local at = string.match(i == 1 and n1 or n2 or '', '^%d+')
    if at and at + 0 > now then return ':n=' .. at end
  end
  return ''
end

local function watched_brand(brand, now)
  local daily, monthly = brand.budgets[1], brand.budgets[2]
  return table.concat({ text(brand.version), brand.archived and '1' or '0', optional(daily.limit), optional(monthly.limit),
    is_used_up(daily.limit, daily.spent) and '1' or '0', is_used_up(monthly.limit, monthly.spent) and '1' or '0' }, ':')
    .. (brand.zone_text ~= '' and ':zone=' .. brand.zone_text or '') .. (brand.paused and ':paused=1' or '') .. watched_steps(brand.n1, brand.n2, now)
end

-- What follows in a campaign's line where it has limits of its own: `:daily limit:monthly limit:lifetime limit`, then of each `:used up` as 0 or 1, and
-- of a campaign with flights `:f1:f2` and of each of these `:used up`; last, while its breaker is open, `:bk=<since ms>`, and `:n=` as of a brand.
-- limits: its field `x`, or nil. budgets: those with a limit. flights: those in its plan (lib/flight_plan.lua). since: of its open breaker, or nil.
-- steps: {n1, n2, limits in force}, or nil (lib/plan.lua).
local function watched_own(limits, budgets, flights, since, steps, now)
  if not limits then return '' end
  local used_up, line = {}, { '', in_force(limits, steps) }
  for _, budget in ipairs(budgets) do used_up[budget.name] = is_used_up(budget.limit, budget.spent) and '1' or '0' end
  -- each campaign budget
  line[#line + 1] = used_up['$name'] or '0'
  -- end each
  return table.concat(line, ':') .. (flights[1] and watched_flights(flights) or '') .. (since and ':bk=' .. text(since) or '')
    .. (steps and watched_steps(steps.n1, steps.n2, now) or '')
end
