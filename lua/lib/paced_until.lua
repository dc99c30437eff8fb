-- The instant at which pacing lets a try pass. The fast path of one spend makes it where pacing refuses.
-- include: lib/pace.lua
-- include: lib/flights.lua
-- include: lib/own_held.lua
-- include: lib/gates.lua
-- include: lib/local_day.lua

-- The first instant from `from` on at which pacing lets a try of a campaign pass, if nothing is spent and no hold ends until then. nil where pacing would
-- not stop it, where it passes at no instant of that day, and where the campaign may not run then. campaign: {pace, on, archived, schedule, limits, f1, f2,
-- flight, id}. asked: the instant that was asked for, where from is a later one.
local function paced_until(brand, campaign, now, from, asked)
  local wanted, paced = asked or from, { { brand.pace, brand.held }, { campaign.pace, campaign.pace and held_by(brand, campaign.id) } }
  for _, owner in pairs(paced) do
    local pace = owner[1]
    -- A minute that has spent its cap: the next one begins with nothing.
    if pace and pace.budget.limit and pace.most <= pace.minute.spent then from = math.max(from, now - now % 60000 + 60000) end
  end
  local passes = from
  for _, owner in pairs(paced) do
    if owner[1] and owner[1].budget.limit then
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
  return closed_gates(campaign.on, campaign.archived or brand.archived, campaign.schedule, local_ms(brand.zone, passes), outside, campaign.broken, brand.paused) == 0 and passes or nil
end
