#!lua
-- Gives back money of a spend that was not due, as an opposite entry in the log, never an edit. It belongs to the day of its spend: while that
-- is today both counters go down, later in the same month the month's only (a closed day never changes), after that none.
-- KEYS  1 shard  2 registry  3 journal  4-5 requests  6-7 events  8 brand  9 campaign
-- ARGV  1 layout  2 campaign id  3 event id of the spend  4 amount in micros  5 day of the spend, where its event may be forgotten, else ''
-- Reply {'ok', outcome, brands, campaigns} (figures as in lib/charge.lua): k refunded (again: the same), c conflict (another amount before, more
--         than was spent, another campaign), u unknown campaign, n unknown event and no day given
--       {'not_ready', why} | {'wrong_version', layout} | {'invalid', index, field}: nothing was written
-- include: lib/call.lua
local campaign_id, event, digits, told_day = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if ARGV[1] ~= LAYOUT then return { 'wrong_version', LAYOUT } end
local shard, refused = open_shard(KEYS[1], '')
if not shard then return refused end
local amount = amount_of(digits)
if not amount then return { 'invalid', 0, 'amount' } end
if not is_id(event, 64) then return { 'invalid', 0, 'event_id' } end
local today = day_of(shard.now)
if told_day ~= '' and (#told_day > 6 or not string.find(told_day, '^%d+$') or tonumber(told_day) > today) then return { 'invalid', 0, 'day' } end
local plans, lost = read_plans(today, month_of(today))
if not plans then return lost end
local campaign = plans.campaigns[campaign_id]
local brand = campaign and plans.brands[campaign.home]
if not brand then return { 'ok', 'u', figures(plans, shard.now) } end

local spend_name = campaign.home .. ':' .. event
local refund_name = '-' .. spend_name
local events = open_memory(KEYS[1], 'ev', { KEYS[6], KEYS[7] }, shard.now)
local seen = events and recall(events, { spend_name, refund_name })
if not seen then return lose(KEYS[1], 'events') end
if seen[refund_name] then
  return { 'ok', seen[refund_name] == campaign_id .. ',' .. digits and 'k' or 'c', figures(plans, shard.now) }
end
local day = tonumber(told_day)
if seen[spend_name] then
  local of_campaign, spent, spent_day = string.match(seen[spend_name], '^(%d+),(%d+),(%d+)$')
  if of_campaign ~= campaign_id or amount > tonumber(spent) then return { 'ok', 'c', figures(plans, shard.now) } end
  day = tonumber(spent_day)
end
if not day then return { 'ok', 'n', figures(plans, shard.now) } end

local same_month = month_of(day) == month_of(today)
for i, budget in ipairs(brand.budgets) do
  budget.was_used_up = used_up(budget)
  if i == 1 and day == today or i == 2 and same_month then
    budget.spent = budget.spent - amount
    if i == 1 then campaign.daily = campaign.daily - amount else campaign.monthly = campaign.monthly - amount end
  end
end
brand.charged, campaign.charged = true, true
local moved, messages = changes_of(plans.brands, shard.now)
local kind = day == today and 'F' or 'C'
local line = kind .. ',' .. campaign_id .. ',' .. event .. ',' .. digits .. ',' .. text(day) .. ';'
local failed = append(shard, { 'h', line }, moved)
if failed then return failed end
local shard_fields = { 'now', text(shard.now), 'n', text(shard.n) }
turn(events, shard_fields)
redis.call('HSET', events.write, refund_name, campaign_id .. ',' .. digits)
redis.call('HSET', KEYS[1], unpack(shard_fields))
write_plans(plans)
tell(messages)
return { 'ok', 'k', figures(plans, shard.now) }
