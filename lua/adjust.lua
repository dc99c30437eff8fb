#!lua
-- Adds a difference to a counter, with a journal entry, for reconcile. It adds and never sets, because spends go on meanwhile.
-- A difference is valid only while no other adjustment of the shard followed the comparison, so two reconcilers never repair it twice.
-- KEYS  1 shard  2 registry  3 journal  4 the brand's or campaign's hash  5 of a campaign: its brand's hash, which has its time zone
-- ARGV  1 layout  2 instance uuid  3 field (`d:20748`, `m:202611`, of a campaign also `f:2`)  4 difference in micros, signed  5 the correction's name: a repeat of the
--       last one adds nothing  6 the journal number at which the counter and the log were compared
-- Reply {'ok' | 'done', value after, n of its entry} | {'moved'}: another adjustment came first, compare again
--       {'not_ready', why} | {'wrong_version', layout} | {'foreign', mark}
-- include: lib/shard.lua
-- include: lib/text.lua
-- include: lib/stored.lua
-- include: lib/calendar.lua
-- include: lib/plan.lua
-- include: lib/changes.lua
-- include: lib/journal.lua
-- include: lib/carry_entry.lua
local shard_key, journal_key, plan_key = KEYS[1], KEYS[3], KEYS[4]
local layout, instance, field, digits, name, compared_at = unpack(ARGV, 1, 6)
if not serves(layout) then return { 'wrong_version', LAYOUT } end
local shard, refused = open_shard(shard_key, instance)
if not shard then return refused end
local difference = string.find(digits, '^%-?%d+$') and #digits <= 17 and tonumber(digits)
local compared_n = compared_at and #compared_at <= 16 and string.find(compared_at, '^%d+$') and tonumber(compared_at)
if not difference or not compared_n or not (string.find(field, '^[dm]:%d+$') or (string.find(field, '^f:%d+$') and string.find(plan_key, ':campaign:%d+$'))) or #name > 64 or not string.find(name, ID) then
  return { 'invalid', 0, 'adjustment' }
end
local got = redis.pcall('HMGET', plan_key, 'v', field)
local value = not got.err and got[1] and (got[2] or string.sub(field, 1, 2) ~= 'f:') and stored(got[2])
if not value then return invalidate_shard(shard_key, plan_key) end
local last = redis.call('HMGET', shard_key, 'adjusted', 'adjusted_n')
if last[1] == name then return { 'done', text(value), last[2] } end
if last[2] and not whole(last[2]) then return invalidate_shard(shard_key, 'adjusted_n') end
if last[2] and tonumber(last[2]) > compared_n then return { 'moved' } end
local owner, id = string.match(plan_key, ':(%a+):(%d+)$')

-- A correction of a period that is still open may use its budget up, or free it.
local day = day_of(shard.now)
local brand_key = owner == 'brand' and plan_key or KEYS[5]
local brand = brand_key and read_brand(brand_key, day, month_of(day), shard.now)
if brand_key and not brand then return invalidate_shard(shard_key, brand_key) end
local plan = brand
if owner == 'campaign' then plan = read_campaign(plan_key, brand and brand.day or day, brand and brand.month or month_of(day), shard.now, brand and brand.zone) end
if not plan then return invalidate_shard(shard_key, plan_key) end
for _, budget in ipairs(plan.budgets) do
  if budget.field == field then
    note_before(budget)
    budget.spent = budget.spent + difference
  end
end
local moved, messages = changes_of({ [id] = plan }, shard.now)
local line = 'A,' .. owner .. ',' .. id .. ',' .. field .. ',' .. digits .. ',' .. name .. ';'
local entry = { 'a', line }
-- What is corrected of the present day is of a day with a carry.
local begun = brand and add_carries(entry, { [string.match(brand_key, '%d+$')] = brand }, true)
local failed = append(shard, journal_key, entry, moved, begun)
if failed then return failed end
redis.call('HSET', shard_key, 'now', text(shard.now), 'n', text(shard.n), 'adjusted', name, 'adjusted_n', text(shard.n))
local written = { field, text(value + difference) }
add_since(plan, written)
redis.call('HSET', plan_key, unpack(written))
if begun then redis.call('HSET', brand_key, 'b', carry_text(brand.carry)) end
publish_messages(shard, messages)
return { 'ok', text(value + difference), text(shard.n) }
