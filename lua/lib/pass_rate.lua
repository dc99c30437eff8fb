-- The pass rate of a paced owner: which part of its offers should be tried in this minute, so that few tries are refused. It is advice and refuses
-- nothing: the gate (lib/pace.lua) stands behind it. The first call of a minute sets it, and it holds for that minute only.
--   demand  what was asked in a minute, divided by the rate at which it was asked, smoothed: three parts of what it was before, one of the last minute
--   rate    1.1 times what this minute may spend, divided by the demand, in ppm, from 1000 to 1000000
-- A minute without a call counts as one in which nothing was asked: else a rate that is low once would keep itself low where offers are few.
-- Asked are tries and holds that were accepted or that pacing alone refused, and what is drawn from leases. All numbers are whole and below 2^53.
-- include: lib/curve.lua
-- include: lib/text.lua
local ALL, LEAST, MOST_ASKED = 1000000, 1000, 99999999999999

-- What would have been asked without a rate; at most MOST_ASKED.
local function whole_demand(asked, rate)
  local rest = asked % rate
  local times = (asked - rest) / rate
  if times >= 100000000 then return MOST_ASKED end
  return math.min(times * ALL + quotient(rest * ALL, rate), MOST_ASKED)
end

-- The demand of the present minute; 0 where none is known.
local function demand_of(minute)
  if not minute.last_rate then return 0 end
  local asked, idle = whole_demand(minute.last_asked, minute.last_rate), minute.no - minute.last_no - 1
  local demand = minute.last_demand > 0 and quotient(3 * minute.last_demand + asked, 4) or asked
  while idle > 0 and demand > 0 do demand, idle = quotient(3 * demand, 4), idle - 1 end
  return demand
end

local function rate_of(wanted, demand)
  local most = math.max(wanted, 0)
  most = most < demand and most + quotient(most, 10) or most
  if most >= demand then return ALL end
  if demand > 9000000000 then most, demand = quotient(most, 100000), quotient(demand, 100000) end
  return math.max(quotient(most * ALL, demand), LEAST)
end

-- Sets asked, demand and rate of a minute (lib/minute.lua) at its first call, from those of the minute before. wanted: gives what the minute may spend.
local function add_rate(minute, wanted)
  if minute.last_rate and minute.last_no == minute.no then
    minute.asked, minute.demand, minute.rate = minute.last_asked, minute.last_demand, minute.last_rate
    return
  end
  local demand = demand_of(minute)
  minute.asked, minute.demand, minute.rate, minute.begun = 0, demand, demand == 0 and ALL or rate_of(wanted(), demand), true
end

-- The rate of a campaign: its brand's and its own together, since each is measured on what the other lets pass.
local function both_rates(of_brand, own)
  return math.max(quotient(of_brand * own, ALL), LEAST)
end

local function pass_rate(brand, campaign)
  return both_rates(brand.pace and brand.pace.minute.minute.rate or ALL, campaign.pace and campaign.pace.minute.minute.rate or ALL)
end

-- Adds to what was asked in this minute, in the tables.
local function note_asked(owner, amount)
  if not owner.pace or amount == 0 then return end
  local minute = owner.pace.minute.minute
  minute.asked, owner.asked = math.min(minute.asked + amount, MOST_ASKED), true
end

-- Adds the messages to watchers of rates that a call set and wrote. They keep the format of a budget that is free, which the release before takes for one
-- that it does not know and that changes nothing.
local function add_rates(plans, now, messages)
  for name, owners in pairs({ pass_rate = plans.brands, campaign_pass_rate = plans.campaigns }) do
    for id, owner in pairs(owners) do
      local minute = owner.pace and owner.pace.minute.minute
      if minute and minute.begun and minute.rate < ALL and (owner.asked or owner.charged) then
        messages[#messages + 1] = id .. ' ' .. name .. ':' .. text(minute.rate) .. ' restored ' .. text(now)
      end
    end
  end
end

-- The rate of an owner as a further part of a line, `:rate=<ppm>`, where it is below 1.
local function rate_part(owner)
  local rate = owner.pace and owner.pace.minute.minute.rate or ALL
  return rate < ALL and ':rate=' .. text(rate) or ''
end
