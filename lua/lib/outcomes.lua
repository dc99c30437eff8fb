-- Outcomes of spends: k counted, d duplicate, c conflict, u unknown campaign, x<causes> refused; in the journal also p, counted by an earlier call.
-- Packed they are runs of equal outcomes: `k*998,x8*2`.

-- Packs outcomes into runs; also returns {outcome = how many}.
local function pack_outcomes(outcomes)
  local runs, counts, before, times = {}, {}, outcomes[1], 0
  for i = 1, #outcomes + 1 do
    local outcome = outcomes[i]
    if outcome ~= before then
      runs[#runs + 1] = before .. '*' .. times
      counts[before] = (counts[before] or 0) + times
      before, times = outcome, 0
    end
    times = times + 1
  end
  return table.concat(runs, ','), counts
end

-- Unpacks the outcomes of `size` spends; nil where the text is not exactly that many. Without the bound, a corrupt run length could block Redis.
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

-- The earlier outcome of a spend, which a repeat keeps. nil where it was unknown: its campaign may exist by now, so it is evaluated again.
local function outcome_kept(before, i)
  return before and before[i] ~= 'u' and before[i] or nil
end

-- Whether an earlier reply leaves a spend to evaluate.
local function has_unknown(before)
  for i in ipairs(before) do
    if not outcome_kept(before, i) then return true end
  end
  return false
end

-- How many spends this call did not count, by outcome; `p` for those with an earlier outcome.
local function uncounted(outcomes, before)
  local counts = {}
  for i, outcome in ipairs(outcomes) do
    local name = outcome_kept(before, i) and 'p' or outcome
    if name ~= 'k' then counts[name] = (counts[name] or 0) + 1 end
  end
  return counts
end
