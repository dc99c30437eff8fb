-- What the packed fast path (lib/fast_packed.lua) does about campaigns' own limits and flights. Only a shard of layout 2 has any. It is passed to that
-- path as a table (own_steps), so a shard of layout 1 never makes these functions: what else only layout 2 needs on that path belongs here too.
-- Of most campaigns something is left of each limit before and after the call. Then nothing is used up or freed, and has_usual_room is all that is needed.
-- include: lib/fast_packed.lua
-- include: lib/plan.lua
-- include: lib/own_held.lua
-- include: lib/budgets.lua
-- include: lib/changes.lua
-- include: lib/flights.lua
-- include: lib/schedule.lua
-- include: lib/room.lua
-- include: lib/call.lua
-- include: lib/brake.lua
-- include: lib/figures.lua
-- include: lib/pace.lua
-- include: lib/minute.lua
-- include: lib/pass_rate.lua
-- include: lib/local_day.lua
-- include: lib/zone_entry.lua

-- Notes the limits of the i-th campaign of a batch, in the arrays of own. Returns whether it has flights and none is in force, and whether its breaker is
-- open; nil where a field is malformed, and where amount may open the breaker, of which the slow path tells everybody. got: of its hash.
local function note_own(own, i, key, got, verb, brand, campaign_id, amount, now)
  local limits, flight_field, flight, outside, starts = limits_at(got[6], got[8], got[9], now)
  local held = verb == 't' and brand.held > 0 and held_by(brand, campaign_id) or 0
  if not limits or limits.even or not held then return nil end
  if starts and got[3] ~= '' and not within_schedule(got[3], local_ms(brand.zone, starts)) then starts = nil end
  own.limits[i], own.fields[i], own.held[i], own.flights[i], own.starts[i] = limits, flight_field, held, flight, starts
  own.counted[i] = flight and redis.call('HGET', key, flight_field) or not flight and got[7]
  -- Of a paced campaign that will run again later, the slow path says when.
  if starts and (got[13] or brand.pace) then return nil end
  if got[13] and limits[1] ~= '' then own.paced[i] = { key = key, paced = got[13], minute = got[12] or false } end
  if not got[10] then return outside, false end
  local brake = brake_at(got[10], got[11], got[12], now)
  if not brake or amount > before_trip(brake) then return nil end
  own.braked[i] = {
    brake = brake, broken = brake.since ~= nil, limits = got[6], f1 = got[8], f2 = got[9], schedule = got[3], on = got[1] == '1',
    archived = got[2] == '1' or brand.archived,
  }
  return outside, brake.since ~= nil
end

-- Whether something is left of each own budget before and after the call. Then own.after and own.after_field have the counters to write beside those of
-- day and month. False also where a value is odd, which owns_of finds.
local function has_usual_room(sums)
  local own, found, amounts, day_field, month_field = sums.own, sums.found, sums.amounts, sums.day_field, sums.month_field
  if next(own.braked) or next(own.paced) then return false end
  for i, limits in pairs(own.limits) do
    local flight_field, rest = own.fields[i], amounts[i] + own.held[i]
    -- each campaign budget
    if limits[$limit] ~= '' then
      local limit, of_day, of_month = limits[$limit], $counter == day_field, $counter == month_field
      local counted = of_day and found[2 * i - 1] or of_month and found[2 * i] or own.counted[i] or $absent
      if not counted or #counted > 16 or not string.find(counted, WHOLE) or #limit > 16 or limit + 0 > MAX_TOTAL then return false end
      if counted + rest >= limit + 0 then return false end
      if not of_day and not of_month then
        if own.after[i] then return false end
        own.after[i], own.after_field[i] = counted + amounts[i], $counter
      end
    end
    -- end each
  end
  return true
end

