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

  local day = day_of(now)
  local month, day_text, now_text = month_of(day), format('%d', day), format('%d', now)
  local day_field, month_field = 'd:' .. day_text, format('m:%d', month)
  local with_control = state[2] ~= LAYOUT
  local brand = with_control and redis.pcall('HMGET', brand_key, 'archived', 'held'
    -- each brand budget
    , '$limit', $counter
    -- end each
    , 'p') or redis.pcall('HMGET', brand_key, 'archived', 'held'
    -- each brand budget
    , '$limit', $counter
    -- end each
  )
  -- A shard of the first layout has no campaign with limits of its own.
  local campaign = with_control
    and redis.pcall('HMGET', campaign_key, 'on', 'archived', 'schedule', day_field, month_field, 'x', LIFETIME, 'f1', 'f2', 'br', 'bk', 's', 'p')
    or redis.pcall('HMGET', campaign_key, 'on', 'archived', 'schedule', day_field, month_field)
  local schedule = campaign[3]
  if not brand[1] or not campaign[1] or not campaign[2] or not schedule then break end
  if with_control and (brand[#brand] or campaign[13]) then break end
  -- A malformed value is left to the slow path, which takes the shard out of use.
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
    local holds_key, expiry_key = prefix .. 'holds:' .. brand_id, prefix .. 'expiry:' .. brand_id
    if KEYS[9] ~= holds_key or KEYS[10] ~= expiry_key then break end
    local holds, first = redis.pcall('HLEN', holds_key), redis.pcall('ZRANGEBYSCORE', expiry_key, '-inf', '+inf', 'WITHSCORES', 'LIMIT', '0', '1')
    if type(holds) ~= 'number' or holds == 0 or not first[2] or first[2] + 0 <= now then break end
  end
  held, own_daily, own_monthly, counted = held + 0, own_daily + amount, own_monthly + amount, counted + 1

  local limits, flight_field, flight, outside, starts = nil, nil, nil, false, nil
  if campaign[6] and (campaign[6] ~= NO_LIMITS or campaign[8] or campaign[10]) then
    limits, flight_field, flight, outside, starts = limits_at(campaign[6], campaign[8], campaign[9], now)
    if not limits then break end
    if starts and schedule ~= '' and not within_schedule(schedule, starts) then starts = nil end
  end
  local on, archived, broken = campaign[1] == '1', campaign[2] == '1' or brand[1] == '1', false
  -- The brake (lib/brake.lua), without its functions: each would cost every call.
  local minute, minute_spent, minute_limit, before_open = nil, 0, nil, math.huge
  if campaign[10] then
    local limit, breaker = string.match(campaign[10], '^(%d*),(%d*),%d+$')
    local no, spent = string.match(campaign[12] or '0,0', '^(%d+),(%d+)$')
    minute = (now - now % 60000) / 60000
    if not limit or #campaign[10] > 64 or #limit > 16 or #breaker > 16 or not no or #no > 15 or #spent > 16 or no + 0 > minute then break end
    if no + 0 == minute then minute_spent = spent + 0 end
    local resumed, base = string.match(campaign[11] or '', '^,(%d+),(%d+)$')
    broken, minute_limit = campaign[11] and not resumed, tonumber(limit)
    if broken and (#campaign[11] > 16 or not find(campaign[11], WHOLE)) or (resumed and (#resumed > 15 or #base > 16)) then break end
    if breaker ~= '' and not broken then before_open = breaker - minute_spent + (resumed and resumed + 0 == minute and base or 0) end
    if math.max(minute_spent + amount, minute_limit or 0, tonumber(breaker) or 0) > MAX_TOTAL then break end
  end
  local closed, used_up, largest = 0, 0, math.max(n, counted, held, own_daily, own_monthly)
  -- each gate
  if $closed then closed = closed + $cause end
  -- end each
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
  local rate, room_in_minute = 0, math.huge
  if limits then
    local own_held = is_try and held > 0 and redis.call('HGET', brand_key, 'h:' .. campaign_id) or '0'
    if #own_held > 16 or not find(own_held, WHOLE) then break end
    own_held = own_held + 0
    local counted_in_all = campaign[7]
    if flight then counted_in_all = redis.call('HGET', campaign_key, flight_field) end
    -- each campaign budget
    if limits[$limit] ~= '' then
      local counter = $counter == day_field and (campaign[4] or '0') or $counter == month_field and (campaign[5] or '0') or counted_in_all or $absent
      if not counter or #counter > 16 or not find(counter, WHOLE) or #limits[$limit] > 16 then break end
      cap_$i, met_$i = limits[$limit] + 0, counter + 0
      largest = math.max(largest, own_held, cap_$i, met_$i + amount)
      if is_used_up(cap_$i, met_$i) then used_up = used_up + $cause end
      if amount > left_of(cap_$i, met_$i, own_held) then refused = refused + $cause end
    end
    -- end each
    room_in_minute = left_of(minute_limit, 0, own_held)
    if amount > room_in_minute - minute_spent then refused = refused + RATE end
  end
  if largest > MAX_TOTAL then break end
  if is_used_up(minute_limit, minute_spent) then rate = RATE end

  local one, other = redis.pcall('HMGET', requests_0, '#', request), redis.pcall('HMGET', requests_1, '#', request)
  if not one[1] or not other[1] or one[2] or other[2] then break end
  local seen_as = event ~= '' and brand_id .. ':' .. event
  if seen_as then
    one, other = redis.pcall('HMGET', events_0, '#', seen_as), redis.pcall('HMGET', events_1, '#', seen_as)
    if not one[1] or not other[1] or one[2] or other[2] then break end
  end
  local content = #body <= SHORT and body or string.sub(redis.sha1hex(body), 1, 16)

  if is_try and refused > 0 then
    local outcome = 'x' .. refused
    if refused == RATE and amount <= room_in_minute then
      -- The minute alone refused it: it says when the next begins, if nothing else stops the campaign then.
      local at = (minute + 1) * 60000
      local _, _, _, outside_then = limits_at(campaign[6], campaign[8], campaign[9], at)
      if not outside_then and (schedule == '' or within_schedule(schedule, at)) then starts = at end
    end
    local refused_before = redis.call('HGET', shard_key, 'count:' .. outcome) or '0'
    if not find(refused_before, WHOLE) or #refused_before > 15 then break end
    redis.call('HSET', shard_key, 'now', now_text, 'n', state[4], counter, state[5] or '0', 'count:' .. outcome, format('%d', refused_before + 1))
    redis.call('HSET', requests, request, 't' .. content .. ' ' .. outcome .. '*1')
    return { 'ok', outcome .. '*1', format('%s:%d:%d:%s:%s', brand_id, was_1, was_2, limit_1, limit_2), campaign_id .. ':' .. closed + used_up + rate,
      starts and campaign_id .. ':' .. format('%d', starts) or nil }
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
  if flight then
    added = redis.pcall('XADD', journal_key, 'NOMKSTREAM', now_text .. '-*', 'f', '1', 'n', n, 'r', request, 'b', body, 'v', campaign_id .. ':' .. flight)
  else
    added = redis.pcall('XADD', journal_key, 'NOMKSTREAM', now_text .. '-*', 'f', '1', 'n', n, 'r', request, 'b', body)
  end
  if not added or added.err then break end
  redis.call('HSET', shard_key, 'now', now_text, 'n', n, counter, counted)
  redis.call('HSET', requests, request, verb .. content .. ' k*1')
  if seen_as then redis.call('HSET', events, seen_as, campaign_id .. ',' .. digits .. ',' .. day_text .. (flight and ',' .. flight or '')) end
  redis.call('HSET', brand_key
    -- each brand budget
    , $counter, spent_$i
    -- end each
  )
  if limits then
    -- A budget without a limit writes the day's counter again.
    redis.call('HSET', campaign_key, day_field, own_daily, month_field, own_monthly
      -- each campaign budget
      , cap_$i and $counter or day_field, cap_$i and met_$i + amount or own_daily
      -- end each
      , minute and 's' or day_field, minute and format('%d,%d', minute, minute_spent + amount) or own_daily
    )
  else
    redis.call('HSET', campaign_key, day_field, own_daily, month_field, own_monthly)
  end
  return { 'ok', 'k*1', format('%s:%d:%d:%s:%s', brand_id, spent_1, spent_2, limit_1, limit_2), campaign_id .. ':' .. closed + full,
    starts and campaign_id .. ':' .. format('%d', starts) or nil }
until true
