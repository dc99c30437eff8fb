-- Late spends in the slow path: a call in which any spend counts to the previous day (lib/grace.lua). Its spends are evaluated one by one, each against
-- the budgets of the day to which it is booked. Gates and flights are those of the call's instant, as for every spend. Holds are settled later, so they
-- take nothing from a day or month that is over.
-- include: lib/grace.lua
-- include: lib/call.lua
-- include: lib/plan.lua
-- include: lib/budgets.lua
-- include: lib/outcomes.lua
-- include: lib/by_one.lua
-- include: lib/steps.lua

-- The late spends of a call: {days = {position = day to which it is booked}, to_previous, whether any is booked to the previous day of its brand}. nil
-- where there are none, or the shard has no grace.
local function late_of(columns, plans, now)
  local got, days, any, to_previous = nil, {}, false, false
  for i, occurred in pairs(columns.instants) do
    local campaign = plans.campaigns[columns.sums[columns.places[i]].campaign]
    local brand = campaign and campaign.zone and plans.brands[campaign.brand_id]
    local zone = brand and brand.zone or nil
    local day, starts, ends = previous_day(now, zone)
    if occurred + 0 < ends then
      got = got or redis.call('HMGET', shard_key, 'grace', 'closed', 'late_from')
      if not whole(got[1]) or got[1] == '0' then return nil end
      local closed = got[2]
      if zone then closed = redis.call('HGET', brand.key, 'closed') end
      local booked = occurred + 0 >= starts and takes_late(now, got[1], closed, zone, got[3])
      days[i], any, to_previous = booked and day or day + 1, true, to_previous or booked
    end
  end
  return any and { days = days, to_previous = to_previous, now = now, past = {} } or nil
end

-- The journal's field `y`: `<position>:<day to which it is booked>` of each late spend, joined by `,`.
local function late_line(late)
  local parts, places = {}, {}
  for i in pairs(late.days) do places[#places + 1] = i end
  table.sort(places)
  for at, i in ipairs(places) do parts[at] = text(i - 1) .. ':' .. text(late.days[i]) end
  return table.concat(parts, ',')
end

-- The limits at the end of a day by an owner's field `was` (lib/was.lua), an array of texts; nil where they are the present ones.
local function limits_then(was, day)
  local of_day, joined = string.match(was or '', '^(%d+):(.*)$')
  if not of_day or tonumber(of_day) ~= day then return nil end
  local limits = {}
  for limit in string.gmatch(joined .. ':', '(%d*):') do limits[#limits + 1] = limit end
  return limits
end

-- A budget of a period that is over; nil where its counter is malformed.
local function past_budget(cause, field, limit, spent)
  local counted = stored(spent)
  return counted and { cause = cause, field = field, limit = tonumber(limit), spent = counted, past = true }
end

-- The budgets of a brand on a past day. Those whose period goes on are the present ones. nil where a value is malformed.
local function past_brand(brand, now)
  local day, _, ends = previous_day(now, brand.zone)
  local day_field, month_field, budgets = 'd:' .. text(day), 'm:' .. text(month_of(day)), {}
  local got = redis.call('HMGET', brand.key, 'was'
    -- each brand budget
    , $counter
    -- end each
  )
  local limits = limits_then(got[1], day) or (brand.n1 and limits_by(brand.given, brand.n1, brand.n2, ends - 1))
  -- What was carried into the present day is not left of the day before.
  local carry = brand.carry
  if carry and carry.before then
    limits = limits or { '', optional(brand.budgets[2].limit) }
    limits = { text(math.max(carry.before - carry.carried, 0)), limits[2] }
  end
  -- each brand budget
  budgets[$i] = brand.budgets[$i]
  if budgets[$i].field ~= $counter then
    budgets[$i] = past_budget($cause, $counter, limits and limits[$i] or optional(brand.budgets[$i].limit), got[$i + 1])
    if not budgets[$i] then return nil end
  end
  -- end each
  -- The minute of a paced brand goes on.
  for i = #budgets + 1, #brand.budgets do budgets[i] = brand.budgets[i] end
  return { key = brand.key, budgets = budgets, day = day, same_month = month_of(day) == brand.month }
end

-- The same of a campaign's own budgets, with its counters of that day and, where it is over, that month.
local function past_campaign(campaign, now)
  local day, _, ends = previous_day(now, campaign.zone)
  local today_field, this_month_field = period_fields(campaign.day, campaign.month)
  local day_field, month_field, flight_field, budgets = 'd:' .. text(day), 'm:' .. text(month_of(day)), false, {}
  local got = redis.call('HMGET', campaign.key, 'was', day_field, month_field)
  local own = { string.match(campaign.limits or NO_LIMITS, OWN_LIMITS) }
  local limits = limits_then(got[1], day) or (campaign.n1 and limits_by(own, campaign.n1, campaign.n2, ends - 1)) or own
  local daily, monthly, same_month = stored(got[2]), stored(got[3]), month_of(day) == campaign.month
  if not daily or not monthly then return nil end
  local spent = { [day_field] = got[2], [month_field] = got[3] }
  for _, budget in ipairs(campaign.budgets) do
    if budget.field ~= today_field and (same_month or budget.field ~= this_month_field) then budgets[#budgets + 1] = budget end
  end
  -- each campaign budget
  if $counter and $counter ~= this_month_field and (limits[$limit] or '') ~= '' then
    budgets[#budgets + 1] = past_budget($cause, $counter, limits[$limit], spent[$counter])
  end
  -- end each
  return { key = campaign.key, budgets = budgets, daily = daily, monthly = monthly, day = day, same_month = same_month }
end

-- Brand and campaign as they were on the day to which a late spend is booked, the one before theirs; read once a call. nil where a value is malformed.
local function past_of(late, brand, campaign)
  local past = late.past
  past[brand] = past[brand] or past_brand(brand, late.now)
  past[campaign] = past[campaign] or past_campaign(campaign, late.now)
  return past[brand], past[campaign]
end

-- The causes of budgets that an amount would exceed; those of an ended period have nothing on hold.
local function unfit_then(budgets, held, amount)
  local mask = 0
  for _, budget in ipairs(budgets) do
    if not fits(budget.limit, budget.spent, budget.past and 0 or held, amount) then mask = mask + budget.cause end
  end
  return mask
end

-- Counts an amount on a past day, in the tables. False when a total would exceed MAX_TOTAL.
local function count_then(brand, campaign, brand_then, campaign_then, amount)
  for _, owner in ipairs({ brand_then, campaign_then }) do
    for _, budget in ipairs(owner.budgets) do
      if not budget.past then note_before(budget) end
      budget.spent = budget.spent + amount
      if budget.spent > MAX_TOTAL then return false end
    end
    owner.charged = true
  end
  -- What a step did to the present day is told by whoever counts, to whatever day.
  for _, owner in ipairs({ brand, campaign }) do
    for _, budget in ipairs(owner.budgets) do
      if budget.stepped then note_before(budget) end
    end
  end
  campaign_then.daily, campaign_then.monthly = campaign_then.daily + amount, campaign_then.monthly + amount
  if campaign_then.same_month then campaign.monthly = campaign.monthly + amount end
  brand.charged, campaign.charged = true, true
  note_trip(campaign)
  return math.max(campaign_then.daily, campaign_then.monthly, campaign.monthly) <= MAX_TOTAL
end
