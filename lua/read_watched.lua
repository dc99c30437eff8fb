#!lua flags=no-writes
-- Reads what a watcher needs of a brand and up to 200 of its campaigns, at one instant. With the shard's key alone it is a watcher's heartbeat.
-- Writes nothing.
-- KEYS  1 shard  2 brand  3.. campaigns
-- ARGV  1 layout
-- Reply {'ok', mark, now, n, brand, campaign, ...}
--         brand: `version:archived:daily_limit:monthly_limit:daily used up 0|1:monthly used up 0|1`, '' where there is none
--         each of them with `:rate=<ppm>`, where it is paced and its pass rate of this minute is below 1 (lib/pass_rate.lua)
--         campaign: `version:on:archived:schedule`, '' where there is none; with limits of its own it goes on (lib/watched.lua)
--       {'not_ready', why} | {'wrong_version', layout}
-- include: lib/shard.lua
-- include: lib/calendar.lua
-- include: lib/plan.lua
-- include: lib/watched.lua
-- include: lib/flight_plan.lua
-- include: lib/pace.lua
-- include: lib/pass_rate.lua
-- include: lib/own_held.lua
local shard_key, brand_key, layout = KEYS[1], KEYS[2], ARGV[1]
if not serves(layout) then return { 'wrong_version', LAYOUT } end
local shard, refused = open_shard(shard_key, '')
if not shard then return refused end
local reply = { 'ok', shard.mark, text(shard.now), text(shard.n) }
if #KEYS == 1 then return reply end
local day = day_of(shard.now)
local month = month_of(day)
local brand = read_brand(brand_key, day, month, shard.now)
if brand == false then return { 'not_ready', 'lost' } end
if brand then day, month = brand.day, brand.month end
if brand and brand.paced and not add_pace(brand, brand.paced, 'daily_budget', shard.now, day, brand.held) then return { 'not_ready', 'lost' } end
reply[5] = brand and watched_brand(brand, shard.now) .. rate_part(brand) or ''
for i = 3, #KEYS do
  local got = brand and redis.pcall('HMGET', KEYS[i], 'v', 'on', 'archived', 'schedule', 'x', 'f1', 'f2', 'p') or {}
  if got.err then return { 'not_ready', 'lost' } end
  if got[1] and not (whole(got[1]) and is_flag(got[2]) and is_flag(got[3]) and got[4] and is_schedule(got[4])) then return { 'not_ready', 'lost' } end
  local limits, flight_field, budgets, flights, brake, steps, _ = nil, nil, nil, {}, nil, nil, nil
  if got[1] and got[5] then
    limits, flight_field = limits_at(got[5], got[6], got[7], shard.now)
    local day_field, month_field = period_fields(day, month)
    if limits then budgets, _, brake, steps = read_own_budgets(KEYS[i], limits, flight_field, day_field, month_field, shard.now, brand.zone) end
    flights = got[6] and flights_of(KEYS[i], got[6], got[7]) or {}
    if not budgets or (got[6] and not flights[1]) then return { 'not_ready', 'lost' } end
  end
  local owner = { key = KEYS[i], budgets = budgets, zone = brand and brand.zone }
  local held = budgets and got[8] and held_by(brand, string.match(KEYS[i], '%d+$')) or 0
  if budgets and got[8] and not add_pace(owner, got[8], 'campaign_daily_budget', shard.now, day, held) then return { 'not_ready', 'lost' } end
  reply[i + 3] = got[1] and table.concat(got, ':', 1, 4) .. watched_own(got[5], budgets, flights, brake and brake.since, steps, shard.now) .. rate_part(owner)
    or ''
end
return reply
