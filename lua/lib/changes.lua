-- Budgets that a call used up or freed.
-- include: lib/budgets.lua
-- include: lib/text.lua

-- Call before a budget's limit or counter changes. A minute that is used up is a passing cause, which no journal and no watcher hears of.
-- Where a step has turned the budget (lib/steps.lua) this is the state that was told before.
local function note_before(budget)
  if budget.was_used_up ~= nil or budget.minute then return end
  if budget.stepped then
    budget.was_used_up = budget.told_used_up
  else
    budget.was_used_up = is_used_up(budget.limit, budget.spent)
  end
end

-- Returns the changes of these brands or campaigns ({id = owner}): items for the journal, and messages for watchers, added to those given. Sets `since`
-- and `moved` of each changed budget.
local function changes_of(owners, now, moved, messages)
  moved, messages = moved or {}, messages or {}
  for id, owner in pairs(owners) do
    for _, budget in ipairs(owner.budgets) do
      local is = is_used_up(budget.limit, budget.spent)
      if budget.was_used_up ~= nil and budget.was_used_up ~= is then
        local direction = is and 'exhausted' or 'restored'
        if not budget.stepped then budget.since = text(now) end
        budget.moved = true
        moved[#moved + 1] = id .. ':' .. budget.name .. ':' .. direction
        messages[#messages + 1] = id .. ' ' .. budget.name .. ' ' .. direction .. ' ' .. budget.since
      elseif budget.was_used_up == false and is_used_up(budget.step_before, budget.spent) then
        -- This call passed the limit before the last step, which turned nothing. Later calls would take it for a budget that the step freed.
        budget.since, budget.moved = budget.step_at, true
      end
    end
  end
  return moved, messages
end

-- Adds the fields with the instants at which an owner's budgets changed.
local function add_since(owner, fields)
  for _, budget in ipairs(owner.budgets) do
    if budget.moved then fields[#fields + 1], fields[#fields + 2] = budget.since_field, budget.since end
  end
end

-- Publishes messages to watchers, each with the number n of its journal entry. A watcher ignores messages up to the n of its snapshot.
local function publish_messages(shard, messages)
  local channel = string.gsub(shard.key, 'shard$', 'changes')
  for _, message in ipairs(messages) do redis.call('PUBLISH', channel, message .. ' ' .. text(shard.n)) end
end
