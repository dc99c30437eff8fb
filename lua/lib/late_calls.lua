-- The second half of lib/late.lua: evaluates and writes a call with late spends.
-- include: lib/late.lua
-- include: lib/retry.lua

local function refused_as(brand, campaign, mask, amount)
  if is_asked(mask) then
    note_asked(brand, amount)
    note_asked(campaign, amount)
  end
  if mask == RATE then campaign.awaited = math.max(campaign.awaited or 0, amount) end
  return 'x' .. mask
end

-- The outcome of one spend that is not a repeat. Counts it in the tables where it is counted. nil where a total would exceed MAX_TOTAL, and false where a
-- stored value is malformed.
local function outcome_then(verb, late, plans, i, campaign, amount, now)
  local brand, day = plans.brands[campaign.brand_id], late.days[i]
  if day ~= brand.day - 1 then
    local mask = verb == 't' and refusal(brand, campaign, amount, now) + (is_held_back_by(brand, campaign) and PACING or 0) or 0
    if mask > 0 then return refused_as(brand, campaign, mask, amount) end
    if verb == 't' then
      note_asked(brand, amount)
      note_asked(campaign, amount)
    end
    return count(brand, campaign, amount) and 'k' or nil
  end
  local brand_then, campaign_then = past_of(late, brand, campaign)
  if not brand_then or not campaign_then then return false end
  if verb == 't' then
    local mask = gates_of(brand, campaign, now) + unfit_then(brand_then.budgets, brand.held, amount)
      + unfit_then(campaign_then.budgets, held_by(brand, campaign.id), amount)
    if mask > 0 then return refused_as(brand, campaign, mask, amount) end
  end
  if not count_then(brand, campaign, brand_then, campaign_then, amount) then return nil end
  late.counted = true
  return 'k'
end

-- Evaluates the spends of a call one by one and counts them in the tables; arguments and verdict as of by_one (lib/by_one.lua).
local function by_one_late(columns, before, verb, seen, plans, now)
  local late, outcomes, logged, set, fresh, counted = columns.late, {}, {}, {}, 0, 0
  for i = 1, columns.size do
    local outcome = outcome_kept(before, i)
    logged[i] = outcome == 'k' and 'p' or outcome
    if not outcome then
      local campaign_id, name, amount = columns.sums[columns.places[i]].campaign, columns.names and columns.names[i], columns.amounts[i]
      local campaign, content = plans.campaigns[campaign_id], campaign_id .. ',' .. columns.digits[i]
      if not campaign or not plans.brands[campaign.brand_id] then
        outcome = 'u'
      elseif name and seen[name] then
        outcome = repeat_outcome(seen[name], content)
      else
        outcome = outcome_then(verb, late, plans, i, campaign, amount, now)
        if outcome == false then return nil, invalidate_shard(shard_key, campaign.key) end
        if not outcome then return nil, { 'invalid', i - 1, 'total' } end
        if outcome == 'k' and name then
          local value = content .. ',' .. text(late.days[i] or campaign.day) .. (campaign.flight and ',' .. campaign.flight or '')
          seen[name], set[#set + 1], set[#set + 2] = value, name, value
        end
      end
      logged[i], fresh, counted = outcome, fresh + (outcome == 'u' and 0 or 1), counted + (outcome == 'k' and 1 or 0)
    end
    outcomes[i] = outcome
  end
  local packed, tallies = pack_outcomes(outcomes)
  tallies.k = nil
  return {
    packed = packed, logged = before and pack_outcomes(logged) or packed, tallies = before and uncounted(outcomes, before) or tallies,
    events_set = set, fresh = fresh, counted = counted,
  }
end

-- Adds to an entry which spends are late, and to which day each is booked. Returns its format where that day is over: a reader of the release before
-- would take the day of the entry.
local function add_late(entry, late, verdict)
  if verdict.counted == 0 then return nil end
  entry[#entry + 1], entry[#entry + 2] = 'y', late_line(late)
  return late.counted and '3' or nil
end

-- Writes the counters of the previous day, and of its month where that is over. shard_fields: what the call sets in the shard's hash.
local function write_late(late, shard, shard_fields)
  local any_month = false
  for _, owner in pairs(late.past) do
    local fields, day_field, month_field = {}, 'd:' .. text(owner.day), 'm:' .. text(month_of(owner.day))
    any_month = any_month or not owner.same_month
    for _, budget in ipairs(owner.budgets) do
      if budget.past then fields[#fields + 1], fields[#fields + 2] = budget.field, argument(budget.spent) end
    end
    if owner.daily then
      fields = { day_field, argument(owner.daily) }
      if not owner.same_month then fields[3], fields[4] = month_field, argument(owner.monthly) end
    end
    if owner.charged then redis.call('HSET', owner.key, unpack(fields)) end
  end
  -- A lifetime counter that begins later adds the months before this one from the log, which must have this entry then (publish.lua).
  if any_month then shard_fields[#shard_fields + 1], shard_fields[#shard_fields + 2] = 'late_n', text(shard.n) end
end
