-- The slow path of counting spends, which covers every case. A call has up to 1,000 spends of one shard. They are evaluated in order, each by what the
-- ones before it left, and written together with their journal entry.
--
-- KEYS  1 shard  2 registry  3 journal  4-5 requests  6-7 events  8.. the brands and campaigns of the spends, in any order;
--       try_spends and draw_spends also take holds and expiry of each brand, side by side
-- ARGV  1 layout  2 request id  3 spends: `<campaign_id>,<amount_micros>,<event_id or nothing>,<occurred_ms or nothing>;` each; or, packed, 3 their
--       sums and 4 their log, and with event ids 5 day, 6 names and 7 the values to store (lib/packed.lua). A packed call gets the same replies as
--       a text call: where not every sum fits, its spends are evaluated one by one. `call` is a table: {layout, request, body (3), log, ...}
-- Reply {'ok', outcomes, brands, campaigns}: outcomes as runs `k*998,x8*2` in the order of the spends: k counted, d duplicate, c conflict,
--         u unknown campaign, x<causes> refused; brands `id:daily_spend:monthly_spend:daily_limit:monthly_limit;` and campaigns
--         `id:causes;` after the whole call (limits empty = none, causes a bit mask, 0 = running)
--       {'not_ready', why} | {'wrong_version', layout} | {'invalid', index, field}: nothing was written
-- include: lib/call.lua
-- include: lib/spends.lua
-- include: lib/packed.lua
-- include: lib/outcomes.lua
-- include: lib/by_sums.lua
-- include: lib/by_one.lua
-- include: lib/draw.lua
-- include: lib/late_calls.lua
-- include: lib/flight_entry.lua
-- include: lib/zone_entry.lua
-- include: lib/plan_changes.lua

-- The spends of a call as columns (lib/spends.lua), or nil and the reply. Columns of a packed call have `named`, and no places and amounts yet.
local function parse(verb, call)
  if not call.log then
    local columns = parse_columns(call.body)
    if columns then return columns end
    return nil, first_bad(call.body)
  end
  local has_names = verb ~= 'd' and call.day
  local sums, size = parse_sums(call.body, call.log, has_names and NAMED or PACKED)
  if not sums then return nil, size end
  local columns, bad = { size = size, sums = sums }, nil
  if has_names then
    columns.named, bad = read_names(call, size)
    if not columns.named then return nil, bad end
  end
  return columns
end

-- The outcomes that an earlier call of the same id got, one per spend; nil when there was none, false where the stored value is malformed. A call with
-- other content is a conflict in every spend. Scripts of earlier releases stored a digest of short calls too.
local function outcomes_before(remembered, verb, content, body, size)
  if not remembered then return nil end
  local kept_verb, kept_content, kept = string.match(remembered, '^(.)(%S+) (.*)$')
  -- A draw is stored as a try call where its hold covered it, else as a record call.
  local same = kept_content == content or (content == body and kept_content == digest_of(body))
  if same and (kept_verb == '*' or kept_verb == verb or verb == 'd') then return unpack_outcomes(kept, size) or false end
  local conflicts = {}
  for i = 1, size do conflicts[i] = 'c' end
  return conflicts
end

-- Takes expired holds off their brands, in the tables. Returns {brand = holds} and the journal's lines; or nil, nil and the reply.
local function sweep(plans, now)
  local due, lines = {}, {}
  for _, brand in pairs(plans.brands) do
    if brand.holds_key then
      due[brand] = expire_holds(brand, brand.holds_key, brand.expiry_key, now)
      if not due[brand] then return nil, nil, invalidate_shard(shard_key, brand.holds_key) end
      expired_lines(due[brand], lines)
    end
  end
  return due, lines
end

-- Looks up events: {name = stored value} and their dedup window; or nil and the reply when the window was lost.
local function look_up_events(names, now)
  local events = open_dedup(shard_key, 'ev', event_keys, now)
  local seen = events and look_up(events, names)
  if not seen then return nil, invalidate_shard(shard_key, 'events') end
  return seen, events
end

-- Whether the stored value of an event has what its caller does not know: a flight, or the day of a brand with a time zone.
local function any_flight_or_zone(campaigns)
  for _, campaign in pairs(campaigns) do
    if campaign.flight or campaign.zone then return true end
  end
  return false
end

-- Evaluates the spends: by their sums where all fit and no event was seen, else one by one. sweeps: whether expired holds are to be stored among events.
-- Returns the verdict, and the dedup window of events where it is needed; or nil and the reply.
local function evaluate(verb, call, columns, before, plans, sweeps, now)
  local named, wanted, late = columns.named, not before or has_unknown(before), columns.late and columns.late.to_previous
  local fit = not before and not late and all_fit(columns.sums, verb, plans, now)
  -- The caller's names and values can be stored unchanged where no name repeats, the caller's day is that of Redis, and none is of a flight or has a day of its own.
  local ready = named and not before and named.once and call.day == text(day_of(now)) and not any_flight_or_zone(plans.campaigns)
  local unread, seen, events, names = call.log and wanted, {}, nil, {}
  if ready then names, columns.names, columns.kept = named.names, named.names, named.fields end
  if unread and (not fit or (named and not ready)) then
    local bad = unpack_log(columns, call.log)
    if bad then return nil, bad end
    unread = false
    if named and not ready then columns.events = events_of(named.names) end
  end
  if columns.events and wanted then columns.names, names = event_names(columns, plans) end
  if #names > 0 or sweeps then
    seen, events = look_up_events(names, now)
    if not seen then return nil, events end
  end
  if fit and (ready or not columns.names) and not next(seen) then return by_sums(columns, plans, verb, columns.kept), events end
  local bad = unread and unpack_log(columns, call.log)
  if bad then return nil, bad end
  local verdict, odd
  if late then
    verdict, odd = by_one_late(columns, before, verb, seen, plans, now)
  else
    verdict, odd = by_one(columns, targets_of(columns.sums, verb, plans, now), before, verb, seen, now)
  end
  if not verdict then return nil, odd end
  if not late then count_sums(verdict.sums, plans, verb) end
  return verdict, events
