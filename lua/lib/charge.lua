-- The one way spends are counted. A call carries up to 1,000 spends of one shard; they are judged in order, each by what the ones before it
-- left, and written together with their journal entry.
--
-- KEYS  1 shard  2 registry  3 journal  4-5 requests  6-7 events  8.. the brands and campaigns of the spends, in any order;
--       try_spends and draw_spends also take holds and expiry of each brand, side by side
-- ARGV  1 layout  2 request id  3 spends: `<campaign_id>,<amount_micros>,<event_id or nothing>,<occurred_ms or nothing>;` each; or, packed, 3 their
--       sums and 4 their log (lib/packed.lua). A packed call gets the same answers: where its sums leave a doubt, it is unpacked and judged
-- Reply {'ok', outcomes, brands, campaigns}: outcomes as runs `k*998,x8*2` in the order of the spends: k counted, d duplicate, c conflict,
--         u unknown campaign, x<causes> refused; brands `id:daily_spend:monthly_spend:daily_limit:monthly_limit;` and campaigns
--         `id:causes;` after the whole call (limits empty = none, causes a bit mask, 0 = running)
--       {'not_ready', why} | {'wrong_version', layout} | {'invalid', index, field}: nothing was written
-- include: lib/call.lua
-- include: lib/spends.lua
-- include: lib/packed.lua
-- include: lib/draw.lua
-- Runs of equal outcomes, to text and back.
local function pack_outcomes(outcomes)
  local runs, times = {}, 0
  for i, outcome in ipairs(outcomes) do
    times = times + 1
    if outcomes[i + 1] ~= outcome then
      runs[#runs + 1] = outcome .. '*' .. times
      times = 0
    end
  end
  return table.concat(runs, ',')
end

-- nil where the text is not the outcomes of so many spends: a run that somebody made longer would hold Redis for as long as it is.
local function unpack_outcomes(packed, size)
  local outcomes, ends = {}, 1
  for start, code, mask, times, stop in string.gmatch(packed, '()([kdcux])(%d*)%*(%d+),?()') do
    times = start == ends and (mask ~= '') == (code == 'x') and #mask + #times <= 7 and tonumber(times) or size + 1
    if #outcomes + times > size then return nil end
    for _ = 1, times do outcomes[#outcomes + 1] = code .. mask end
    ends = stop
  end
  return #outcomes == size and ends == #packed + 1 and outcomes or nil
end

local function digest_of(body, blob, named)
  return string.sub(redis.sha1hex(blob and body .. blob .. (named and named.text or '') or body), 1, 16)
end

-- What an earlier call of the same id was answered, spend by spend; nil when there was none, false where that is no answer to such a call. Other
-- content is a conflict throughout. Older scripts remembered a digest of short calls too.
local function outcomes_before(remembered, verb, content, body, size)
  if not remembered then return nil end
  local kept_verb, kept_content, kept = string.match(remembered, '^(.)(%S+) (.*)$')
  -- A draw is remembered as a question where its hold covered it, else as a fact.
  local same = kept_content == content or (content == body and kept_content == digest_of(body))
  if same and (kept_verb == '*' or kept_verb == verb or verb == 'd') then return unpack_outcomes(kept, size) or false end
  local conflicts = {}
  for i = 1, size do conflicts[i] = 'c' end
  return conflicts
end

-- Gives each spend with an event id the name under which that is remembered; answers the names, each once.
local function event_names(spends, campaigns)
  local names, asked = {}, {}
  for _, spend in ipairs(spends) do
    local campaign = spend.event ~= '' and campaigns[spend.campaign]
    if campaign then
      spend.seen_as = campaign.home .. ':' .. spend.event
      if not asked[spend.seen_as] then
        asked[spend.seen_as] = true
        names[#names + 1] = spend.seen_as
      end
    end
  end
  return names
end

-- How many spends of a call were not counted, by outcome: `p` answered before, others by their code.
local function uncounted(outcomes, before)
  local counts = {}
  for i, outcome in ipairs(outcomes) do
    local known = before and before[i] ~= 'u' and before[i]
    if known or outcome ~= 'k' then
      local name = known and 'p' or outcome
      counts[name] = (counts[name] or 0) + 1
    end
  end
  return counts
end

-- What was seen of an event, against the content that comes now.
local function again(known, content)
  return string.match(known, '^%d+,%d+') == content and 'd' or 'c'
end

-- One spend's outcome by what is left now; counts it in the tables where it is counted. nil when a total would grow too large.
local function judge(spend, verb, plans, seen, now)
  local campaign = plans.campaigns[spend.campaign]
  local brand = campaign and plans.brands[campaign.home]
  if not brand then return 'u' end
  local known = spend.seen_as and seen[spend.seen_as]
  if known then
    return again(known, spend.campaign .. ',' .. spend.digits)
  end
  local mask = verb == 't' and refusal(brand, campaign, spend.amount, now) or 0
  if mask > 0 then return 'x' .. mask end
  return count(brand, campaign, spend.amount) and 'k' or nil
end

-- Judges spends in turn, each by what the ones before it left. Totals move in the tables; nothing is written yet. What was unknown before is
-- judged afresh. Answers {outcomes, entry's outcomes, fields of events to set, fresh, counted}, or nil and the reply.
local function judge_all(spends, size, before, verb, plans, seen, now)
  local day = text(day_of(now))
  local verdict = { outcomes = {}, entry_outcomes = {}, events_set = {}, fresh = 0, counted = 0 }
  for i = 1, size do
    local outcome = before and before[i] ~= 'u' and before[i] or nil
    verdict.entry_outcomes[i] = outcome == 'k' and 'p' or outcome
    if not outcome then
      local spend = spends[i]
      outcome = judge(spend, verb, plans, seen, now)
      if not outcome then return nil, { 'invalid', i - 1, 'total' } end
      verdict.entry_outcomes[i] = outcome
      if outcome ~= 'u' then verdict.fresh = verdict.fresh + 1 end
      if outcome == 'k' then
        verdict.counted = verdict.counted + 1
        if spend.seen_as then
          local set = verdict.events_set
          seen[spend.seen_as] = spend.campaign .. ',' .. spend.digits .. ',' .. day
          set[#set + 1], set[#set + 2] = spend.seen_as, seen[spend.seen_as]
        end
      end
    end
    verdict.outcomes[i] = outcome
  end
  return verdict
end

-- The same for sums that all fit.
local function count_all(sums, size, plans)
  local totals = {}
  for _, sum in ipairs(sums) do
    if sum.amount > 0 then
      local campaign = plans.campaigns[sum.campaign]
      count_campaign(campaign, sum.amount)
      totals[campaign.home] = (totals[campaign.home] or 0) + sum.amount
    end
  end
  for home, total in pairs(totals) do count_brand(plans.brands[home], total) end
  return { packed = 'k*' .. size, events_set = {}, fresh = size, counted = size }
end

-- The names of the columns' events, by place.
local function column_names(columns, campaigns)
  local names, places = {}, {}
  for i, event in ipairs(columns.events) do
    if event ~= '' then
      local name = campaigns[columns.campaigns[i]].home .. ':' .. event
      names[#names + 1], places[i] = name, name
    end
  end
  return names, places
end

-- The verdict on sums that all fit, from which what was seen before is taken already.
local function count_rest(sums, size, plans, set, outcomes, missed)
  local verdict = count_all(sums, size, plans)
  verdict.events_set, verdict.counted = set, size - missed
  verdict.outcomes, verdict.entry_outcomes = outcomes, outcomes
  if missed > 0 then verdict.packed = pack_outcomes(outcomes) end
  return verdict
end

local function sums_by_campaign(sums)
  local by_campaign = {}
  for _, sum in ipairs(sums) do by_campaign[sum.campaign] = sum end
  return by_campaign
end

-- The same for columns with event ids whose sums all fit: only what was seen before is not counted.
local function count_unseen(columns, names, plans, seen, now)
  local day, set, outcomes, missed = ',' .. text(day_of(now)), {}, {}, 0
  local by_campaign = sums_by_campaign(columns.sums)
  for i, digits in ipairs(columns.digits) do
    local campaign, name, outcome = columns.campaigns[i], names[i], 'k'
    if name then
      local content, known = campaign .. ',' .. digits, seen[name]
      if known then
        outcome = again(known, content)
        by_campaign[campaign].amount = by_campaign[campaign].amount - tonumber(digits)
        missed = missed + 1
      else
        local value = content .. day
        seen[name] = value
        set[#set + 1], set[#set + 2] = name, value
      end
    end
    outcomes[i] = outcome
  end
  return count_rest(columns.sums, columns.size, plans, set, outcomes, missed)
end

-- The same for a packed call whose names each stand once and came ready made.
local function count_unseen_packed(spends, sums, named, plans, seen)
  local names, kept = named.names, named.fields
  local set, outcomes, missed, by_campaign = {}, {}, 0, sums_by_campaign(sums)
  for i, spend in ipairs(spends) do
    local known = seen[names[i]]
    if known then
      outcomes[i] = again(known, spend.campaign .. ',' .. text(spend.amount))
      by_campaign[spend.campaign].amount = by_campaign[spend.campaign].amount - spend.amount
      missed = missed + 1
    else
      outcomes[i] = 'k'
      set[#set + 1], set[#set + 2] = names[i], kept[2 * i]
    end
  end
  return count_rest(sums, #spends, plans, set, outcomes, missed)
end

-- Whether an earlier call left something to judge.
local function has_unknown(before)
  for _, outcome in ipairs(before) do
    if outcome == 'u' then return true end
  end
  return false
end

local function charge(verb)
  local counter = verb == 'r' and 'count:recorded' or 'count:accepted'
  local shard_key, request, body, blob = KEYS[1], ARGV[2], ARGV[3], ARGV[4]
  if ARGV[1] ~= LAYOUT then return { 'wrong_version', LAYOUT } end
  local shard, refused = open_shard(shard_key, '', counter)
  if not shard then return refused end
  if not is_id(request, 80) then return { 'invalid', 0, 'request_id' } end
  local columns, sums, size, named, bad
  if blob then
    local with_names = verb ~= 'd' and ARGV[5]
    sums, size = parse_sums(body, blob, with_names and NAMED or PACKED)
    if not sums then return size end
    if with_names then
      named, bad = read_names(size)
      if not named then return bad end
    end
  else
    columns = parse_columns(body)
    if not columns then return first_bad(body) end
    sums, size = columns.sums, columns.size
  end
  local now = shard.now
  local day = day_of(now)
  local plans, lost = read_plans(day, month_of(day))
  if not plans then return lost end
  local bad_draw = verb == 'd' and unfit_draw(sums, blob, plans)
  if bad_draw then return bad_draw end

  local requests = open_memory(shard_key, 'req', { KEYS[4], KEYS[5] }, now)
  local recalled = requests and recall(requests, { request })
  if not recalled then return lose(shard_key, 'requests') end
  local content = not blob and #body <= SHORT and body or digest_of(body, blob, named)
  local before = outcomes_before(recalled[request], verb, content, body, size)
  if before == false then return lose(shard_key, 'requests') end
  if verb == 'd' and not before and is_forgotten(requests, now) then return { 'forgotten' } end

  local due, lines = {}, {}
  for _, brand in pairs(plans.brands) do
    if brand.holds_key then
      due[brand] = expire_holds(brand, brand.holds_key, brand.expiry_key, now)
      if not due[brand] then return lose(shard_key, brand.holds_key) end
      expired_lines(due[brand], lines)
    end
  end
  local whole = not before and all_fit(sums, verb, plans, now)
  local but_seen -- whole, but for what was seen before
  local spends, names, places, events, seen = {}, {}, nil, nil, {}
  if whole and named then
    whole = false
    if named.once and ARGV[5] == text(day) then
      events = open_memory(shard_key, 'ev', { KEYS[6], KEYS[7] }, now)
      seen = events and recall(events, named.names)
      if not seen then return lose(shard_key, 'events') end
      whole = next(seen) == nil
      but_seen = not whole
    end
  end
  if not whole and (not before or has_unknown(before)) then
    if blob then spends, bad = unpack_spends(sums, size, blob) else spends = rows_of(columns) end
    if not spends then return bad end
    if named and not but_seen then name_spends(spends, named.names) end
  end
  if not whole and not but_seen then
    names = event_names(spends, plans.campaigns)
  elseif columns and columns.with_ids then
    names, places = column_names(columns, plans.campaigns)
  end
  if not but_seen and (#names > 0 or #lines > 0) then
    events = events or open_memory(shard_key, 'ev', { KEYS[6], KEYS[7] }, now)
    seen = events and recall(events, names)
    if not seen then return lose(shard_key, 'events') end
  end

  local verdict
  if but_seen then
    verdict = count_unseen_packed(spends, sums, named, plans, seen)
  elseif places then
    verdict = count_unseen(columns, places, plans, seen, now)
  elseif whole then
    verdict = count_all(sums, size, plans)
  else
    verdict, bad = judge_all(spends, size, before, verb, plans, seen, now)
    if not verdict then return bad end
    verdict.packed = pack_outcomes(verdict.outcomes)
  end

  local drawn
  if verb == 'd' and verdict.counted > 0 then
    local campaign = plans.campaigns[sums[1].campaign]
    local brand = plans.brands[campaign.home]
    drawn = draw(brand, campaign.id, ARGV[5], sums[1].amount, now)
    if not drawn then return lose(shard_key, brand.holds_key) end
    lines[#lines + 1] = drawn.line
  end

  local moved, messages = changes_of(plans.brands, now)
  if verdict.counted > 0 or #lines > 0 then
    local entry = {}
    if verdict.counted > 0 then
      entry = blob and { 'r', request, 's', body, 'l', blob } or { 'r', request, 'b', body }
      if named then entry[#entry + 1], entry[#entry + 2] = 'e', named.text end
      if verdict.counted < size then entry[#entry + 1], entry[#entry + 2] = 'o', verb .. pack_outcomes(verdict.entry_outcomes) end
    end
    if #lines > 0 then entry[#entry + 1], entry[#entry + 2] = 'h', table.concat(lines) end
    local failed = append(shard, entry, moved, blob and verdict.counted > 0 and '2')
    if failed then return failed end
  end

  local shard_fields = { 'now', text(now), 'n', text(shard.n), counter, text(shard.count + verdict.counted) }
  if verdict.counted < size then tally(shard_key, uncounted(verdict.outcomes, before), shard_fields) end
  for brand, holds in pairs(due) do
    write_expired(holds, brand.holds_key, brand.expiry_key, verdict.events_set)
    brand.holds_changed = #holds > 0
  end
  if drawn then write_draw(drawn) end
  if verdict.fresh > 0 then
    turn(requests, shard_fields)
    local as = verb == 'd' and ((drawn and drawn.within) and 't' or 'r') or verb
    redis.call('HSET', requests.write, request, as .. content .. ' ' .. verdict.packed)
  end
  if events and (verdict.fresh > 0 or #lines > 0) then
    turn(events, shard_fields)
    if #verdict.events_set > 0 then redis.call('HSET', events.write, unpack(verdict.events_set)) end
    if whole and named then redis.call('HSET', events.write, unpack(named.fields)) end
  end
  redis.call('HSET', shard_key, unpack(shard_fields))
  write_plans(plans)
  tell(messages)
  return { 'ok', verdict.packed, figures(plans, now) }
end
