-- What publish does about scheduled changes of limits (lib/steps.lua). A plan's steps come as the named parts `n1` and `n2` (lib/paced_plan.lua).
-- include: lib/steps.lua
-- include: lib/grace.lua

-- Takes the steps out of named parts.
local function taken_steps(parts)
  local n1, n2 = parts.n1, parts.n2
  parts.n1, parts.n2 = nil, nil
  return n1, n2
end

-- Whether steps are well formed.
local function are_steps(n1, n2)
  if not n1 then return not n2 end
  return limits_by({ '', '', '' }, n1, n2, 0) ~= nil
end

-- Whether an owner has the steps that are given.
local function same_steps(owner, n1, n2)
  return (owner.n1 or nil) == n1 and (owner.n2 or nil) == n2
end

-- Writes the steps to their owner's hash. known: the owner as it was read, or nil.
local function write_steps(key, known, n1, n2)
  if n1 then redis.call('HSET', key, 'n1', n1) elseif known and known.n1 then redis.call('HDEL', key, 'n1') end
  if n2 then redis.call('HSET', key, 'n2', n2) elseif known and known.n2 then redis.call('HDEL', key, 'n2') end
end

-- The limits that an owner with steps had at the end of the previous day. given: its plan's own.
local function limits_before(owner, given, now)
  local _, _, ends = previous_day(now, owner.zone)
  return (limits_by(given, owner.n1, owner.n2, ends - 1))
end
