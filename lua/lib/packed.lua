-- The packed form of a call: per-campaign sums that the script counts, and the single spends as one blob that goes to the journal as it is.
-- Sums `<campaign_id>,<micros>,<how many>;`, one line a campaign. Blob: byte version (1), byte width of an amount (4 or 8); then a byte a spend, its
-- campaign's place among the sums (from 0); then the amounts, little-endian. Packed spends carry no occurred_at. Where each has an event id, the blob's
-- version is 2, ARGV 5 is the day by the caller's clock, ARGV 6 the names that the memory knows the events by (`<brand>:<event id>`), joined by `,`, and
-- ARGV 7 what it shall remember of each (`<campaign_id>,<micros>,<day>`), joined by `;`: ready made, so that nothing is put together here. Two
-- texts, for Redis reads, copies and frees each argument by itself.
-- include: lib/call.lua
local PACKED, NAMED, MAX_PACKED_CAMPAIGNS = 1, 2, 200
local find, sub = string.find, string.sub

-- The sums of a call and the number of its spends, or nil and the reply that names the first bad field.
local function parse_sums(body, blob, version)
  local sums, size, ends, asked = {}, 0, 1, {}
  for start, campaign, digits, times, stop in string.gmatch(body, '()(%d+),(%d+),(%d+);()') do
    local index, amount, count = #sums, tonumber(digits), tonumber(times)
    if start ~= ends or index >= MAX_PACKED_CAMPAIGNS or asked[campaign] then return nil, { 'invalid', index, 'spends' } end
    if #times > 4 or count < 1 or size + count > MAX_SPENDS then return nil, { 'invalid', index, 'spends' } end
    if #digits > 16 or amount < count or amount > count * MAX_AMOUNT then return nil, { 'invalid', index, 'amount' } end
    asked[campaign] = true
    sums[index + 1] = { campaign = campaign, amount = amount, times = count }
    size, ends = size + count, stop
  end
  if #sums == 0 or ends ~= #body + 1 then return nil, { 'invalid', #sums, 'spends' } end
  local width = string.byte(blob, 2)
  if string.byte(blob, 1) ~= version or (width ~= 4 and width ~= 8) or #blob ~= 2 + size * (1 + width) then
    return nil, { 'invalid', 0, 'log' }
  end
  return sums, size
end

-- Whether names, joined by commas, have nothing that an id may not have. One range of characters is told in half the time of a set: from `,` to `z`
-- lie all of an id's but `+` and `~`, and nine that are none, each looked for by itself.
local function are_names(joined)
  if not string.find(joined, '^[,-z]*$') then return string.find(joined, '^[A-Za-z0-9._:/+=@~,-]*$') ~= nil end
  for _, strange in ipairs({ ';', '<', '>', '?', '[', '\\', ']', '^', '`' }) do
    if string.find(joined, strange, 1, true) then return false end
  end
  return true
end

-- The names of a packed call's events: {names, fields = names and what to remember in turn, text for the journal, once = none stands there twice}; or nil
-- and the reply.
local function read_names(size)
  local joined, kept = ARGV[6] or '', ARGV[7] or ''
  local last, kept_last, at, kept_at = #joined + 1, #kept + 1, 1, 1
  local names, fields, met, once = {}, {}, {}, true
  for i = 1, size do
    local ends, kept_ends = find(joined, ',', at, true) or last, find(kept, ';', kept_at, true) or kept_last
    local name = sub(joined, at, ends - 1)
    once = once and not met[name]
    met[name] = true
    names[i] = name
    fields[2 * i - 1] = name
    fields[2 * i] = sub(kept, kept_at, kept_ends - 1)
    at, kept_at = ends + 1, kept_ends + 1
  end
  -- Where there are fewer than spends, the last are nothing.
  local as_many = at == last + 1 and not met[''] and kept_at == kept_last + 1 and fields[2 * size] ~= '' and not ARGV[8]
  if not as_many or not are_names(joined) then return nil, { 'invalid', 0, 'events' } end
  return { names = names, fields = fields, text = joined, once = once }
end

-- Gives unpacked spends their event ids.
local function name_spends(spends, names)
  for i, spend in ipairs(spends) do
    spend.event, spend.digits = string.match(names[i], '^%d+:(.+)$') or names[i], text(spend.amount)
  end
end

-- Whether each spend of the sums will be counted whatever its place: then nobody needs to look at them one by one. Amounts are above 0, so
-- where a whole sum fits, each of its parts does.
local function all_fit(sums, verb, plans, now)
  local totals = {}
  for _, sum in ipairs(sums) do
    local campaign = plans.campaigns[sum.campaign]
    local brand = campaign and plans.brands[campaign.home]
    if not brand or (verb == 't' and switch_mask(brand, campaign, now) > 0) then return false end
    totals[brand] = (totals[brand] or 0) + sum.amount
  end
  for brand, total in pairs(totals) do
    for _, budget in ipairs(brand.budgets) do
      if budget.spent + total > MAX_TOTAL then return false end
      if verb == 't' and budget.limit and budget.spent + brand.held + total > budget.limit then return false end
    end
  end
  return true
end

-- The single spends, where they must be judged one by one; or nil and the reply when the blob does not add up to the sums.
local function unpack_spends(sums, size, blob)
  local width = string.byte(blob, 2)
  local spends, rest, left = {}, {}, {}
  for i, sum in ipairs(sums) do rest[i], left[i] = sum.amount, sum.times end
  for i = 1, size do
    local place, amount, from = string.byte(blob, 2 + i) + 1, 0, 2 + size + (i - 1) * width
    for offset = width, 1, -1 do amount = amount * 256 + string.byte(blob, from + offset) end
    if not sums[place] or amount < 1 or amount > MAX_AMOUNT then return nil, { 'invalid', i - 1, 'log' } end
    rest[place], left[place] = rest[place] - amount, left[place] - 1
    spends[i] = { campaign = sums[place].campaign, amount = amount, event = '' }
  end
  for i in ipairs(sums) do
    if rest[i] ~= 0 or left[i] ~= 0 then return nil, { 'invalid', i - 1, 'log' } end
  end
  return spends
end
