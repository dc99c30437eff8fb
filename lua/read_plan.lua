#!lua flags=no-writes
-- Reads one brand and up to 200 of its campaigns at one instant. Writes nothing.
-- KEYS  1 shard  2 brand  3.. campaigns
-- ARGV  1 layout
-- Reply {'ok', now, n, brand, campaign, ...}
--         brand: `version:archived:daily_limit:monthly_limit:daily_spend:monthly_spend:daily_at:monthly_at` or '' when there is none; with a time zone then
--         `:zone=` its field (lib/local_day.lua)
--         campaign: `version:on:causes:daily_spend:monthly_spend` or '' (causes: a bit mask, 0 = running); with limits of its own then
--         `:daily_limit:monthly_limit:lifetime_limit`, the lifetime's spend (empty without such a limit), and when each last changed; with flights then
--         `:f1:f2` (lib/flights.lua), and the spend that each one's counter has; with a brake then `:br=` its field, `:bk=` since when its breaker is
--         open (empty: it is not) and `:s=` what it spent in this minute (lib/brake.lua)
--       {'not_ready', why} | {'wrong_version', layout}
-- include: lib/shard.lua
-- include: lib/text.lua
-- include: lib/stored.lua
-- include: lib/calendar.lua
-- include: lib/plan.lua
-- include: lib/flight_plan.lua
-- include: lib/pace.lua
-- include: lib/pass_rate.lua
-- include: lib/own_held.lua
local shard_key, brand_key, layout = KEYS[1], KEYS[2], ARGV[1]
if not serves(layout) then return { 'wrong_version', LAYOUT } end
local shard, refused = open_shard(shard_key, '')
if not shard then return refused end
local day = day_of(shard.now)
local month = month_of(day)
local brand = read_brand(brand_key, day, month, shard.now)
if brand == false then return { 'not_ready', 'lost' } end
local reply = { 'ok', text(shard.now), text(shard.n), '' }
if brand then
  local daily, monthly = brand.budgets[1], brand.budgets[2]
  reply[4] = table.concat({ text(brand.version), brand.archived and '1' or '0', optional(daily.limit), optional(monthly.limit),
    text(daily.spent), text(monthly.spent), daily.since, monthly.since }, ':') .. (brand.zone and ':zone=' .. brand.zone_text or '') .. (brand.paused and ':paused=1' or '')
    .. (brand.carry and ':carry=' .. text(brand.carry.cap) .. ',' .. text(brand.carry.carried) or '')
  day, month = brand.day, brand.month
  if brand.paced and not add_pace(brand, brand.paced, 'daily_budget', shard.now, day, brand.held) then return { 'not_ready', 'lost' } end
  reply[4] = reply[4] .. rate_part(brand)
end
-- The check job reads every campaign, so this avoids work: it makes no table per campaign, passes stored values on unchanged, and computes
-- one mask for all campaigns with the same switches and schedule.
local day_field, month_field = period_fields(day, month)
local masks, used_up, at = {}, brand and budget_mask(brand), local_ms(brand and brand.zone, shard.now)
for i = 3, #KEYS do
  local line = ''
  local got = brand and redis.pcall('HMGET', KEYS[i], 'v', 'on', 'archived', 'schedule', day_field, month_field, 'x', 'f1', 'f2')
  if got and got.err then return { 'not_ready', 'lost' } end
  if got and got[1] then
    local on, archived, schedule = got[2], got[3], got[4]
    if not on or not archived or not schedule or not whole(got[1]) or not stored(got[5]) or not stored(got[6]) then return { 'not_ready', 'lost' } end
    local limits, flight_field, outside, _ = nil, nil, false, nil
    if got[7] then
      limits, flight_field, _, outside = limits_at(got[7], got[8], got[9], shard.now)
      if not limits then return { 'not_ready', 'lost' } end
    end
    local own, since, brake, steps = {}, nil, nil, nil
    if limits then
      own.budgets, since, brake, steps = read_own_budgets(KEYS[i], limits, flight_field, day_field, month_field, shard.now, brand.zone)
      if not own.budgets then return { 'not_ready', 'lost' } end
    end
    local broken = brake and brake.since ~= nil
    local switches = on .. archived .. schedule .. (outside and ' outside' or '') .. (broken and ' broken' or '')
    local mask = masks[switches]
    if not mask then
      if not is_flag(on) or not is_flag(archived) or not is_schedule(schedule) then return { 'not_ready', 'lost' } end
      mask = used_up + closed_gates(on == '1', archived == '1' or brand.archived, schedule, at, outside, broken, brand.paused)
      masks[switches] = mask
    end
    local own_line = ''
    if limits then
      local flights = got[8] and flights_of(KEYS[i], got[8], got[9]) or {}
      if got[8] and not flights[1] then return { 'not_ready', 'lost' } end
      local lifetime = ''
      for _, budget in ipairs(own.budgets) do
        if budget.field == LIFETIME then lifetime = text(budget.spent) end
      end
      mask = mask + budget_mask(own)
      own_line = table.concat({ '', in_force(got[7], steps), lifetime, unpack(since) }, ':')
      if flights[1] then
        own_line = own_line .. ':' .. got[8] .. ':' .. (got[9] or '') .. ':' .. optional(flights[1].spent) .. ':' .. optional((flights[2] or {}).spent)
      end
      if brake then own_line = own_line .. ':br=' .. brake.text .. ':bk=' .. optional(brake.since) .. ':s=' .. text(brake.row.spent) end
      local paced, held = redis.call('HGET', KEYS[i], 'p'), held_by(brand, string.match(KEYS[i], '%d+$'))
      own.key, own.zone = KEYS[i], brand.zone
      if paced and not add_pace(own, paced, 'campaign_daily_budget', shard.now, day, held or 0) then return { 'not_ready', 'lost' } end
      own_line = own_line .. rate_part(own)
    end
    line = got[1] .. ':' .. (on == '1' and '1' or '0') .. ':' .. text(mask) .. ':' .. (got[5] or '0') .. ':' .. (got[6] or '0') .. own_line
  elseif got and absent(KEYS[i]) == false then
    return { 'not_ready', 'lost' }
  end
  reply[i + 2] = line
end
return reply
