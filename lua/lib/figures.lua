-- The figures of brands and campaigns after a call, in the format of replies: brands `id:daily_spend:monthly_spend:daily_limit:monthly_limit;`,
-- campaigns `id:causes;`. Figures are of the first two budgets of the list only; causes include every budget. A third text follows, `id:ms;`, of campaigns
-- between two flights (when the next begins) and of those that a call was refused of for their minute alone (when the next begins).
-- include: lib/plan.lua
local function figures_of(id, brand)
  local daily, monthly = brand.budgets[1], brand.budgets[2]
  return string.format('%s:%d:%d:%s:%s', id, daily.spent, monthly.spent, optional(daily.limit), optional(monthly.limit))
end

-- When a minute's limit permits the largest amount that was refused for it alone: the beginning of the next minute. nil where the amount is above the limit
-- beside what is on hold, or something else stops the campaign by then.
local function next_minute(brand, campaign)
  local row = campaign.brake.row
  local at = (row.minute.no + 1) * 60000
  if not fits(row.limit, 0, held_by(brand, campaign.id), campaign.awaited) then return nil end
  local _, _, _, outside = limits_at(campaign.limits, campaign.f1, campaign.f2, at)
  local closed = closed_gates(campaign.on, campaign.archived or brand.archived, campaign.schedule, at, outside, campaign.broken)
  return closed == 0 and at or nil
end

local function figures(plans, now)
  local brand_lines, campaign_lines, masks, starts = {}, {}, {}, {}
  for id, brand in pairs(plans.brands) do
    brand_lines[#brand_lines + 1] = figures_of(id, brand)
    masks[id] = budget_mask(brand)
  end
  for id, campaign in pairs(plans.campaigns) do
    local brand = plans.brands[campaign.brand_id]
    if brand then
      local mask = gates_of(brand, campaign, now) + masks[campaign.brand_id] + budget_mask(campaign)
      campaign_lines[#campaign_lines + 1] = id .. (mask == 0 and ':0' or ':' .. mask)
      local again = campaign.starts or (campaign.awaited and next_minute(brand, campaign))
      if again then starts[#starts + 1] = id .. ':' .. text(again) end
    end
  end
  return table.concat(brand_lines, ';'), table.concat(campaign_lines, ';'), starts[1] and table.concat(starts, ';')
end
