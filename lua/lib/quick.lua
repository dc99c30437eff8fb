-- The usual call by the shortest way: one spend, no event id, nothing out of the ordinary. Where anything is, it is left, having written nothing: the
-- call then goes the general way (lib/charge.lua), which says what. It stands before all other pieces, and is no function, because a script makes its
-- functions anew at every call. What it remembers of the call is its text, which is short: a digest (lib/charge.lua) took a twentieth of the call's time.
-- `verb` is set by the script: 'r' states a fact, 't' asks.
-- include: lib/text.lua
-- include: lib/calendar.lua
-- include: lib/schedule.lua
-- include: lib/clock.lua
-- include: lib/constants.lua
repeat
  local format = string.format
  if ARGV[4] or ARGV[1] ~= LAYOUT then break end
  local campaign_id, digits = string.match(ARGV[3] or '', '^(%d+),(%d+),,;$')
  local request, shard_key = ARGV[2], KEYS[1]
  local plan = verb == 't' and 4 or 2
  if not campaign_id or #KEYS ~= 7 + plan then break end
  if #request > 80 or not string.find(request, ID) or #digits > 13 then break end
  local amount, prefix = digits + 0, string.sub(shard_key, 1, -6)
  local brand_id = format('%d', (campaign_id - campaign_id % 65536) / 65536)
  local brand_key, campaign_key = prefix .. 'brand:' .. brand_id, prefix .. 'campaign:' .. campaign_id
  if KEYS[2] ~= prefix .. 'registry' or KEYS[3] ~= prefix .. 'journal' or KEYS[6] ~= prefix .. 'events:0' or KEYS[7] ~= prefix .. 'events:1' then break end
  if KEYS[4] ~= prefix .. 'requests:0' or KEYS[5] ~= prefix .. 'requests:1' then break end
  if KEYS[8] ~= brand_key or KEYS[7 + plan] ~= campaign_key or amount < 1 or amount > MAX_AMOUNT then break end

  local counter = verb == 't' and 'count:accepted' or 'count:recorded'
  local state = redis.pcall('HMGET', shard_key, 'mark', 'layout', 'now', 'n', counter, 'req_active', 'req_until')
  local counted, memory = state[5] or '0', state[6] == '0' and KEYS[4] or state[6] == '1' and KEYS[5]
  if not state[1] or state[2] ~= LAYOUT or not state[3] or not state[4] or not memory or not state[7] then break end
  if state[3] == '' or state[4] == '' or counted == '' or state[7] == '' then break end
  if not string.find(state[3] .. state[4] .. counted .. state[7], WHOLE) then break end
  local kept, n, till = state[3] + 0, state[4] + 1, state[7] + 0
  counted = counted + 1
  local now = read_clock()
  if now < kept - CLOCK_SLACK_MS then break end
  if now < kept then now = kept end
  if now >= till then break end

  local day = day_of(now)
  local day_field, month_field = format('d:%d', day), format('m:%d', month_of(day))
  local brand = redis.pcall('HMGET', brand_key, 'daily', 'monthly', 'archived', day_field, month_field, 'held')
  local campaign = redis.pcall('HMGET', campaign_key, 'on', 'archived', 'schedule', day_field, month_field)
  if not brand[1] or not brand[2] or not brand[3] or not campaign[1] or not campaign[2] or not campaign[3] then break end
  local daily, monthly, held, own_daily, own_monthly = brand[4] or '0', brand[5] or '0', brand[6] or '0', campaign[4] or '0', campaign[5] or '0'
  if daily == '' or monthly == '' or held == '' or own_daily == '' or own_monthly == '' then break end
  if not string.find(daily .. monthly .. held .. own_daily .. own_monthly, WHOLE) then break end
  daily, monthly, own_daily, own_monthly = daily + amount, monthly + amount, own_daily + amount, own_monthly + amount
  if monthly > MAX_TOTAL or daily > MAX_TOTAL or own_daily > MAX_TOTAL or own_monthly > MAX_TOTAL or n > MAX_TOTAL or counted > MAX_TOTAL then break end
  if daily % ROUND == 0 or monthly % ROUND == 0 or own_daily % ROUND == 0 or own_monthly % ROUND == 0 or n % ROUND == 0 or counted % ROUND == 0 then
    break
  end
  local schedule = campaign[3]
  -- What is not of its grammar is told by the general way, which takes the shard out of use.
  if not string.find(brand[1] .. brand[2], '^%d*$') or #brand[1] > 16 or #brand[2] > 16 then break end
  if not string.find(campaign[1] .. campaign[2] .. brand[3], '^[01][01][01]$') then break end
  if schedule ~= '' and not is_schedule(schedule) then break end
  local daily_limit, monthly_limit = tonumber(brand[1]) or math.huge, tonumber(brand[2]) or math.huge
  local mask = (campaign[1] == '1' and 0 or MANUAL) + ((campaign[2] == '1' or brand[3] == '1') and ARCHIVED or 0)
    + (within_schedule(schedule, now) and 0 or SCHEDULE)
  if verb == 't' and (mask > 0 or held ~= '0' or daily > daily_limit or monthly > monthly_limit) then break end
  -- A budget that becomes used up is told to the journal and to watchers: the general way.
  if (daily - amount < daily_limit) ~= (daily < daily_limit) or (monthly - amount < monthly_limit) ~= (monthly < monthly_limit) then
    break
  end
  mask = mask + (daily >= daily_limit and DAILY_BUDGET or 0) + (monthly >= monthly_limit and MONTHLY_BUDGET or 0)

  local one, other = redis.pcall('HMGET', KEYS[4], '#', request), redis.pcall('HMGET', KEYS[5], '#', request)
  if not one[1] or not other[1] or one[2] or other[2] then break end
  local now_text = format('%d', now)
  local added = redis.pcall('XADD', KEYS[3], 'NOMKSTREAM', now_text .. '-*', 'f', '1', 'n', n, 'r', request, 'b', ARGV[3])
  if not added or added.err then break end
  redis.call('HSET', shard_key, 'now', now_text, 'n', n, counter, counted)
  redis.call('HSET', memory, request, verb .. ARGV[3] .. ' k*1')
  redis.call('HSET', brand_key, day_field, daily, month_field, monthly)
  redis.call('HSET', campaign_key, day_field, own_daily, month_field, own_monthly)
  return { 'ok', 'k*1', format('%s:%d:%d:%s:%s', brand_id, daily, monthly, brand[1], brand[2]), campaign_id .. ':' .. mask }
until true
