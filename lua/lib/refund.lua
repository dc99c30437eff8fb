-- Refunds: what is stored of them, their bounds, and their effect on the counters. Beside an event's own field, the event window has:
--   `-<brand>:<event>` -> `<campaign>,<micros>`              the refund of the event
--   `-<brand>:<event>,<refund id>` -> `<campaign>,<micros>`  a partial refund with an id of its own
--   `=<brand>:<event>` -> `<micros>`                         the sum of all of them, which only grows
-- An event's own value is `<campaign>,<micros>,<day>` and, of a spend in a flight, `,<counter of the flight>` (lib/flights.lua).
-- No id has a comma, so these names never collide. A refund that the spend log must decide ends with `,w` while it is pending, and with its cause (`,xu`)
-- after it was refused.
-- include: lib/call.lua
-- include: lib/calendar.lua
-- include: lib/plan.lua
-- include: lib/dedup.lua
-- include: lib/changes.lua
-- include: lib/plan_changes.lua
-- include: lib/journal.lua
-- include: lib/zone_entry.lua
-- include: lib/text.lua
local FIRST_DAY = 18262 -- 2020-01-01: no data of this engine is older; jobs open a period for each day from the oldest refund's on

local function refund_names(brand_id, event, part)
  local spend = brand_id .. ':' .. event
  local whole = '-' .. spend
  return { spend = spend, whole = whole, own = part == '' and whole or whole .. ',' .. part, total = '=' .. spend }
end

-- Looks up an event and its refunds; nil when a hash was lost.
local function look_up_refunds(dedup, names)
  return look_up(dedup, { names.spend, names.whole, names.own, names.total })
end

-- The sum of an event's refunds so far. Scripts of earlier releases wrote no sum.
local function refunded_before(seen, names)
  if seen[names.total] then return tonumber(seen[names.total]) end
  return tonumber(seen[names.whole] and string.match(seen[names.whole], '^%d+,(%d+)$') or 0)
end

-- The budgets of a brand, or of a campaign's own, whose current period has a given day or is a given flight. A lifetime has all days.
local function open_budgets(owner, day, flight)
  local open, fields = {}, counters_of(day, month_of(day), flight ~= '' and 'f:' .. flight or LIFETIME)
  for _, budget in ipairs(owner.budgets) do
    if fields[budget.name] == budget.field or budget.field == LIFETIME then open[#open + 1] = budget end
  end
  return open
end

-- The counter of a spend's flight as it was stored, '' where the campaign has none of that number: a caller may have stored any digits.
local function stored_flight(campaign, flight)
  if not string.find(flight, '^[1-9]%d?%d?%d?%d?$') then return '' end
  return redis.call('HGET', campaign.key, 'f:' .. flight) and flight or ''
end

-- What the counter of a refund's flight has, where that is not the flight in force; nil where there is none.
local function past_flight(campaign, flight)
  if flight == '' or flight == campaign.flight then return nil end
  local counted = redis.call('HGET', campaign.key, 'f:' .. flight)
  return counted and stored(counted) or nil
end

-- The cause of a refusal where an open counter of the day is below the amount, because no refund takes a counter below 0. nil where none is.
local function too_small(brand, campaign, amount, day, today, flight)
  if day == today and campaign.daily < amount then return 'xd' end
  if month_of(day) == month_of(today) and campaign.monthly < amount then return 'xm' end
  for _, budget in ipairs(open_budgets(campaign, day, flight)) do
    if budget.spent < amount then return 'xl' end
  end
  local in_flight = past_flight(campaign, flight)
  if in_flight and in_flight < amount then return 'xl' end
  for _, budget in ipairs(open_budgets(brand, day, flight)) do
    if budget.spent < amount then return 'xb' end
  end
end

-- Stores a refund in the event window, and the shard's own fields. Call it after the journal entry was appended.
local function remember_refund(shard, events, ...)
  local shard_fields = { 'now', text(shard.now), 'n', text(shard.n) }
  rotate_hashes(events, shard_fields)
  redis.call('HSET', events.write, ...)
  redis.call('HSET', shard_key, unpack(shard_fields))
end

-- The journal's line of a refund.
local function line_of(kind, refund)
  local line = { kind, refund.campaign, refund.event, refund.digits, text(refund.day) }
  if refund.part ~= '' then line[6] = refund.part end
  return table.concat(line, ',') .. ';'
end

-- Lowers the open counters of the refund's day, and writes the refund to the journal and the event window. Returns nil, or the reply.
-- refund: {campaign, event, digits, amount, day, part, flight}; flight: the counter of its spend's flight, '' where it was in none
local function give_back(shard, plans, events, names, before, refund)
  local campaign = plans.campaigns[refund.campaign]
  local brand = plans.brands[campaign.brand_id]
  local today = brand.day
  for _, owner in ipairs({ brand, campaign }) do
    for _, budget in ipairs(open_budgets(owner, refund.day, refund.flight)) do
      note_before(budget)
      budget.spent = budget.spent - refund.amount
    end
  end
  if refund.day == today then campaign.daily = campaign.daily - refund.amount end
  if month_of(refund.day) == month_of(today) then campaign.monthly = campaign.monthly - refund.amount end
  brand.charged, campaign.charged = true, true
  local moved, messages = plan_changes(plans, shard.now)
  local entry = { 'h', line_of(refund.day == today and 'F' or 'C', refund) }
  if refund.flight ~= '' then entry[3], entry[4] = 'v', refund.campaign .. ':' .. refund.flight end
  local zoned, begun = add_zones(entry, plans.brands, shard.now), add_carries(entry, plans.brands)
  local failed = append(shard, journal_key, entry, moved, zoned or begun)
  if failed then return failed end
  -- A lifetime counter that begins later adds the months before this one from the log, which must have this entry then (publish.lua).
  if shard.layout == WITH_OWN_LIMITS and month_of(refund.day) ~= month_of(today) then redis.call('HSET', shard_key, 'late_n', text(shard.n)) end
  remember_refund(shard, events, names.own, refund.campaign .. ',' .. refund.digits, names.total, text(before + refund.amount))
  local in_flight = past_flight(campaign, refund.flight)
  if in_flight then redis.call('HSET', campaign.key, 'f:' .. refund.flight, text(in_flight - refund.amount)) end
  write_plans(plans)
  add_rates(plans, shard.now, messages)
  publish_messages(shard, messages)
end
