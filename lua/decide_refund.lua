#!lua
-- Applies the spend log's decision on a pending refund: gives the money back, or stores the cause, so that a repeat of the bidder's call
-- gets it.
-- KEYS  as of refund
-- ARGV  1 layout  2 instance uuid  3 campaign id  4 event id  5 micros  6 day of the spend  7 refund id or ''
--       8 `a` give it back now, once  `k` it was given back before  `x..` refused, and why
--       9 the counter of the spend's flight (lib/flights.lua), '' or left out where it was in none
-- Reply {'ok', outcome}: k given back, now or before; x.. refused, also where an open counter is now below the amount; u unknown campaign
--       {'not_ready', why} | {'wrong_version', layout} | {'foreign', mark}: nothing was written
-- include: lib/refund.lua
-- include: lib/call.lua
local layout, instance, campaign_id, event, digits, day, part, verdict, flight = unpack(ARGV, 1, 9)
if not serves(layout) then return { 'wrong_version', LAYOUT } end
local shard, refused = open_shard(shard_key, instance)
if not shard then return refused end
local plans, lost = read_plans(shard.now)
if not plans then return lost end
local campaign = plans.campaigns[campaign_id]
local brand = campaign and plans.brands[campaign.brand_id]
if not brand then return { 'ok', 'u' } end
local today = brand.day
local refund = { campaign = campaign_id, event = event, digits = digits, amount = tonumber(digits), day = tonumber(day), part = part, flight = stored_flight(campaign, flight or '') }
local names = refund_names(campaign.brand_id, refund.event, refund.part)
local events = open_dedup(shard_key, 'ev', event_keys, shard.now)
local seen = events and look_up_refunds(events, names)
if not seen then return invalidate_shard(shard_key, 'events') end
local before, value = refunded_before(seen, names), campaign_id .. ',' .. refund.digits
if seen[names.own] == value then return { 'ok', 'k' } end
if verdict == 'a' then
  local small = too_small(brand, campaign, refund.amount, refund.day, today, refund.flight)
  if small then return { 'ok', small } end
  return give_back(shard, plans, events, names, before, refund) or { 'ok', 'k' }
elseif verdict == 'k' then
  remember_refund(shard, events, names.own, value, names.total, text(before + refund.amount))
else
  remember_refund(shard, events, names.own, value .. ',' .. verdict)
end
return { 'ok', verdict }
