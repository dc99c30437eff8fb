-- Evaluates spends one by one, in their order, each by what the ones before it left. It makes no table per spend, because a call may have 1,000.
-- include: lib/plan.lua
-- include: lib/budgets.lua
-- include: lib/constants.lua
-- include: lib/calendar.lua
-- include: lib/text.lua
-- include: lib/outcomes.lua
-- include: lib/pace.lua
-- include: lib/brake.lua

-- The room of a brand, or of a campaign's own budgets: {left, the least that any budget or MAX_TOTAL leaves; from, the value of left before the call;
-- gap, how much pacing lets pass before it refuses (lib/pace.lua); lefts and causes, an array each, of the budgets}. For record calls only MAX_TOTAL bounds it.
local function room_of(owner, held, verb)
  local lefts, causes, left = {}, {}, math.huge
  for i, budget in ipairs(owner.budgets) do
    lefts[i], causes[i] = verb == 't' and left_of(budget.limit, budget.spent, held) or math.huge, budget.cause
    left = math.min(left, lefts[i], MAX_TOTAL - budget.spent)
  end
  local gap = verb == 't' and owner.pace and gap_of(owner.pace, held) or math.huge
  return { left = left, from = left, gap = gap, lefts = lefts, causes = causes }
end

-- The target of the spends of one sum: campaign and brand, the mask of closed gates, the room of its brand (NO_ROOM where a gate is closed), the room of
-- its own budgets before the call (ANY_ROOM where it has none), the amounts counted and asked so far, and that above which its breaker opens.
local NO_ROOM, ANY_ROOM = { left = -1 }, { left = math.huge, gap = math.huge, lefts = {} }
local function target_of(campaign_id, brand_id, closed, room, own)
  return {
    campaign = campaign_id, brand_id = brand_id, closed = closed, room = closed == 0 and room or NO_ROOM, of_brand = room, own = own, own_left = own.left,
    amount = 0, asked = 0, refusals = {}, trips_above = math.huge,
  }
end

-- The targets of sums, in their order; UNKNOWN where a campaign is not known.
local UNKNOWN = { room = NO_ROOM }
local function targets_of(sums, verb, plans, now)
  local targets, rooms = {}, {}
  for i, sum in ipairs(sums) do
    local campaign = plans.campaigns[sum.campaign]
    local brand = campaign and plans.brands[campaign.brand_id]
    if brand then
      rooms[brand] = rooms[brand] or room_of(brand, brand.held, verb)
      local own = campaign.budgets[1] and room_of(campaign, held_by(brand, campaign.id), verb) or ANY_ROOM
      targets[i] = target_of(sum.campaign, campaign.brand_id, verb == 't' and gates_of(brand, campaign, now) or 0, rooms[brand], own)
      if campaign.flight then targets[i].of_flight = ',' .. campaign.flight end
      if brand.zone then targets[i].of_day = ',' .. text(brand.day) end
      targets[i].plan = campaign.brake and campaign
      if campaign.brake and verb == 't' then targets[i].trips_above = before_trip(campaign.brake) end
    else
      targets[i] = UNKNOWN
    end
  end
  return targets
end

-- Whether pacing refuses the next spend of a target, of its brand or its own.
local function is_held_back(target)
  local room = target.of_brand
  return room.from - room.left >= room.gap or target.amount >= target.own.gap
end

-- The outcome of an amount that does not fit; nil where only a total would exceed MAX_TOTAL.
local function refused_outcome(target, amount)
  if target == UNKNOWN then return 'u' end
  local room, mask = target.of_brand, target.closed
  local with_counted = amount + room.from - room.left
  for i, left in ipairs(room.lefts) do
    if with_counted > left then mask = mask + room.causes[i] end
  end
  for i, left in ipairs(target.own.lefts) do
    if target.amount + amount > left then mask = mask + target.own.causes[i] end
  end
  if is_held_back(target) then mask = mask + PACING end
  if mask == 0 then return nil end
  if is_asked(mask) then target.asked = target.asked + amount end
  if mask == RATE and target.plan then target.plan.awaited = math.max(target.plan.awaited or 0, amount) end
  local outcome = target.refusals[mask] or 'x' .. mask
  target.refusals[mask] = outcome
  return outcome
end

-- The outcome of a repeated event: duplicate, or conflict where its content differs.
local function repeat_outcome(known, content)
  return string.match(known, '^%d+,%d+') == content and 'd' or 'c'
end

-- The dedup names of the events of columns: one per spend (false where it has no event), and the list of distinct names.
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

-- Evaluates without counting in the plans and without writing. before: the outcomes of an earlier call of the same id. seen: {name = stored value}.
-- Returns the verdict {packed and logged outcomes, tallies of those that were not counted, events_set, numbers of fresh and counted spends, counted
-- sums}; or nil and the reply.
local function by_one(columns, targets, before, verb, seen, now)
  local places, amounts, digits, names, kept = columns.places, columns.amounts, columns.digits, columns.names, columns.kept
  local day, outcomes, logged, set, fresh, counted = ',' .. text(day_of(now)), {}, {}, {}, 0, 0
  local paced = false
  for _, target in ipairs(targets) do
    if target ~= UNKNOWN and (target.of_brand.gap < math.huge or target.own.gap < math.huge) then paced = true end
  end
  for i = 1, columns.size do
    local outcome = before and outcome_kept(before, i)
    if outcome then
      logged[i] = outcome == 'k' and 'p' or outcome
    else
      local target, amount, name = targets[places[i]], amounts[i], names and names[i]
      local room = target.room
      if name and seen[name] and target ~= UNKNOWN then
        outcome = repeat_outcome(seen[name], target.campaign .. ',' .. (digits and digits[i] or text(amount)))
      elseif amount <= room.left and target.amount + amount <= target.own_left and (not paced or not is_held_back(target)) then
        outcome = 'k'
        room.left, target.amount, target.asked = room.left - amount, target.amount + amount, target.asked + (verb ~= 'r' and amount or 0)
        if target.amount > target.trips_above then target.room, target.closed = NO_ROOM, BREAKER end
        if name then
          local value = kept and kept[2 * i] or target.campaign .. ',' .. (digits and digits[i] or text(amount)) .. (target.of_day or day) .. (target.of_flight or '')
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
