-- The text form of a call: `<campaign_id>,<amount_micros>,<event_id or nothing>,<occurred_ms or nothing>;` a spend.
-- include: lib/call.lua
local LAST_INSTANT = 253402300799999 -- the end of the year 9999, beyond which neither Python nor PostgreSQL goes with us

-- The reply that names the first bad field of a call whose spends do not read.
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

-- The spends of a call as columns, with their sum a campaign ({campaign, amount, times}); nil where anything is amiss, which first_bad names.
local function parse_columns(body)
  local campaigns, digits_of, events, sums, by_campaign = {}, {}, {}, {}, {}
  local size, length, with_ids = 0, 0, false
  for campaign, digits, event, occurred in string.gmatch(body, '(%d+),(%d+),([^,;]*),(%d*);') do
    local amount = #digits <= 13 and tonumber(digits) or 0
    if size >= MAX_SPENDS or amount < 1 or amount > MAX_AMOUNT then return nil end
    -- Letters and digits alone are told in half the time.
    if event ~= '' and (#event > 64 or not string.find(event, '^%w+$') and not is_id(event, 64)) then return nil end
    if occurred ~= '' and (#occurred > 15 or tonumber(occurred) > LAST_INSTANT) then return nil end
    size, length = size + 1, length + #campaign + #digits + #event + #occurred + 4
    campaigns[size], digits_of[size], events[size] = campaign, digits, event
    with_ids = with_ids or event ~= ''
    local sum = by_campaign[campaign]
    if not sum then
      sum = { campaign = campaign, amount = 0, times = 0 }
      by_campaign[campaign], sums[#sums + 1] = sum, sum
    end
    sum.amount, sum.times = sum.amount + amount, sum.times + 1
  end
  if size == 0 or length ~= #body then return nil end
  return { size = size, campaigns = campaigns, digits = digits_of, events = events, sums = sums, with_ids = with_ids }
end

-- Columns as spends one by one.
local function rows_of(columns)
  local spends = {}
  for i, digits in ipairs(columns.digits) do
    spends[i] = { campaign = columns.campaigns[i], digits = digits, amount = tonumber(digits), event = columns.events[i] }
  end
  return spends
end
