-- What publish does about a brand's rollover (lib/rollover.lua). A plan's cap comes as the named part `ro` (lib/paced_plan.lua).
-- A change begins with the plan's own day, so what the days before left is calculated by the plan that was in force on them. Another cap takes effect at once, both ways: what the
-- day before left stays as it is, and the cap decides what of it is carried.
-- include: lib/rollover.lua
-- include: lib/carry_entry.lua

-- The carry by a new plan; nil where that has no rollover. known: that of the plan before, of the present day, or nil. cap: as text, or nil.
local function carry_by(known, cap, day)
  if not cap then return nil end
  local most, left = cap + 0, known and known.left or 0
  return {
    cap = most, day = day, left = left, before = known and known.before or false, carried = math.min(most, left), fresh = not known or known.fresh,
  }
end

local function same_cap(carry, cap)
  return (carry and text(carry.cap) or nil) == cap
end

-- Writes the carry, or removes it. known: the one before.
local function write_cap(key, known, carry)
  if carry then
    redis.call('HSET', key, 'b', carry_text(carry))
  elseif known then
    redis.call('HDEL', key, 'b')
  end
end
