#!lua flags=no-writes
-- Reads one brand and up to 200 of its campaigns as they stand this millisecond. Writes nothing.
-- KEYS  1 shard  2 brand  3.. campaigns
-- ARGV  1 layout
-- Reply {'ok', now, n, brand, campaign, ...}
--         brand: `version:archived:daily_limit:monthly_limit:daily_spend:monthly_spend:daily_at:monthly_at` or '' when there is none
--         campaign: `version:on:causes:daily_spend:monthly_spend` or '' (causes: a bit mask, 0 = running)
--       {'not_ready', why} | {'wrong_version', layout}
-- include: lib/shard.lua
-- include: lib/calendar.lua
-- include: lib/plan.lua
if ARGV[1] ~= LAYOUT then return { 'wrong_version', LAYOUT } end
local shard, refused = open_shard(KEYS[1], '')
if not shard then return refused end
local day = day_of(shard.now)
local month = month_of(day)
local brand = read_brand(KEYS[2], day, month)
if brand == false then return { 'not_ready', 'lost' } end
local reply = { 'ok', text(shard.now), text(shard.n), '' }
if brand then
  local daily, monthly = brand.budgets[1], brand.budgets[2]
  reply[4] = table.concat({ text(brand.version), brand.archived and '1' or '0', optional(daily.limit), optional(monthly.limit),
    text(daily.spent), text(monthly.spent), daily.since, monthly.since }, ':')
end
for i = 3, #KEYS do
  local campaign = brand and read_campaign(KEYS[i], day, month)
  if campaign == false then return { 'not_ready', 'lost' } end
  reply[i + 2] = campaign and table.concat({ text(campaign.version), campaign.on and '1' or '0',
    text(switch_mask(brand, campaign, shard.now) + budget_mask(brand)), text(campaign.daily), text(campaign.monthly) }, ':') or ''
end
return reply
