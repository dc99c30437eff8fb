-- Evaluates spends by their sums. Where the sums fit, every spend is counted in any order, so none needs a look of its own.
-- include: lib/plan.lua
-- include: lib/room.lua
-- include: lib/own_held.lua
-- include: lib/constants.lua
-- include: lib/call.lua

-- Whether all spends are counted. Amounts are above 0, so where a sum fits, each of its parts does.
local function all_fit(sums, verb, plans, now)
  local totals = {}
  for _, sum in ipairs(sums) do
    local campaign = plans.campaigns[sum.campaign]
    local brand = campaign and plans.brands[campaign.brand_id]
    if not brand or (verb == 't' and gates_of(brand, campaign, now) > 0) then return false end
    if campaign.budgets[1] and not has_room(campaign, held_by(brand, campaign.id), verb, sum.amount) then return false end
    -- Where the breaker opens in the middle, the tries after it are refused.
    if verb == 't' and campaign.brake and sum.amount > before_trip(campaign.brake) then return false end
    totals[brand] = (totals[brand] or 0) + sum.amount
  end
  for brand, total in pairs(totals) do
    if not has_room(brand, brand.held, verb, total) then return false end
  end
  return true
end

-- Counts sums ({campaign, amount, asked}) in the tables of plans; writes nothing. asked: what pacing let pass or refused, where that is not the amount of a
-- call that asks.
local function count_sums(sums, plans, verb)
  local totals = {}
  for _, sum in ipairs(sums) do
    local campaign, asked = plans.campaigns[sum.campaign], sum.asked or (verb ~= 'r' and sum.amount or 0)
    note_asked(campaign, asked)
    note_asked(plans.brands[campaign.brand_id], asked)
    if sum.amount > 0 then
      count_campaign(campaign, sum.amount)
      totals[campaign.brand_id] = (totals[campaign.brand_id] or 0) + sum.amount
    end
  end
  for brand_id, total in pairs(totals) do count_budgets(plans.brands[brand_id], total) end
end

-- Returns the verdict on columns of which every spend fits. remember: event ids and their values to store.
local function by_sums(columns, plans, verb, remember)
  count_sums(columns.sums, plans, verb)
  return { packed = 'k*' .. columns.size, events_set = remember or {}, fresh = columns.size, counted = columns.size }
end
