-- The text form of a call: `<campaign_id>,<amount_micros>,<event_id or nothing>,<occurred_ms or nothing>;` a spend.
-- include: lib/call.lua
-- include: lib/constants.lua

-- The reply that names the first bad field of a malformed call.
local function first_bad(body)
  local index, ends = 0, 1
  for start, digits, event, occurred, stop in string.gmatch(body, '()%d+,([^,;]*),([^,;]*),([^,;]*);()') do
    if start ~= ends or index >= MAX_SPENDS then break end
    if not amount_of(digits) then return { 'invalid', index, 'amount' } end
    if event ~= '' and not is_id(event, 64) then return { 'invalid', index, 'event_id' } end
    if occurred ~= '' and (#occurred > 15 or not string.find(occurred, '^%d+$') or tonumber(occurred) > LAST_INSTANT) then
      return { 'invalid', index, 'occurred_at' }
    end
    index, ends = index + 1, stop
  end
  return { 'invalid', index, 'spends' }
end

-- Parses the spends of a call into columns, an array each: places (of each one's campaign among the sums), amounts, digits (the amounts as text), events
-- ('' where there is none); with their size, their sums per campaign ({campaign, amount, times}), and instants ({position = when it occurred, as text}). nil where anything is
-- malformed: first_bad names it.
local function parse_columns(body)
  local places, amounts, digits_of, events, sums, place_of, instants = {}, {}, {}, {}, {}, {}, nil
  local size, length, with_ids = 0, 0, false
  for campaign, digits, event, occurred in string.gmatch(body, '(%d+),(%d+),([^,;]*),(%d*);') do
    local amount = #digits <= 13 and tonumber(digits) or 0
    if size >= MAX_SPENDS or amount < 1 or amount > MAX_AMOUNT then return nil end
    -- The pattern for letters and digits alone takes half the time.
    if event ~= '' and (#event > 64 or not string.find(event, '^%w+$') and not is_id(event, 64)) then return nil end
    if occurred ~= '' and (#occurred > 15 or tonumber(occurred) > LAST_INSTANT) then return nil end
    size, length = size + 1, length + #campaign + #digits + #event + #occurred + 4
    local place = place_of[campaign]
    if not place then
      place = #sums + 1
      place_of[campaign], sums[place] = place, { campaign = campaign, amount = 0, times = 0 }
    end
    local sum = sums[place]
    sum.amount, sum.times = sum.amount + amount, sum.times + 1
    places[size], amounts[size], digits_of[size], events[size] = place, amount, digits, event
    with_ids = with_ids or event ~= ''
    if occurred ~= '' then
      instants = instants or {}
      instants[size] = occurred
    end
  end
  if size == 0 or length ~= #body then return nil end
  return {
    size = size, sums = sums, places = places, amounts = amounts, digits = digits_of, events = with_ids and events or nil, instants = instants,
  }
end
