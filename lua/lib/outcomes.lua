-- Outcomes of spends: k counted, d duplicate, c conflict, u unknown campaign, x<causes> refused; in the journal also p, counted by an earlier call. As
-- text they stand in runs: `k*998,x8*2`.

-- Runs of equal outcomes, and how many there are of each.
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

local function unpack_outcomes(packed)
  local outcomes = {}
  for outcome, times in string.gmatch(packed, '(%w+)%*(%d+)') do
    for _ = 1, tonumber(times) do outcomes[#outcomes + 1] = outcome end
  end
  return outcomes
end

-- What stands of an answer that was given before. An unknown campaign may be there by now, so that is evaluated again.
local function stands(before, i)
  return before and before[i] ~= 'u' and before[i] or nil
end

-- Whether an earlier answer leaves something to evaluate.
local function has_unknown(before)
  for i in ipairs(before) do
    if not stands(before, i) then return true end
  end
  return false
end

-- How many spends of a call were not counted now, by outcome: `p` answered before, others by their code.
local function uncounted(outcomes, before)
  local counts = {}
  for i, outcome in ipairs(outcomes) do
    local name = stands(before, i) and 'p' or outcome
    if name ~= 'k' then counts[name] = (counts[name] or 0) + 1 end
  end
  return counts
end
