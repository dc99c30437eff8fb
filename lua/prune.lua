#!lua flags=allow-oom
-- Removes the counters of closed periods from up to 200 hashes of a shard. Refuses a period that is not over, or to which late spends still count.
-- After it no late spend counts to a day that was given. Days are those of each hash's brand (lib/local_day.lua).
-- Where the day of a brand's carry goes (lib/rollover.lua), the present day's carry is written and told to the journal first: it follows from that counter.
-- KEYS  1 shard  2.. brands and campaigns; last, where there are brands with a rollover, journal
-- ARGV  1 layout  2 instance uuid  3.. up to 100 fields of a day (`d:20748`) or a month (`m:202611`)
-- Reply {'ok', removed} | {'open', field} | {'not_ready', why} | {'wrong_version', layout} | {'foreign', mark}
-- include: lib/shard.lua
-- include: lib/calendar.lua
-- include: lib/text.lua
-- include: lib/grace.lua
-- include: lib/local_day.lua
-- include: lib/plan.lua
-- include: lib/journal.lua
-- include: lib/carry_entry.lua
local shard_key, layout, instance = KEYS[1], ARGV[1], ARGV[2]
if not serves(layout) then return { 'wrong_version', LAYOUT } end
local shard, refused = open_shard(shard_key, instance)
if not shard then return refused end
local fields, tag = { unpack(ARGV, 3) }, string.sub(shard_key, 1, -6)
local journal_key = KEYS[#KEYS] == tag .. 'journal' and KEYS[#KEYS]
local LAST = journal_key and #KEYS - 1 or #KEYS
local grace = redis.call('HMGET', shard_key, 'grace', 'closed', 'late_from')

-- The time zone of a hash's brand, and the brand's last closed day; nothing where it is UTC.
local zones = {}
local function zone_at(key)
  if shard.layout == LAYOUT then return nil end
  local kind, id = string.match(key, '^(%a+):(%d+)$', #tag + 1)
  local brand_key = kind == 'brand' and key or (kind == 'campaign' and tag .. 'brand:' .. text((id - id % 65536) / 65536))
  if not brand_key then return nil end
  if zones[brand_key] == nil then
    local got = redis.pcall('HMGET', brand_key, 'zone', 'closed')
    zones[brand_key] = not got.err and got[1] and { zone = zone_of(got[1]), closed = got[2] } or false
  end
  return zones[brand_key]
end

-- The field that is still open at a zone; and the last day that was given.
local function open_field(zone, closed)
  local first_open, last = day_of(local_ms(zone, shard.now)), 0
  if takes_late(shard.now, grace[1], closed, zone, grace[3]) then first_open = first_open - 1 end
  for _, field in ipairs(fields) do
    local kind, number = string.match(field, '^([dm]):(%d+)$')
    if not kind or tonumber(number) >= (kind == 'd' and first_open or month_of(first_open)) then return field end
    if kind == 'd' then last = math.max(last, tonumber(number)) end
  end
  return nil, last
end

local any_utc = false
for i = 2, LAST do
  local of = zone_at(KEYS[i])
  if of and not of.zone then return invalidate_shard(shard_key, KEYS[i]) end
  any_utc = any_utc or not of
  if of and of.last == nil then
    local open
    open, of.last = open_field(of.zone, of.closed)
    if open then return { 'open', open } end
  end
end
local closed = whole(grace[2]) or 0
if any_utc or LAST == 1 then
  local open, last = open_field(nil, grace[2])
  if open then return { 'open', open } end
  closed = math.max(closed, last)
end

-- The brands whose carry's day goes, with their carry of the present day; nil where one is malformed.
local function begun_days()
  local gone, begun = {}, {}
  for _, field in ipairs(fields) do gone[field] = true end
  for i = 2, journal_key and LAST or 1 do
    local id = string.match(KEYS[i], '^brand:(%d+)$', #tag + 1)
    local value = id and redis.pcall('HGET', KEYS[i], 'b')
    if type(value) == 'string' and gone['d:' .. (string.match(value, '^%d+,(%d+),') or '')] then
      local day = day_of(shard.now)
      local brand = read_brand(KEYS[i], day, month_of(day), shard.now)
      if not brand then return nil, KEYS[i] end
      if brand.carry.fresh then begun[id] = brand end
    end
  end
  return begun
end

local begun, malformed = begun_days()
if not begun then return invalidate_shard(shard_key, malformed) end
local entry = {}
if add_carries(entry, begun, true) then
  local failed = append(shard, journal_key, entry, {}, '3')
  if failed then return failed end
  redis.call('HSET', shard_key, 'n', text(shard.n))
  for _, brand in pairs(begun) do redis.call('HSET', brand.key, 'b', carry_text(brand.carry)) end
end
local removed = 0
for i = 2, LAST do
  removed = removed + redis.call('HDEL', KEYS[i], unpack(fields))
  local of = grace[1] and zones[KEYS[i]]
  if of then redis.call('HSET', KEYS[i], 'closed', text(math.max(of.last, whole(of.closed) or 0))) end
end
redis.call('HSET', shard_key, 'now', text(shard.now))
if grace[1] then redis.call('HSET', shard_key, 'closed', text(closed)) end
return { 'ok', text(removed) }