-- The budgets of each campaign with limits of its own: {place = {id, budgets, held}}. nil where a value is malformed.
local function owns_of(sums, now, day)
  local own, owns, day_field, month_field = sums.own, {}, sums.day_field, sums.month_field
  for i, limits in pairs(own.limits) do
    local counted = { [day_field] = sums.found[2 * i - 1], [month_field] = sums.found[2 * i], [own.fields[i]] = own.counted[i] or nil }
    local budgets = own_budgets(limits, own.fields[i], counted, day_field, month_field)
    if not budgets then return nil end
    local owner, paced = own.braked[i] or {}, own.paced[i]
    owner.id, owner.budgets, owner.held, owns[i] = sums.ids[i], budgets, own.held[i], owner
    owner.zone = sums.brands[i].zone
    if owner.brake then budgets[#budgets + 1] = owner.brake.row end
    if paced then
      if not owner.brake then budgets[#budgets + 1] = minute_row(paced.minute, nil, now) end
      owner.key = paced.key
      if not budgets[#budgets] or not add_pace(owner, paced.paced, 'campaign_daily_budget', now, day, own.held[i]) then return nil end
      if owner.pace.minute.minute.begun then return nil end
    end
  end
  return owns
end

-- Adds its pacing to a brand. False where that is malformed, which the slow path finds, and for the first call of a minute, which sets the pass rate there.
local function pace_brand(brand, now, day)
  return add_pace(brand, brand.paced, 'daily_budget', now, day, brand.held) and not (brand.pace and brand.pace.minute.minute.begun)
end

-- Notes that all amounts of a call were asked.
local function note_all_asked(brands, sums)
  for _, brand in ipairs(brands) do note_asked(brand, brand.amount) end
  for i, owner in pairs(sums.owns or NO_BUDGETS) do note_asked(owner, sums.amounts[i]) end
end

-- The pass rates below the whole, as text; nil where there is none.
local function rates_of(sums)
  local rates = {}
  for i = 1, sums.count do
    local brand, owner = sums.brands[i], sums.owns and sums.owns[i] or NO_BUDGETS
    local rate = (brand.pace or owner.pace) and pass_rate(brand, owner) or ALL
    if rate < ALL then rates[#rates + 1] = sums.ids[i] .. ':' .. text(rate) end
  end
  return rates[1] and table.concat(rates, ';')
end

-- Whether pacing may refuse anything of a call.
local function any_paced(brands, sums)
  for _, brand in ipairs(brands) do
    if brand.pace then return true end
  end
  return next(sums.own.paced) ~= nil
end

-- Whether all sums fit into MAX_TOTAL and, of try calls, into the campaigns' own budgets.
local function owns_fit(verb, sums)
  for i, owner in pairs(sums.owns) do
    if not has_room(owner, owner.held, verb, sums.amounts[i]) then return false end
  end
  return true
end

-- Counts sums.amounts in the budgets of sums.owns, and adds to moved and messages. Returns the flights of what is counted, and when the next ones begin, as
-- texts; nil for none.
local function count_owns(sums, now, moved, messages)
  local own, flights, starts = sums.own, {}, {}
  for i, owner in pairs(sums.owns or NO_BUDGETS) do
    local again = owner.awaited and not own.starts[i] and next_minute(sums.brands[i], owner)
    if again then starts[#starts + 1] = owner.id .. ':' .. text(again) end
    if sums.amounts[i] > 0 then
      count_budgets(owner, sums.amounts[i])
      changes_of({ [owner.id] = owner }, now, moved, messages)
    end
  end
  for i, flight in pairs(own.flights) do
    if sums.amounts[i] > 0 then flights[#flights + 1] = sums.ids[i] .. ':' .. flight end
  end
  for i, start in pairs(own.starts) do starts[#starts + 1] = sums.ids[i] .. ':' .. text(start) end
  return flights[1] and table.concat(flights, ','), starts[1] and table.concat(starts, ';')
end

-- Writes the counters of the i-th campaign.
local function write_own(sums, i, key, daily, monthly)
  local owner, after, day_field, month_field = sums.owns and sums.owns[i], sums.own.after[i], sums.day_field, sums.month_field
  if owner then
    write_counters(key, owner.budgets, day_field, daily, month_field, monthly)
  elseif after then
    redis.call('HSET', key, day_field, argument(daily), month_field, argument(monthly), sums.own.after_field[i], argument(after))
  else
    redis.call('HSET', key, day_field, argument(daily), month_field, argument(monthly))
  end
end

local function own_steps()
  return {
    note = note_own, has_usual_room = has_usual_room, owns_of = owns_of, owns_fit = owns_fit, count = count_owns, write = write_own,
    add_zones = add_zones, pace = pace_brand, any_paced = any_paced, note_asked = note_all_asked, rates = rates_of,
  }
end