end

-- Writes request and event ids into their dedup windows, and the shard's own fields. fields: those to set in the shard's hash.
local function write_ids(call, verdict, windows, kept_as, fields, swept)
  local requests, events = windows.requests, windows.events
  if verdict.fresh > 0 then
    rotate_hashes(requests, fields)
    redis.call('HSET', requests.write, call.request, kept_as .. windows.content .. ' ' .. verdict.packed)
  end
  if events and (verdict.fresh > 0 or swept) then
    rotate_hashes(events, fields)
    if #verdict.events_set > 0 then redis.call('HSET', events.write, unpack(verdict.events_set)) end
  end
  redis.call('HSET', shard_key, unpack(fields))
end

-- Takes what a lease's call counted off its hold, in the tables, and adds the journal's line. Returns what is to be written; or nil and the reply.
local function draw_counted(call, columns, plans, lines, now)
  local sum = columns.sums[1]
  local campaign = plans.campaigns[sum.campaign]
  local brand = plans.brands[campaign.brand_id]
  local drawn = draw(brand, campaign.id, call.lease, sum.amount, now)
  if not drawn then return nil, invalidate_shard(shard_key, brand.holds_key) end
  lines[#lines + 1] = drawn.line
  return drawn
end

-- verb: 'r' record, 't' try, 'd' draw from a lease.
local function charge(verb, call)
  local counter = verb == 'r' and 'count:recorded' or 'count:accepted'
  -- Parse.
  if not serves(call.layout) then return { 'wrong_version', LAYOUT } end
  local shard, refused = open_shard(shard_key, '', counter)
  if not shard then return refused end
  if not is_id(call.request, 80) then return { 'invalid', 0, 'request_id' } end
  local columns, bad = parse(verb, call)
  if not columns then return bad end
  -- Open.
  local now, size = shard.now, columns.size
  local plans, lost = read_plans(now)
  if not plans then return lost end
  bad = verb == 'd' and unfit_draw(call, columns.sums, plans)
  if bad then return bad end
  columns.late = columns.instants and shard.layout == WITH_OWN_LIMITS and late_of(columns, plans, now) or nil
  -- Dedup.
  local requests = open_dedup(shard_key, 'req', request_keys, now)
  local remembered = requests and look_up(requests, { call.request })
  if not remembered then return invalidate_shard(shard_key, 'requests') end
  local content = not call.log and #call.body <= SHORT and call.body or digest_of(call.body, call.log, columns.named and call.names)
  local before = outcomes_before(remembered[call.request], verb, content, call.body, size)
  if before == false then return invalidate_shard(shard_key, 'requests') end
  if verb == 'd' and not before and is_forgotten(call, requests, now) then return { 'forgotten' } end
  -- Evaluate.
  local due, lines, odd = sweep(plans, now)
  if odd then return odd end
  local swept, drawn = #lines > 0, nil
  local verdict, events = evaluate(verb, call, columns, before, plans, swept, now)
  if not verdict then return events end
  if verb == 'd' and verdict.counted > 0 then
    drawn, bad = draw_counted(call, columns, plans, lines, now)
    if not drawn then return bad end
  end
  -- Append.
  local moved, messages = plan_changes(plans, now)
  if verdict.counted > 0 or #lines > 0 then
    local entry = entry_of(verb, call, size, verdict, lines)
    add_flights(entry, plans.campaigns)
    local zoned, begun = add_zones(entry, plans.brands, now), add_carries(entry, plans.brands)
    local opened, booked = add_trips(entry, plans.campaigns), columns.late and add_late(entry, columns.late, verdict)
    local format = opened or booked or zoned or begun or (call.log and verdict.counted > 0 and '2')
    local failed = append(shard, journal_key, entry, moved, format)
    if failed then return failed end
  end
  -- Write.
  local fields = { 'now', text(now), 'n', text(shard.n), counter, text(shard.count + verdict.counted) }
  if verdict.counted < size then tally(shard_key, verdict.tallies, fields) end
  if columns.late and columns.late.counted then write_late(columns.late, shard, fields) end
  for brand, holds in pairs(due) do
    write_expired(holds, brand.holds_key, brand.expiry_key, verdict.events_set)
    brand.holds_changed = #holds > 0
  end
  if drawn then write_draw(drawn) end
  local kept_as = verb == 'd' and ((drawn and drawn.within) and 't' or 'r') or verb
  write_ids(call, verdict, { requests = requests, events = events, content = content }, kept_as, fields, swept)
  write_plans(plans)
  add_rates(plans, now, messages)
  publish_messages(shard, messages)
  return { 'ok', verdict.packed, figures(plans, now, verdict.packed) }
end
