-- What publish does about a campaign's own limits (`x`, lib/budgets.lua) and flights (lib/flights.lua).
-- include: lib/brake.lua
-- include: lib/budgets.lua
-- include: lib/calendar.lua
-- include: lib/changes.lua
-- include: lib/holds.lua
-- include: lib/plan.lua
-- include: lib/flight_plan.lua
-- include: lib/flight_part.lua
-- include: lib/stepped_plan.lua
-- include: lib/stored.lua
-- include: lib/text.lua

local function has_limits(limits)
  return limits and limits ~= '' and limits ~= NO_LIMITS
end

-- Whether a campaign and what is given for it have the same limits and flights: an absent field and '' name no limits.
local function same_limits(one, other)
  local same = (has_limits(one.limits) and one.limits or NO_LIMITS) == (has_limits(other.limits) and other.limits or NO_LIMITS)
  return same and same_steps(one, other.n1 or nil, other.n2 or nil) and (one.f1 or nil) == other.f1 and (one.f2 or nil) == other.f2 and (one.brake and one.brake.text or NO_BRAKE) == (other.br or NO_BRAKE)
end

-- Whether limits, flights and brake are well formed, and a campaign with flights has no lifetime budget, which is a flight without ends.
local function fits_together(given)
  if (given.br and not brake_at(given.br, nil, nil, 0)) or not are_steps(given.n1, given.n2) then return false end
  if not has_limits(given.limits) then return not given.f1 or flights_of(given.key, given.f1, given.f2) end
  local _, _, lifetime = string.match(given.limits, OWN_LIMITS)
  return lifetime and (not given.f1 or (lifetime == '' and flights_of(given.key, given.f1, given.f2)))
end

-- The first value of a lifetime counter: what the log has of the months before this one, and the counter of this month. nil where the log cannot be added
-- yet: it was read in another month, or before an entry that changed an earlier month (the shard's `late_n`).
-- base: `<micros>,<month>,<journal number up to which the log was read>`, or ''.
local function first_lifetime(base, campaign, month, late_n)
  local micros, of_month, n = string.match(base, '^(%-?%d+),(%d+),(%d+)$')
  if not micros or tonumber(of_month) ~= month or tonumber(n) < late_n then return nil end
  return tonumber(micros) + campaign.monthly
end

-- Adds to what is set and unset of a campaign its flights, and a counter of 0 for those that are new. False where one is malformed.
local function take_flights(given, campaign)
  local flights = flights_of(given.key, given.f1, given.f2)
  if not flights then return false end
  for i, flight in ipairs(flights) do
    given.set[#given.set + 1], given.set[#given.set + 2] = 'f' .. i, flight.text
    if not flight.spent and not (i == 2 and flights[1].counter == flight.counter) then
      given.set[#given.set + 1], given.set[#given.set + 2] = 'f:' .. flight.counter, '0'
    end
  end
  if campaign and campaign.f1 and not flights[1] then given.unset[#given.unset + 1] = 'f1' end
  if campaign and campaign.f2 and not flights[2] then given.unset[#given.unset + 1] = 'f2' end
  given.flights = flights
  return true
end

-- Adds to what is set and unset of a campaign its brake. A higher round closes an open breaker: a person resumed the campaign.
local function take_brake(given, campaign, now)
  local known = campaign and campaign.brake
  if not given.br and not known then return end
  local brake = brake_at(given.br or NO_BRAKE, nil, nil, now)
  given.set[#given.set + 1], given.set[#given.set + 2] = 'br', brake.text
  given.since = known and known.since
  if given.since and brake.round > known.round then
    given.since, given.resumed = nil, true
    given.set[#given.set + 1], given.set[#given.set + 2] = 'bk', ',' .. text(known.row.minute.no) .. ',' .. text(known.row.spent)
  end
end

-- Adds to what is set and unset of a campaign its steps. Returns its limits with these: those in force. given.steps is for whoever watches.
local function take_steps(given, campaign, limits, now)
  for _, name in ipairs({ 'n1', 'n2' }) do
    if given[name] then
      given.set[#given.set + 1], given.set[#given.set + 2] = name, given[name]
    elseif campaign and campaign[name] then
      given.unset[#given.unset + 1] = name
    end
  end
  if not given.n1 then return limits end
  local in_force = limits_by(limits, given.n1, given.n2, now)
  given.steps = { n1 = given.n1, n2 = given.n2, limits = in_force }
  return in_force
end

-- A campaign's limits at the end of the previous day, as in its field `x`.
local function own_limits_before(campaign, now)
  local own = campaign.limits or NO_LIMITS
  return in_force(own, campaign.n1 and { limits = limits_before(campaign, { string.match(own, OWN_LIMITS) }, now) })
end

-- A budget as it stands after a publish, in what a publish takes: the one before, or a new one. A budget that counts elsewhere from now on, as of another
-- flight, keeps whether the one before was used up. spent: {field = value}, of the period's, the flights' and the lifetime's counters.
local function taken(known, name, since_field, counter, spent)
  if known and known.field == counter then
    note_before(known)
    return known
  end
  local was = nil
  if known then was = is_used_up(known.limit, known.spent) end
  return { name = name, since_field = since_field, field = counter, spent = spent[counter] or 0, was_used_up = was }
end

-- Prepares a campaign's limits: given.budgets for changes_of, given.set (fields and values) and given.unset. False where its lifetime counter cannot begin
-- yet. campaign: as read, nil for a new one. late_n: only of use where a lifetime counter begins.
local function take_limits(given, campaign, day, month, late_n, now, zone)
  given.budgets, given.set, given.unset, given.flights = {}, {}, {}, {}
  if not has_limits(given.limits) and not given.f1 and not given.br and not given.n1 and not (campaign and campaign.limits) then return true end
  local own = has_limits(given.limits) and given.limits or NO_LIMITS
  local limits, flight_field, known = { string.match(own, OWN_LIMITS) }, LIFETIME, {}
  given.set = { 'x', table.concat(limits, ':') }
  if not take_flights(given, campaign) then return false end
  take_brake(given, campaign, now)
  if given.f1 then limits, flight_field = limits_at(own, given.f1, given.f2, now) end
  local even = limits.even
  limits = take_steps(given, campaign, limits, now)
  for _, budget in ipairs(campaign and campaign.budgets or {}) do known[budget.name] = budget end
  local day_field, month_field = period_fields(day, month)
  local spent = { [day_field] = campaign and campaign.daily or 0, [month_field] = campaign and campaign.monthly or 0 }
  for _, flight in ipairs(given.flights) do spent['f:' .. flight.counter] = flight.spent end
  if even then take_part(limits, spent[day_field], spent[flight_field] or 0, now, zone, even) end
  local function take(name, since_field, counter, limit)
    local before = known[name]
    if before and before.field == LIFETIME and (counter ~= LIFETIME or limit == '') then given.unset[#given.unset + 1] = LIFETIME end
    if not before and limit == '' then return true end
    if counter == LIFETIME and limit ~= '' and not (before and before.field == counter) then
      spent[counter] = campaign and first_lifetime(given.base, campaign, month, late_n) or (not campaign and 0)
      if not spent[counter] then return false end
      given.set[#given.set + 1], given.set[#given.set + 2] = counter, text(spent[counter])
    end
    local budget = taken(before, name, since_field, counter, spent)
    -- A limit that is new to a campaign that was there may be used up from its beginning.
    if campaign and budget.was_used_up == nil then budget.was_used_up = false end
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
