-- The packed form of a call: a sum per campaign, which the script counts, and the single spends as one blob, which goes to the journal unchanged.
-- Sums: `<campaign_id>,<micros>,<how many>;` per campaign.
-- Blob: a byte version (1), a byte width of an amount (4 or 8), then a byte per spend with the place of its campaign among the sums (from 0), then the
-- amounts, little-endian. Packed spends have no occurred_at.
-- Where each spend has an event id, the blob's version is 2, and three more arguments have what the script would else build itself: `day`, the day by the
-- caller's clock; `names`, the dedup names of the events (`<brand>:<event id>`), joined by `,`; `kept`, the values to store (`<campaign_id>,<micros>,<day>`),
-- joined by `;`. They are two texts and not many arguments, because Redis reads, copies and frees each argument by itself.
-- include: lib/call.lua
local PACKED, NAMED, MAX_PACKED_CAMPAIGNS = 1, 2, 200

-- The sums of a call and the number of its spends, or nil and the reply that names the first bad field.
local function parse_sums(body, blob, version)
  local sums, size, ends, met = {}, 0, 1, {}
  for start, campaign, digits, times, stop in string.gmatch(body, '()(%d+),(%d+),(%d+);()') do
    local index, amount, count = #sums, tonumber(digits), tonumber(times)
    if start ~= ends or index >= MAX_PACKED_CAMPAIGNS or met[campaign] then return nil, { 'invalid', index, 'spends' } end
    if #times > 4 or count < 1 or size + count > MAX_SPENDS then return nil, { 'invalid', index, 'spends' } end
    if #digits > 16 or amount < count or amount > count * MAX_AMOUNT then return nil, { 'invalid', index, 'amount' } end
    met[campaign] = true
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

-- Whether names, joined by commas, have only characters of ids. Matching one range takes half the time of a set. The range `,` to `z` has all characters
-- of ids but `+` and `~`, and nine others, for each of which there is a plain find.
local function are_names(joined)
  if not string.find(joined, '^[,-z]*$') then return string.find(joined, '^[A-Za-z0-9._:/+=@~,-]*$') ~= nil end
  for _, strange in ipairs({ ';', '<', '>', '?', '[', '\\', ']', '^', '`' }) do
    if string.find(joined, strange, 1, true) then return false end
  end
  return true
end

-- The events of a packed call: {names, fields (names and values to store, alternating), text (for the journal), once (no name repeats)}; or nil and the
-- reply.
local function read_names(call, size)
  local find, sub = string.find, string.sub
  local joined, kept = call.names or '', call.kept or ''
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
  -- With fewer names than spends, the last names are ''.
  local as_many = at == last + 1 and not met[''] and kept_at == kept_last + 1 and fields[2 * size] ~= '' and not call.more
  if not as_many or not are_names(joined) then return nil, { 'invalid', 0, 'events' } end
  return { names = names, fields = fields, text = joined, once = once }
end

-- Adds the places and amounts of the spends in the blob to columns. Returns nil, or the reply where the blob does not add up to the sums.
local function unpack_log(columns, blob)
  local size, sums, width = columns.size, columns.sums, string.byte(blob, 2)
  local rest, left = {}, {}
  for i, sum in ipairs(sums) do rest[i], left[i] = sum.amount, sum.times end
  local places, amounts = { string.byte(blob, 3, 2 + size) }, { struct.unpack('<' .. string.rep('I' .. width, size), blob, 3 + size) }
  for i = 1, size do
    local place, amount = places[i] + 1, amounts[i]
    local of_sum = rest[place]
    if not of_sum or amount < 1 or amount > MAX_AMOUNT then return { 'invalid', i - 1, 'log' } end
    rest[place], left[place], places[i] = of_sum - amount, left[place] - 1, place
  end
  for i in ipairs(sums) do
    if rest[i] ~= 0 or left[i] ~= 0 then return { 'invalid', i - 1, 'log' } end
  end
  columns.places, columns.amounts = places, amounts
end

-- The event ids in the names of a packed call.
local function events_of(names)
  local events = {}
  for i, name in ipairs(names) do events[i] = string.match(name, '^%d+:(.+)$') or name end
  return events
end
