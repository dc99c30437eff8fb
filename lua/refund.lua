#!lua
-- Refunds a spend or a part of it with an entry of its own in the log; no row is edited. A refund belongs to the day of its spend. On the same
-- day it lowers both counters, later in the month only the month's (a closed day never changes), and after that none. A refund never exceeds
-- its spend, and no counter goes below 0.
-- KEYS  1 shard  2 registry  3 journal  4-5 requests  6-7 events  8 brand  9 campaign
-- ARGV  1 layout  2 campaign id  3 event id of the spend  4 amount in micros  5 day of the spend, needed once its event is outside the dedup window, else ''
--       6 refund id of a partial refund, '' or left out for the one refund without an id
-- Reply {'ok', outcome, brands, campaigns} (figures as in lib/charge.lua): k refunded (a repeat: the same); w pending: the event is outside the
--         dedup window, so the spend log decides, and no money moves before; conflicts: ca refunded before with another amount, cc another
--         campaign, cm more than was spent; refused: xd more than the campaign's counter of the day, xm of the month, xl of one of its own budgets, xb the brand's, or the
--         log's decision (engine/domain/refunds.py); u unknown campaign, n unknown event and no day given
--       {'not_ready', why} | {'wrong_version', layout} | {'invalid', index, field}: nothing was written
-- include: lib/refund.lua
-- include: lib/call.lua
-- include: lib/figures.lua
local layout, campaign_id, event, digits, given_day, part = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6] or ''
if not serves(layout) then return { 'wrong_version', LAYOUT } end
local shard, refused = open_shard(shard_key, '')
if not shard then return refused end
local amount = amount_of(digits)
if not amount then return { 'invalid', 0, 'amount' } end
if not is_id(event, 64) then return { 'invalid', 0, 'event_id' } end
if part ~= '' and not is_id(part, 64) then return { 'invalid', 0, 'refund_id' } end
if given_day ~= '' then
  local day = #given_day <= 6 and string.find(given_day, '^%d+$') and tonumber(given_day)
  -- No brand's day is further ahead.
  if not day or day > day_of(shard.now) + 1 or day < FIRST_DAY then return { 'invalid', 0, 'day' } end
end
local plans, lost = read_plans(shard.now)
if not plans then return lost end
local campaign = plans.campaigns[campaign_id]
local _, of_key = next(plans.brands) -- that of an unknown campaign too
local brand, today = campaign and of_key, of_key and of_key.day or day_of(shard.now)
if given_day ~= '' and tonumber(given_day) > today then return { 'invalid', 0, 'day' } end
if not brand then return { 'ok', 'u', figures(plans, shard.now) } end

local names = refund_names(campaign.brand_id, event, part)
local events = open_dedup(shard_key, 'ev', event_keys, shard.now)
local seen = events and look_up_refunds(events, names)
if not seen then return invalidate_shard(shard_key, 'events') end
local before = refunded_before(seen, names)

-- The outcome where no money moves; else nil, the day of the spend, and the counter of its flight ('' where it was in none).
local function outcome_without_money()
  if seen[names.own] then
    local of_campaign, micros, state = string.match(seen[names.own], '^(%d+),(%d+),?(%w*)$')
    local same = of_campaign == campaign_id and micros == digits
    if state ~= '' and state ~= 'w' then
      if same then return state end -- a refusal by the log uses nothing up, so other content is a new refund
    elseif same then
      return state == '' and 'k' or 'w'
    else
      return of_campaign == campaign_id and 'ca' or 'cc'
    end
  end
  if seen[names.spend] then
    local of_campaign, spent, spent_day, of_flight = string.match(seen[names.spend], '^(%d+),(%d+),(%d+),?(%d*)$')
    if of_campaign ~= campaign_id then return 'cc' end
    if before + amount > tonumber(spent) then return 'cm' end
    -- A packed call stores the day that its caller sent, which may be any text.
    local day = whole(spent_day)
    if not day or day > today or day < FIRST_DAY then return 'lost' end
    of_flight = stored_flight(campaign, of_flight)
    return too_small(brand, campaign, amount, day, today, of_flight), day, of_flight
  end
  if given_day == '' then return 'n' end
  return too_small(brand, campaign, amount, tonumber(given_day), today, '') or 'pending', tonumber(given_day), ''
end

local outcome, day, flight = outcome_without_money()
if outcome == 'lost' then return invalidate_shard(shard_key, 'events') end
local failed
local refund = { campaign = campaign_id, event = event, digits = digits, amount = amount, day = day, part = part, flight = flight }
if not outcome then
  failed = give_back(shard, plans, events, names, before, refund)
  outcome = 'k'
elseif outcome == 'pending' then
  local entry = { 'h', line_of('W', refund) }
  failed = append(shard, journal_key, entry, {}, add_zones(entry, plans.brands, shard.now, brand))
  if not failed then remember_refund(shard, events, names.own, campaign_id .. ',' .. digits .. ',w') end
  outcome = 'w'
end
if failed then return failed end
return { 'ok', outcome, figures(plans, shard.now) }
