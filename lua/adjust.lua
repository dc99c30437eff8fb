#!lua
-- Reconcile's one tool: adds a difference to a counter, with a journal entry that says so. Never a SET: spends go on meanwhile.
-- A difference is good for as long as no other adjustment of the shard came after it was judged, so two reconcilers never repair one twice.
-- KEYS  1 shard  2 registry  3 journal  4 the brand's or campaign's hash
-- ARGV  1 layout  2 instance uuid  3 field (`d:20748`, `m:202611`)  4 difference in micros, signed  5 the correction's name: a repeat of the
--       last one adds nothing  6 the journal number at which the difference was judged
-- Reply {'ok' | 'done', value after, n of its entry} | {'moved'}: another adjustment came first, judge again
--       {'not_ready', why} | {'wrong_version', layout} | {'foreign', mark}
-- include: lib/call.lua
if ARGV[1] ~= LAYOUT then return { 'wrong_version', LAYOUT } end
local shard, refused = open_shard(KEYS[1], ARGV[2])
if not shard then return refused end
local difference = string.find(ARGV[4], '^%-?%d+$') and #ARGV[4] <= 17 and tonumber(ARGV[4])
local judged_n = ARGV[6] and #ARGV[6] <= 16 and string.find(ARGV[6], '^%d+$') and tonumber(ARGV[6])
if not difference or not judged_n or not string.find(ARGV[3], '^[dm]:%d+$') or not is_id(ARGV[5], 64) then
  return { 'invalid', 0, 'adjustment' }
end
local got = redis.pcall('HMGET', KEYS[4], 'v', ARGV[3])
local value = not got.err and got[1] and stored(got[2])
if not value then return lose(KEYS[1], KEYS[4]) end
local last = redis.call('HMGET', KEYS[1], 'adjusted', 'adjusted_n')
if last[1] == ARGV[5] then return { 'done', text(value), last[2] } end
if last[2] and not whole(last[2]) then return lose(KEYS[1], 'adjusted_n') end
if last[2] and tonumber(last[2]) > judged_n then return { 'moved' } end
local owner, id = string.match(KEYS[4], ':(%a+):(%d+)$')

-- A correction of a period that is still open may use its budget up, or free it.
local day = day_of(shard.now)
local brand = owner == 'brand' and read_brand(KEYS[4], day, month_of(day))
if owner == 'brand' and not brand then return lose(KEYS[1], KEYS[4]) end
for _, budget in ipairs(brand and brand.budgets or {}) do
  if budget.field == ARGV[3] then
    budget.was_used_up = used_up(budget)
    budget.spent = budget.spent + difference
    brand.charged = true
  end
end
local moved, messages = changes_of({ [id] = brand or nil }, shard.now)
local line = 'A,' .. owner .. ',' .. id .. ',' .. ARGV[3] .. ',' .. ARGV[4] .. ',' .. ARGV[5] .. ';'
local failed = append(shard, { 'a', line }, moved)
if failed then return failed end
redis.call('HSET', KEYS[1], 'now', text(shard.now), 'n', text(shard.n), 'adjusted', ARGV[5], 'adjusted_n', text(shard.n))
redis.call('HSET', KEYS[4], ARGV[3], text(value + difference))
for _, budget in ipairs(brand and brand.budgets or {}) do
  if budget.moved then redis.call('HSET', KEYS[4], budget.since_field, budget.since) end
end
tell(messages)
return { 'ok', text(value + difference), text(shard.n) }
