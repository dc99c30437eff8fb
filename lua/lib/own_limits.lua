-- What publish does about a campaign's own limits (`x`, lib/budgets.lua).
-- include: lib/budgets.lua
-- include: lib/calendar.lua
-- include: lib/changes.lua
-- include: lib/holds.lua
-- include: lib/plan.lua
-- include: lib/stored.lua
-- include: lib/text.lua

local function has_limits(limits)
  return limits and limits ~= '' and limits ~= NO_LIMITS
end

-- Whether two texts name the same limits: an absent field and '' name none.
local function same_limits(one, other)
  return (has_limits(one) and one or NO_LIMITS) == (has_limits(other) and other or NO_LIMITS)
end

-- The first value of a lifetime counter: what the log has of the months before this one, and the counter of this month. nil where the log cannot be added
-- yet: it was read in another month, or before an entry that changed an earlier month (the shard's `late_n`).
-- base: `<micros>,<month>,<journal number up to which the log was read>`, or ''.
local function first_lifetime(base, campaign, month, late_n)
  local micros, of_month, n = string.match(base, '^(%-?%d+),(%d+),(%d+)$')
  if not micros or tonumber(of_month) ~= month or tonumber(n) < late_n then return nil end
  return tonumber(micros) + campaign.monthly
end

-- Prepares a campaign's limits: given.budgets for changes_of, given.set (fields and values) and given.unset. False where its lifetime counter cannot begin
-- yet. campaign: as read, nil for a new one. late_n: only of use where a lifetime counter begins.
local function take_limits(given, campaign, day, month, late_n)
  given.budgets, given.set, given.unset = {}, {}, {}
  if not has_limits(given.limits) and not (campaign and campaign.limits) then return true end
  local limits, known = { string.match(has_limits(given.limits) and given.limits or NO_LIMITS, OWN_LIMITS) }, {}
  for _, budget in ipairs(campaign and campaign.budgets or {}) do known[budget.name] = budget end
  local day_field, month_field = period_fields(day, month)
  local spent = { [day_field] = campaign and campaign.daily or 0, [month_field] = campaign and campaign.monthly or 0 }
  given.set = { 'x', table.concat(limits, ':') }
  local function take(name, since_field, counter, limit)
    local budget, own_counter = known[name], counter ~= day_field and counter ~= month_field
    if not budget and limit == '' then return true end
    if own_counter and not budget then
      spent[counter] = campaign and first_lifetime(given.base, campaign, month, late_n) or (not campaign and 0)
      if not spent[counter] then return false end
      given.set[#given.set + 1], given.set[#given.set + 2] = counter, text(spent[counter])
    end
    if own_counter and limit == '' then given.unset[#given.unset + 1] = counter end
    budget = budget or { name = name, since_field = since_field, spent = spent[counter] }
    if campaign then note_before(budget) end
    budget.limit = tonumber(limit)
    given.budgets[#given.budgets + 1] = budget
    return true
  end
  -- each campaign budget
  if not take('$name', '$since', $counter, limits[$limit]) then return false end
  -- end each
  return true
end

-- The fields that a brand needs before any of its campaigns has limits: what each campaign has on hold. nil where a hold is malformed.
local function first_own_held(holds_key)
  local values, sums, fields = redis.pcall('HGETALL', holds_key), {}, { 'own', '1' }
  if values.err then return nil end
  for i = 1, #values, 2 do
    local campaign_id, held = string.match(values[i], '^(%d+):'), hold_of(values[i + 1])
    if not campaign_id or not held then return nil end
    sums[campaign_id] = (sums[campaign_id] or 0) + tonumber(held)
  end
  for campaign_id, sum in pairs(sums) do fields[#fields + 1], fields[#fields + 2] = 'h:' .. campaign_id, text(sum) end
  return fields
end
