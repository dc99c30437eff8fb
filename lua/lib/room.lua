-- Whether a sum fits into budgets and their pacing.
-- include: lib/plan.lua
-- include: lib/constants.lua
-- include: lib/pace.lua

-- Whether an owner's budgets have room for a sum: for MAX_TOTAL, and of try calls for their limits and their pacing.
local function has_room(owner, held, verb, amount)
  if verb == 't' and unfit_mask(owner, held, amount) > 0 then return false end
  -- Each spend of a sum passes where the sum is not above the gap.
  if verb == 't' and owner.pace and amount > gap_of(owner.pace, held) then return false end
  for _, budget in ipairs(owner.budgets) do
    if budget.spent + amount > MAX_TOTAL then return false end
  end
  return true
end
