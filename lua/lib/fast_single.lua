-- The fast path of a single spend: counts or refuses it in the usual case. In any other case it breaks off before it has written anything, and the slow
-- path (lib/charge.lua) takes the call. It precedes all other pieces and is no function, because Lua creates a script's functions anew at every call.
-- The script sets `verb`: 'r' record, 't' try.
-- include: lib/constants.lua
-- include: lib/calendar.lua
-- include: lib/schedule.lua
-- include: lib/clock.lua
-- include: lib/budgets.lua
-- include: lib/gates.lua
-- include: lib/flights.lua
-- include: lib/pace.lua
-- include: lib/paced_until.lua
-- include: lib/local_day.lua
repeat
  local format, find, is_try = string.format, string.find, verb == 't'
  local shard_key, registry_key, journal_key, requests_0, requests_1, events_0, events_1, brand_key = unpack(KEYS, 1, 8)
  local layout, request, body, packed_log = unpack(ARGV, 1, 4)
  if packed_log or not serves(layout) then break end
  local campaign_id, digits, event, occurred = string.match(body or '', '^(%d+),(%d+),([^,;]*),(%d*);$')
  local last = is_try and 11 or 9
  if not campaign_id or #KEYS ~= last or #request > 80 or not find(request, ID) or #digits > 13 then break end
  if event ~= '' and (#event > 64 or not find(event, ID)) then break end
  if occurred ~= '' and (#occurred > 15 or occurred + 0 > LAST_INSTANT) then break end
  local amount, prefix = digits + 0, string.sub(shard_key, 1, -6)
  local brand_id = format('%d', (campaign_id - campaign_id % 65536) / 65536)
  local campaign_key = KEYS[last]
  if registry_key ~= prefix .. 'registry' or journal_key ~= prefix .. 'journal' or amount < 1 or amount > MAX_AMOUNT then break end
  if requests_0 ~= prefix .. 'requests:0' or requests_1 ~= prefix .. 'requests:1' then break end
  if events_0 ~= prefix .. 'events:0' or events_1 ~= prefix .. 'events:1' then break end
  if brand_key ~= prefix .. 'brand:' .. brand_id or campaign_key ~= prefix .. 'campaign:' .. campaign_id then break end
  local holds_key, expiry_key = KEYS[9], KEYS[10]
  if is_try and (holds_key ~= prefix .. 'holds:' .. brand_id or expiry_key ~= prefix .. 'expiry:' .. brand_id) then break end

  local counter = is_try and 'count:accepted' or 'count:recorded'
  local state = redis.pcall('HMGET', shard_key, 'mark', 'layout', 'now', 'n', counter, 'req_active', 'req_until', 'ev_active', 'ev_until')
  local counted, requests = state[5] or '0', state[6] == '0' and requests_0 or state[6] == '1' and requests_1
  if not state[1] or not serves_data(state[2]) or not state[3] or not state[4] or not requests or not state[7] then break end
  if state[3] == '' or state[4] == '' or counted == '' or state[7] == '' then break end
  if not find(state[3] .. state[4] .. counted .. state[7], WHOLE) then break end
  local last_now, n, now = state[3] + 0, state[4] + 1, read_clock()
  if now < last_now - CLOCK_SLACK_MS then break end
  if now < last_now then now = last_now end
  if now >= state[7] + 0 then break end
  local events = state[8] == '0' and events_0 or state[8] == '1' and events_1
  if event ~= '' and (not events or not find(state[9] or '', WHOLE) or now >= state[9] + 0) then break end

  -- The day of UTC, and after the brand is read its own.
  local day, zone, local_now = day_of(now), nil, now
  -- A shard of the first layout has no grace for late spends (lib/late.lua).
  if occurred ~= '' and state[2] ~= LAYOUT and occurred + 0 < now - now % DAY_MS then break end
  local month, day_text, now_text = month_of(day), format('%d', day), format('%d', now)
  local day_field, month_field = 'd:' .. day_text, format('m:%d', month)
  local with_control = state[2] ~= LAYOUT
  local brand = with_control and redis.pcall('HMGET', brand_key, 'archived', 'held'
    -- each brand budget
    , '$limit', $counter
    -- end each
    , 'b', 'n1', 'p', 'zone') or redis.pcall('HMGET', brand_key, 'archived', 'held'
    -- each brand budget
    , '$limit', $counter
    -- end each
  )
  if not brand[1] then break end
  if with_control and brand[#brand] then
    -- make: zone_of, local_ms
    zone = zone_of(brand[#brand])
    if not zone then break end
    local_now = local_ms(zone, now)
    if occurred ~= '' then
      -- make: day_begins
      if occurred + 0 < day_begins(zone, day_of(local_now)) then break end
    end
    if day_of(local_now) ~= day then
      day = day_of(local_now)
      month, day_text = month_of(day), format('%d', day)
      day_field, month_field = 'd:' .. day_text, format('m:%d', month)
      local counters = redis.call('HMGET', brand_key
        -- each brand budget
        , $counter
        -- end each
      )
      -- each brand budget
      brand[2 * $i + 2] = counters[$i]
      -- end each
    end
  end
  -- A shard of the first layout has no campaign with limits of its own. Whoever has flights, a brake or pacing has the field `x` too.
  local campaign = with_control and redis.pcall('HMGET', campaign_key, 'on', 'archived', 'schedule', day_field, month_field, 'x')
    or redis.pcall('HMGET', campaign_key, 'on', 'archived', 'schedule', day_field, month_field)
  local schedule, own, brand_paced, own_paced = campaign[3], campaign[6], with_control and brand[#brand - 1], nil
  if not campaign[1] or not campaign[2] or not schedule then break end
  -- Scheduled changes of limits are left to the slow path.
  if with_control and brand[#brand - 2] then break end
  local carry = with_control and brand[#brand - 3]
  if carry then
    -- A rollover (lib/rollover.lua), without its functions. The first call of a day, which writes its carry, is left to the slow path.
    local cap, of_day, left, rest = string.match(carry, '^(%d+),(%d+),(%d+),(%d*)$')
    if of_day ~= day_text or #cap > 16 or #left > 16 or #rest > 16 then break end
    local carried = math.min(cap + 0, left + 0)
    if math.max(cap + 0, left + 0) > MAX_TOTAL then break end
    if brand[3] and #brand[3] <= 16 and find(brand[3], WHOLE) and brand[3] + 0 > 0 then brand[3] = format('%d', math.min(brand[3] + carried, MAX_TOTAL)) end
  end
  -- A paused brand is left to the slow path; so is a malformed value, which takes the shard out of use there.
  if not find(campaign[1] .. ',' .. campaign[2] .. ',' .. brand[1], '^[01],[01],[01]$') or (schedule ~= '' and not is_schedule(schedule)) then break end
  local held, own_daily, own_monthly = brand[2] or '0', campaign[4] or '0', campaign[5] or '0'
  if held == '' or own_daily == '' or own_monthly == '' or #held > 16 then break end
  -- each brand budget
  local limit_$i, before_$i = brand[2 * $i + 1] or $absent, brand[2 * $i + 2] or '0'
  if not limit_$i or #limit_$i > 16 or before_$i == '' then break end
  -- end each
  if not find(held .. own_daily .. own_monthly
    -- each brand budget
    .. before_$i
    -- end each
  , WHOLE) or not find(''
    -- each brand budget
    .. limit_$i
    -- end each
  , '^%d*$') then break end
  if held ~= '0' and is_try then
    -- Holds reduce what is left; expired ones are removed by the slow path.
    local holds, first = redis.pcall('HLEN', holds_key), redis.pcall('ZRANGEBYSCORE', expiry_key, '-inf', '+inf', 'WITHSCORES', 'LIMIT', '0', '1')
    if type(holds) ~= 'number' or holds == 0 or not first[2] or first[2] + 0 <= now then break end
  end
  held, own_daily, own_monthly, counted = held + 0, own_daily + amount, own_monthly + amount, counted + 1

  local limits, flight_field, flight, outside, starts = nil, nil, nil, false, nil
  local lifetime, first, second, braked, opened, minute_before, stepped
  if own then
    lifetime, first, braked, opened, minute_before, own_paced, stepped = unpack(redis.call('HMGET', campaign_key, LIFETIME, 'f1', 'br', 'bk', 's', 'p', 'n1'))
    if stepped then break end
  end
  if own and (own ~= NO_LIMITS or first or braked) then
    limits, flight_field, flight, outside, starts = limits_at(own, first, nil, now)
    if outside then
      second = redis.call('HGET', campaign_key, 'f2')
      limits, flight_field, flight, outside, starts = limits_at(own, first, second, now)
    end
    if not limits or limits.even then break end
    if starts and schedule ~= '' then
      -- make: local_ms
      if not within_schedule(schedule, local_ms(zone, starts)) then starts = nil end
    end
  end
  local on, archived, broken, paused = campaign[1] == '1', campaign[2] == '1' or brand[1] == '1', false, false
  -- Without a daily budget nothing is paced.
  if limit_1 == '' then brand_paced = nil end
  if not limits or limits[1] == '' then own_paced = nil end
  local paced = brand_paced or own_paced
  -- Of a paced campaign that will run again later, the slow path says when.
  if paced and starts then break end
  -- What the minute has spent (lib/minute.lua), without its functions: each would cost every call.
  local minute, minute_spent, brand_minute_spent = (now - now % 60000) / 60000, 0, 0
  local asked, demand, own_rate, brand_asked, brand_demand, brand_rate
  if own_paced then
    -- The first call of a minute sets its pass rate (lib/pass_rate.lua), in the slow path.
    local no, spent
    no, spent, asked, demand, own_rate = string.match(minute_before or '', '^(%d+),(%d+),(%d+),(%d+),(%d+)$')
    if not no or no ~= format('%d', minute) or #spent > 16 or #asked > 14 or #demand > 14 or #own_rate > 7 then break end
    minute_spent, asked = spent + 0, asked + 0
  elseif braked then
    local no, spent = string.match(minute_before or '0,0', '^(%d+),(%d+)$')
    if not no or #no > 15 or #spent > 16 or no + 0 > minute then break end
    if no + 0 == minute then minute_spent = spent + 0 end
  end
  if brand_paced then
    local no, spent
    no, spent, brand_asked, brand_demand, brand_rate = string.match(redis.call('HGET', brand_key, 's') or '', '^(%d+),(%d+),(%d+),(%d+),(%d+)$')
    if not no or no ~= format('%d', minute) or #spent > 16 or #brand_asked > 14 or #brand_demand > 14 or #brand_rate > 7 then break end
    brand_minute_spent, brand_asked = spent + 0, brand_asked + 0
  end
  -- The brake (lib/brake.lua).
  local minute_limit, before_open = nil, math.huge
  if braked then
    local limit, breaker = string.match(braked, '^(%d*),(%d*),%d+$')
    if not limit or #braked > 64 or #limit > 16 or #breaker > 16 then break end
    local resumed, base = nil, nil
    if opened then
      resumed, base = string.match(opened, '^,(%d+),(%d+)$')
      broken = not resumed
      if broken and (#opened > 16 or not find(opened, WHOLE)) or (resumed and (#resumed > 15 or #base > 16)) then break end
    end
    minute_limit = tonumber(limit)
    if breaker ~= '' and not broken then before_open = breaker - minute_spent + (resumed and resumed + 0 == minute and base or 0) end
    if math.max(minute_limit or 0, tonumber(breaker) or 0) > MAX_TOTAL then break end
  end
  local closed, used_up, largest = 0, 0, math.max(n, counted, held, own_daily, own_monthly, minute_spent + amount, brand_minute_spent + amount)
  do
    local now = local_now
    -- each gate
    if $closed then closed = closed + $cause end
    -- end each
  end
  local refused = closed
  -- each brand budget
  local most_$i, was_$i = tonumber(limit_$i), before_$i + 0
  local spent_$i = was_$i + amount
  if spent_$i > largest then largest = spent_$i end
  if most_$i and most_$i > largest then largest = most_$i end
  if is_used_up(most_$i, was_$i) then used_up = used_up + $cause end
  if amount > left_of(most_$i, was_$i, held) then refused = refused + $cause end
  -- end each
  -- each campaign budget
  local cap_$i, met_$i = nil, 0
  -- end each
  local rate, room_in_minute, own_held, extra, extra_value = 0, math.huge, 0, nil, nil
  if limits then
    if is_try and held > 0 then
      own_held = redis.call('HGET', brand_key, 'h:' .. campaign_id) or '0'
      if #own_held > 16 or not find(own_held, WHOLE) then break end
      own_held = own_held + 0
    end
    local counted_in_all = lifetime
    if flight then counted_in_all = redis.call('HGET', campaign_key, flight_field) end
    -- each campaign budget
    if limits[$limit] ~= '' then
      local counter = $counter == day_field and (campaign[4] or '0') or $counter == month_field and (campaign[5] or '0') or counted_in_all or $absent
      if not counter or #counter > 16 or not find(counter, WHOLE) or #limits[$limit] > 16 then break end
      cap_$i, met_$i = limits[$limit] + 0, counter + 0
      largest = math.max(largest, own_held, cap_$i, met_$i + amount)
      if is_used_up(cap_$i, met_$i) then used_up = used_up + $cause end
      if amount > left_of(cap_$i, met_$i, own_held) then refused = refused + $cause end
      if $counter ~= day_field and $counter ~= month_field then
        if extra then break end
        extra, extra_value = $counter, met_$i + amount
      end
    end
    -- end each
    room_in_minute = left_of(minute_limit, 0, own_held)
    if amount > room_in_minute - minute_spent then refused = refused + RATE end
  end
  if largest > MAX_TOTAL then break end
  if is_used_up(minute_limit, minute_spent) then rate = RATE end
  -- The answer tells a pass rate below the whole.
  local rates = nil
  if paced then
    -- make: both_rates
    local both = both_rates(brand_rate or ALL, own_rate or ALL)
    if both < ALL then rates = campaign_id .. ':' .. format('%d', both) end
  end
  -- Pacing: daily budgets are the first of their owners. A malformed pacing is left to the slow path.
  local pace, own_pace, gap, own_gap = nil, nil, math.huge, math.huge
  if paced and is_try then
    -- make: read_pace, allowance
    local allowed, most
    local at, length = now % DAY_MS, DAY_MS
    if zone then
      -- make: time_of_day
      at, length = time_of_day(now, zone)
    end
    if brand_paced then
      pace = read_pace(brand_key, brand_paced, day, zone)
      if not pace then break end
      allowed, most = allowance(pace, most_1, was_1 - brand_minute_spent, at, length)
      if carry then pace.carries = true end
      pace.allowed, pace.most, gap = allowed, most, math.min(allowed - was_1 - held, most - brand_minute_spent)
    end
    if own_paced then
      own_pace = read_pace(campaign_key, own_paced, day, zone)
      if not own_pace then break end
      allowed, most = allowance(own_pace, cap_1, met_1 - minute_spent, at, length)
      own_pace.allowed, own_pace.most, own_gap = allowed, most, math.min(allowed - met_1 - own_held, most - minute_spent)
    end
    gap = math.min(gap, own_gap)
    if gap <= 0 then refused = refused + PACING end
  end

  local one, other = redis.pcall('HMGET', requests_0, '#', request), redis.pcall('HMGET', requests_1, '#', request)
  if not one[1] or not other[1] or one[2] or other[2] then break end
  local seen_as = event ~= '' and brand_id .. ':' .. event
  if seen_as then
    one, other = redis.pcall('HMGET', events_0, '#', seen_as), redis.pcall('HMGET', events_1, '#', seen_as)
    if not one[1] or not other[1] or one[2] or other[2] then break end
  end
  local content = #body <= SHORT and body or string.sub(redis.sha1hex(body), 1, 16)

  if is_try and refused > 0 then
    local outcome, at = 'x' .. refused, nil
    if first and (refused == RATE or gap <= 0) then second = second or redis.call('HGET', campaign_key, 'f2') end
    if refused == RATE and amount <= room_in_minute then
      -- The minute alone refused it: it says when the next begins, if nothing else stops the campaign then.
      at = (minute + 1) * 60000
      local _, _, _, outside_then = limits_at(own, first, second, at)
      -- make: local_ms
      if outside_then or (schedule ~= '' and not within_schedule(schedule, local_ms(zone, at))) then at = nil end
      starts = at
    elseif gap <= 0 then
      at = now
    end
    if at and paced then
      -- make: paced_until
      if pace then pace.budget, pace.minute = { limit = most_1, spent = was_1 }, { spent = brand_minute_spent } end
      if own_pace then own_pace.budget, own_pace.minute = { limit = cap_1, spent = met_1 }, { spent = minute_spent } end
      local of_brand = { key = brand_key, held = held, archived = brand[1] == '1', zone = zone, pace = pace, own_held = { [campaign_id] = own_held } }
      local of_campaign = {
        id = campaign_id, on = on, archived = archived, schedule = schedule, limits = limits and own, f1 = first, f2 = second, flight = flight, broken = broken,
        pace = own_pace,
      }
      starts = paced_until(of_brand, of_campaign, now, at)
    end
    local refused_before = redis.call('HGET', shard_key, 'count:' .. outcome) or '0'
    if not find(refused_before, WHOLE) or #refused_before > 15 then break end
    redis.call('HSET', shard_key, 'now', now_text, 'n', state[4], counter, state[5] or '0', 'count:' .. outcome, format('%d', refused_before + 1))
    redis.call('HSET', requests, request, 't' .. content .. ' ' .. outcome .. '*1')
    if refused == PACING or refused == PACING + RATE then
      -- What pacing alone refused was asked too.
      if brand_paced then
        brand_asked = math.min(brand_asked + amount, MOST_ASKED)
        redis.call('HSET', brand_key, 's', format('%d,%d,%d,%s,%s', minute, brand_minute_spent, brand_asked, brand_demand, brand_rate))
      end
      if own_paced then
        asked = math.min(asked + amount, MOST_ASKED)
        redis.call('HSET', campaign_key, 's', format('%d,%d,%d,%s,%s', minute, minute_spent, asked, demand, own_rate))
      end
    end
    return { 'ok', outcome .. '*1', format('%s:%d:%d:%s:%s', brand_id, was_1, was_2, limit_1, limit_2), campaign_id .. ':' .. closed + used_up + rate,
      starts and campaign_id .. ':' .. format('%d', starts) or rates and '' or nil, rates }
  end

  local full, round = 0, own_daily % ROUND == 0 or own_monthly % ROUND == 0 or n % ROUND == 0 or counted % ROUND == 0
  -- each brand budget
  if is_used_up(most_$i, spent_$i) then full = full + $cause end
  round = round or spent_$i % ROUND == 0
  -- end each
  -- each campaign budget
  if cap_$i then
    if is_used_up(cap_$i, met_$i + amount) then full = full + $cause end
    round = round or (met_$i + amount) % ROUND == 0
  end
  -- end each
  if round then break end
  -- A budget that becomes used up, and a breaker that opens, need a journal item and a message to watchers: the slow path writes both.
  if full ~= used_up or amount > before_open then break end
  if is_used_up(minute_limit, minute_spent + amount) then full = full + RATE end
  local added
  if zone then
    -- The offset at this instant, from which the entry's day is known (lib/zone_entry.lua).
    local flown, offset = flight and campaign_id .. ':' .. flight, brand_id .. ':' .. format('%d', local_now - now)
    if flown then
      added = redis.pcall('XADD', journal_key, 'NOMKSTREAM', now_text .. '-*', 'f', '3', 'n', n, 'r', request, 'b', body, 'v', flown, 'z', offset)
    else
      added = redis.pcall('XADD', journal_key, 'NOMKSTREAM', now_text .. '-*', 'f', '3', 'n', n, 'r', request, 'b', body, 'z', offset)
    end
  elseif flight then
    added = redis.pcall('XADD', journal_key, 'NOMKSTREAM', now_text .. '-*', 'f', '1', 'n', n, 'r', request, 'b', body, 'v', campaign_id .. ':' .. flight)
  else
    added = redis.pcall('XADD', journal_key, 'NOMKSTREAM', now_text .. '-*', 'f', '1', 'n', n, 'r', request, 'b', body)
  end
  if not added or added.err then break end
  redis.call('HSET', shard_key, 'now', now_text, 'n', n, counter, counted)
  redis.call('HSET', requests, request, verb .. content .. ' k*1')
  if seen_as then redis.call('HSET', events, seen_as, campaign_id .. ',' .. digits .. ',' .. day_text .. (flight and ',' .. flight or '')) end
  if brand_paced then
    if is_try then brand_asked = math.min(brand_asked + amount, MOST_ASKED) end
    redis.call('HSET', brand_key
      -- each brand budget
      , $counter, spent_$i
      -- end each
      , 's', format('%d,%d,%d,%s,%s', minute, brand_minute_spent + amount, brand_asked, brand_demand, brand_rate)
    )
  else
    redis.call('HSET', brand_key
      -- each brand budget
      , $counter, spent_$i
      -- end each
    )
  end
  local in_minute = braked and format('%d,%d', minute, minute_spent + amount)
  if own_paced then
    if is_try then asked = math.min(asked + amount, MOST_ASKED) end
    in_minute = format('%d,%d,%d,%s,%s', minute, minute_spent + amount, asked, demand, own_rate)
  end
  if extra and in_minute then
    redis.call('HSET', campaign_key, day_field, own_daily, month_field, own_monthly, extra, extra_value, 's', in_minute)
  elseif extra or in_minute then
    redis.call('HSET', campaign_key, day_field, own_daily, month_field, own_monthly, extra or 's', extra_value or in_minute)
  else
    redis.call('HSET', campaign_key, day_field, own_daily, month_field, own_monthly)
  end
  return { 'ok', 'k*1', format('%s:%d:%d:%s:%s', brand_id, spent_1, spent_2, limit_1, limit_2), campaign_id .. ':' .. closed + full,
    starts and campaign_id .. ':' .. format('%d', starts) or rates and '' or nil, rates }
until true
