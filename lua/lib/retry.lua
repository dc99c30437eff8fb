-- When a spend that pacing refuses now would pass.
-- include: lib/plan.lua
-- include: lib/pace.lua
-- include: lib/flights.lua
-- include: lib/own_held.lua

-- The first instant from `from` on at which pacing lets a try of a campaign pass, if nothing is spent and no hold ends until then. nil where pacing would
-- not stop it, where it passes at no instant of that day, and where the campaign may not run then. campaign: {pace, on, archived, schedule, limits, f1, f2,
-- flight, id}.
local function paced_until(brand, campaign, now, from)
  local wanted, paced = from, { { brand.pace, brand.held }, { campaign.pace, campaign.pace and held_by(brand, campaign.id) } }
  for _, owner in pairs(paced) do
    local pace = owner[1]
    -- A minute that has spent its cap: the next one begins with nothing.
    if pace and pace.most <= pace.minute.spent then from = math.max(from, now - now % 60000 + 60000) end
  end
  local passes = from
  for _, owner in pairs(paced) do
    if owner[1] then
      local at = earliest(owner[1], owner[2], now, from)
      if not at then return nil end
      passes = math.max(passes, at)
    end
  end
  local outside, flight = false, nil
  if campaign.limits then
    local _, _, counter, is_outside = limits_at(campaign.limits, campaign.f1, campaign.f2, passes)
    outside, flight = is_outside, counter
  end
  -- In another flight another budget decides.
  if flight ~= campaign.flight and wanted == now then return nil end
  return closed_gates(campaign.on, campaign.archived or brand.archived, campaign.schedule, passes, outside, campaign.broken) == 0 and passes or nil
end

-- Whether pacing refuses the next try or hold of a campaign.
local function is_held_back_by(brand, campaign)
  return is_paced_out(brand, brand.held) or (campaign.pace ~= nil and is_paced_out(campaign, held_by(brand, campaign.id)))
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

-- When the campaign of a refused try may spend again, as text, where the clock alone decides: at its next flight, when pacing lets it, or in the next
-- minute. nil where none of these stops it, and where two of them stop different spends of a call.
local function retry_text(brand, campaign, now)
  local at, paced = campaign.starts, brand.pace or campaign.pace
  local held_back = paced and is_held_back_by(brand, campaign)
  if not at and campaign.awaited then at = not held_back and next_minute(brand, campaign) or nil end
  if at and paced then
    at = paced_until(brand, campaign, now, at)
  elseif held_back and not campaign.awaited then
    at = paced_until(brand, campaign, now, now)
  end
  return at and text(at)
end
