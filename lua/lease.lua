#!lua
-- Sets the amount that a lease has on hold: opens the lease, refills it, shrinks it, or ends it (amount 0). Where less is left of the budget
-- than requested, grants what is left. A lease numbers its calls: a repeated or overtaken call changes nothing.
-- KEYS  1 shard  2 registry  3 journal  4-5 requests  6-7 events  8 brand  9 holds  10 expiry  11 campaign
-- ARGV  1 layout  2 campaign id  3 lease id  4 requested amount on hold in micros, 0 to end the lease  5 ttl in ms  6 number of the call, from 1
--       7 where known, a typical amount of its spends in micros: pacing (lib/pace.lua) grants at least that, or nothing
-- Reply {'ok', outcome, brands, campaigns, on hold now, now} (figures as in lib/charge.lua): a granted, p granted in part, x<causes>
--         refused (the hold is unchanged), l given back, n nothing was on hold, o number not above the last one (the hold is unchanged),
--         u unknown campaign
--       {'not_ready', why} | {'wrong_version', layout} | {'invalid', index, field}: nothing was written
-- include: lib/call.lua
local MAX_TTL_MS = 86400000
local layout, campaign_id, lease, digits, ttl_text, number_text = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6] or ''
if not serves(layout) then return { 'wrong_version', LAYOUT } end
local shard, refused = open_shard(shard_key, '')
if not shard then return refused end
local amount = digits == '0' and 0 or amount_of(digits)
if not amount then return { 'invalid', 0, 'amount' } end
if not is_id(lease, 64) then return { 'invalid', 0, 'lease' } end
local ttl = string.find(ttl_text, '^%d+$') and #ttl_text <= 8 and tonumber(ttl_text)
if not ttl or ttl < 1 or ttl > MAX_TTL_MS then return { 'invalid', 0, 'ttl' } end
local number = string.find(number_text, '^%d+$') and #number_text <= 15 and tonumber(number_text)
if not number or number < 1 then return { 'invalid', 0, 'number' } end
local least = ARGV[7] and amount_of(ARGV[7]) or 0
if ARGV[7] and least == 0 then return { 'invalid', 0, 'least' } end
local now = shard.now
local plans, lost = read_plans(now)
if not plans then return lost end
local campaign = plans.campaigns[campaign_id]
local brand = campaign and plans.brands[campaign.brand_id]
if not brand then return { 'ok', 'u', '', '', '0', text(now) } end
if not brand.holds_key then return { 'invalid', 0, 'keys' } end

local lines, events, event_fields, shard_fields = {}, nil, {}, {}
local due = expire_holds(brand, brand.holds_key, brand.expiry_key, now)
if not due then return invalidate_shard(shard_key, brand.holds_key) end
expired_lines(due, lines)
if #due > 0 then
  events = open_dedup(shard_key, 'ev', event_keys, now)
  if not events or not look_up(events, {}) then return invalidate_shard(shard_key, 'events') end
end
local name = campaign_id .. ':' .. lease
local value, held, expires, last = redis.call('HGET', brand.holds_key, name), nil, nil, nil
if value then
  held, expires, last = hold_of(value)
  if not held then return invalidate_shard(shard_key, brand.holds_key) end
end
local before = held and tonumber(expires) > now and tonumber(held) or 0
local held_back = is_held_back_by(brand, campaign)
local is_old = before > 0 and number <= (tonumber(last) or 0)

-- What is left of the budgets of brand and campaign after spends and all other holds.
if not add_held(brand, campaign_id, -before) then return invalidate_shard(shard_key, brand.key) end
local room, others = amount, held_by(brand, campaign_id)
for _, budget in ipairs(brand.budgets) do room = math.min(room, left_of(budget.limit, budget.spent, brand.held)) end
for _, budget in ipairs(campaign.budgets) do room = math.min(room, left_of(budget.limit, budget.spent, others)) end
-- Pacing lets a lease grow up to its curve, and at least to one typical amount, as it lets one spend pass.
if brand.pace then room = math.min(room, math.max(gap_of(brand.pace, brand.held), least)) end
if campaign.pace then room = math.min(room, math.max(gap_of(campaign.pace, others), least)) end
if held_back then room = 0 end
local stopped, causes = gates_of(brand, campaign, now), refusal(brand, campaign, amount, now) + (held_back and PACING or 0)
local after, outcome = amount, 'a'
if is_old then
  after, outcome = before, 'o'
elseif amount == 0 then
  outcome = before > 0 and 'l' or 'n'
elseif amount > before then
  after = stopped > 0 and before or math.max(before, room)
  outcome = after == amount and 'a' or ((stopped > 0 or after == 0) and 'x' .. text(causes) or 'p')
end
local until_ms = text(now + ttl)
if not is_old and (after > 0 and stopped == 0 or after ~= before) then
  lines[#lines + 1] = after > 0 and 'R,' .. campaign_id .. ',' .. lease .. ',' .. text(after) .. ',' .. until_ms .. ';'
    or 'L,' .. campaign_id .. ',' .. lease .. ',' .. text(before) .. ',;'
else
  until_ms = nil
end
add_held(brand, campaign_id, after)

if #lines > 0 then
  local failed = append(shard, journal_key, { 'h', table.concat(lines) }, {})
  if failed then return failed end
end
shard_fields[1], shard_fields[2], shard_fields[3], shard_fields[4] = 'now', text(now), 'n', text(shard.n)
if #due > 0 then
  write_expired(due, brand.holds_key, brand.expiry_key, event_fields)
  rotate_hashes(events, shard_fields)
  redis.call('HSET', events.write, unpack(event_fields))
end
if until_ms and after > 0 then
  redis.call('HSET', brand.holds_key, name, text(after) .. ',' .. until_ms .. ',' .. number_text)
  redis.call('ZADD', brand.expiry_key, until_ms, name)
elseif until_ms then
  redis.call('HDEL', brand.holds_key, name)
  redis.call('ZREM', brand.expiry_key, name)
end
if string.sub(outcome, 1, 1) == 'x' then tally(shard_key, { ['h' .. outcome] = 1 }, shard_fields) end
redis.call('HSET', shard_key, unpack(shard_fields))
brand.holds_changed = #due > 0 or until_ms ~= nil
write_plans(plans)
local brand_lines, campaign_lines = figures(plans, now)
return { 'ok', outcome, brand_lines, campaign_lines, text(after), text(now) }
