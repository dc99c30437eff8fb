-- Spends one by one, in their order, each by what the ones before it left. No table is made of a spend: a call has a thousand.
-- include: lib/plan.lua
-- include: lib/budgets.lua
-- include: lib/constants.lua
-- include: lib/calendar.lua
-- include: lib/text.lua
-- include: lib/outcomes.lua

-- What a brand has room for: {left, of the smallest of its budgets and of the numbers that are exact; from, the same before the call; lefts and causes of
-- each budget}. Facts have room until the numbers end.
local function room_of(brand, verb)
  local lefts, causes, left = {}, {}, math.huge
  for i, budget in ipairs(brand.budgets) do
    lefts[i], causes[i] = verb == 't' and left_of(budget.limit, budget.spent, brand.held) or math.huge, budget.cause
    left = math.min(left, lefts[i], MAX_TOTAL - budget.spent)
  end
  return { left = left, from = left, lefts = lefts, causes = causes }
end

-- What spends of a sum go through: its campaign and brand, the closed gates, the room of its brand (shut: none where a gate is closed), and what was counted.
local NO_ROOM = { left = -1 }
local function target_of(campaign_id, brand_id, closed, room)
  return { campaign = campaign_id, brand_id = brand_id, closed = closed, room = closed == 0 and room or NO_ROOM, of_brand = room, amount = 0, refusals = {} }
end

-- The doors of sums, by place; UNKNOWN where a campaign is not known.
local UNKNOWN = { room = NO_ROOM }
local function targets_of(sums, verb, plans, now)
  local targets, rooms = {}, {}
  for i, sum in ipairs(sums) do
    local campaign = plans.campaigns[sum.campaign]
    local brand = campaign and plans.brands[campaign.brand_id]
    if brand then
      rooms[brand] = rooms[brand] or room_of(brand, verb)
      targets[i] = target_of(sum.campaign, campaign.brand_id, verb == 't' and gates_of(brand, campaign, now) or 0, rooms[brand])
    else
      targets[i] = UNKNOWN
    end
  end
  return targets
end

-- What becomes of an amount that finds no room at a door; nil where no cause stands against it, but a total would grow too large.
local function refused_outcome(target, amount)
  if target == UNKNOWN then return 'u' end
  local room, mask = target.of_brand, target.closed
  local with_counted = amount + room.from - room.left
  for i, left in ipairs(room.lefts) do
    if with_counted > left then mask = mask + room.causes[i] end
  end
  if mask == 0 then return nil end
  local outcome = target.refusals[mask] or 'x' .. mask
  target.refusals[mask] = outcome
  return outcome
end

-- What was seen of an event, against the content that comes now.
local function repeat_outcome(known, content)
  return string.match(known, '^%d+,%d+') == content and 'd' or 'c'
end

-- The names under which the events of columns are remembered, by place (false where there is none), and each once.
local function event_names(columns, plans)
  local events, places, sums = columns.events, columns.places, columns.sums
  local names, wanted, met = {}, {}, {}
  for i = 1, columns.size do
    local campaign = events[i] ~= '' and plans.campaigns[sums[places[i]].campaign]
    local name = campaign and campaign.brand_id .. ':' .. events[i]
    names[i] = name
    if name and not met[name] then
      met[name] = true
      wanted[#wanted + 1] = name
    end
  end
  return names, wanted
end

-- Nothing is counted in the plans yet, and nothing written. before: the outcomes of an earlier call of the same id. seen: {name = what is remembered}.
-- Answers the verdict: {packed and logged outcomes, tallies of those that were not counted, fields of events to set, how many are fresh and counted,
-- sums that were counted}; or nil and the reply.
local function by_one(columns, targets, before, verb, seen, now)
  local places, amounts, digits, names, kept = columns.places, columns.amounts, columns.digits, columns.names, columns.kept
  local day, outcomes, logged, set, fresh, counted = ',' .. text(day_of(now)), {}, {}, {}, 0, 0
  for i = 1, columns.size do
    local outcome = before and outcome_kept(before, i)
    if outcome then
      logged[i] = outcome == 'k' and 'p' or outcome
    else
      local target, amount, name = targets[places[i]], amounts[i], names and names[i]
      local room = target.room
      if name and seen[name] and target ~= UNKNOWN then
        outcome = repeat_outcome(seen[name], target.campaign .. ',' .. (digits and digits[i] or text(amount)))
      elseif amount <= room.left then
        outcome = 'k'
        room.left, target.amount = room.left - amount, target.amount + amount
        if name then
          local value = kept and kept[2 * i] or target.campaign .. ',' .. (digits and digits[i] or text(amount)) .. day
          seen[name], set[#set + 1], set[#set + 2] = value, name, value
        end
      else
        outcome = refused_outcome(target, amount)
        if not outcome then return nil, { 'invalid', i - 1, 'total' } end
      end
      if before then
        logged[i], fresh, counted = outcome, fresh + (outcome == 'u' and 0 or 1), counted + (outcome == 'k' and 1 or 0)
      end
    end
    outcomes[i] = outcome
  end
  local sums, packed, tallies = {}, pack_outcomes(outcomes)
  for _, target in ipairs(targets) do
    if target ~= UNKNOWN then sums[#sums + 1] = target end
  end
  if not before then fresh, counted = columns.size - (tallies.u or 0), tallies.k or 0 end
  tallies.k = nil
  return {
    packed = packed, logged = before and pack_outcomes(logged) or packed, tallies = before and uncounted(outcomes, before) or tallies,
    events_set = set, fresh = fresh, counted = counted, sums = sums,
  }
end
