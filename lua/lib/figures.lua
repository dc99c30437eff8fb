-- The figures of brands and campaigns after a call, in the format of replies: brands `id:daily_spend:monthly_spend:daily_limit:monthly_limit;`,
-- campaigns `id:causes;`. Figures are of the first two budgets of the list only; causes include every budget. A third text follows, `id:ms;`, of campaigns
-- that may spend again at an instant which the clock alone decides (lib/retry.lua), and a fourth, `id:ppm;`, of those whose pass rate is below 1000000; the
-- third is empty then where there is none.
-- outcomes: of the call, where it may have refused anything.
-- include: lib/plan.lua
-- include: lib/retry.lua
local function figures_of(id, brand)
  local daily, monthly = brand.budgets[1], brand.budgets[2]
  return string.format('%s:%d:%d:%s:%s', id, daily.spent, monthly.spent, optional(daily.limit), optional(monthly.limit))
end

local function figures(plans, now, outcomes)
  local brand_lines, campaign_lines, masks, starts, rates, refused = {}, {}, {}, {}, {}, outcomes and string.find(outcomes, 'x', 1, true)
  for id, brand in pairs(plans.brands) do
    brand_lines[#brand_lines + 1] = figures_of(id, brand)
    masks[id] = budget_mask(brand)
  end
  for id, campaign in pairs(plans.campaigns) do
    local brand = plans.brands[campaign.brand_id]
    if brand then
      local mask = gates_of(brand, campaign, now) + masks[campaign.brand_id] + budget_mask(campaign)
      campaign_lines[#campaign_lines + 1] = id .. (mask == 0 and ':0' or ':' .. mask)
      local at = (campaign.starts or refused) and retry_text(brand, campaign, now)
      if at then starts[#starts + 1] = id .. ':' .. at end
      local rate = (brand.pace or campaign.pace) and pass_rate(brand, campaign) or ALL
      if rate < ALL then rates[#rates + 1] = id .. ':' .. text(rate) end
    end
  end
  local starts_text = (starts[1] or rates[1]) and table.concat(starts, ';') or nil
  return table.concat(brand_lines, ';'), table.concat(campaign_lines, ';'), starts_text, rates[1] and table.concat(rates, ';')
end
