-- When a spend that pacing refuses now would pass.
-- include: lib/plan.lua
-- include: lib/pace.lua
-- include: lib/flights.lua
-- include: lib/own_held.lua
-- include: lib/gates.lua
-- include: lib/paced_until.lua
-- include: lib/steps.lua
-- include: lib/rollover.lua

-- Gives an owner's budgets the limits that are in force at an instant.
local function set_limits_at(owner, at)
  if not owner.n1 then return end
  local limits = limits_by(owner.given, owner.n1, owner.n2, at)
  if owner.carry then
    -- make: with_carry
    limits = { with_carry(limits[1], owner.carry.carried), limits[2] }
  end
  for _, budget in ipairs(owner.budgets) do
    local place = STEPPED[budget.name]
    if place then budget.limit = tonumber(limits[place]) end
  end
  if owner.pace and owner.pace.budget.limit then pace_at(owner.pace, at) end
end

-- The steps of a brand and its campaign that are to come: their instants, in order.
local function steps_ahead(brand, campaign, now)
  local ahead = {}
  for _, owner in ipairs({ brand, campaign }) do
    for _, step in ipairs({ owner.n1 or '', owner.n2 or '' }) do
      local at = string.match(step, '^%d+')
      if at and at + 0 > now then ahead[#ahead + 1] = at + 0 end
    end
  end
  table.sort(ahead)
  return ahead
end

-- As paced_until, with the limits that steps bring until then. nil also where a flight is spread over days.
local function stepped_until(brand, campaign, now, from)
  if not brand.n1 and not campaign.n1 then return paced_until(brand, campaign, now, from) end
  if campaign.given and campaign.given.even then return nil end
  local ahead, found = steps_ahead(brand, campaign, now), nil
  for i = 0, #ahead do
    local begins, ends = math.max(from, ahead[i] or now), ahead[i + 1] or math.huge
    if begins < ends then
      set_limits_at(brand, begins)
      set_limits_at(campaign, begins)
      found = paced_until(brand, campaign, now, begins, from)
      if found and found < ends then break end
      found = nil
    end
  end
  set_limits_at(brand, now)
  set_limits_at(campaign, now)
  return found
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
  local closed = closed_gates(campaign.on, campaign.archived or brand.archived, campaign.schedule, local_ms(brand.zone, at), outside, campaign.broken, brand.paused)
  return closed == 0 and at or nil
end

-- When the campaign of a refused try may spend again, as text, where the clock alone decides: at its next flight, when pacing lets it, or in the next
-- minute. nil where none of these stops it, and where two of them stop different spends of a call.
local function retry_text(brand, campaign, now)
  local at, paced = campaign.starts, brand.pace or campaign.pace
  local held_back = paced and is_held_back_by(brand, campaign)
  if not at and campaign.awaited then at = not held_back and next_minute(brand, campaign) or nil end
  if at and paced then
    at = stepped_until(brand, campaign, now, at)
  elseif held_back and not campaign.awaited then
    at = stepped_until(brand, campaign, now, now)
  end
  return at and text(at)
end
