-- The one list of budgets. The loader (engine/live/scripts.py) writes the code between `-- each brand budget` and `-- end each` out once for each row, so
-- a budget that stands here is enforced on every path, and the fast ones need no loop.
--
-- owner    whose hash has the limit and the counter. Of campaigns there are none yet
-- cause    the bit of a refusal; engine/domain/causes.py has the same
-- limit    the field of the limit in micros; empty is no limit
-- absent   what a limit reads as where its field is missing: nil takes the shard out of use, '' is no limit (a budget that is younger than the data)
-- counter  the field of the present period's counter, an expression of `day`, `month`, `day_field` (`d:20780`) and `month_field` (`m:202611`)
-- since    the field that keeps when the budget was last used up or free again
--
-- Append only: the first two rows are those that replies name (lib/figures.lua).
-- | budget         | owner | cause | limit   | absent | counter     | since      |
-- | daily_budget   | brand | 8     | daily   | nil    | day_field   | daily_at   |
-- | monthly_budget | brand | 16    | monthly | nil    | month_field | monthly_at |

-- Whether nothing is left of a budget. limit: nil is none.
local function is_used_up(limit, spent)
  return limit ~= nil and spent >= limit
end

-- What is left of a budget beside what is spent and on hold. What is on hold counts in every period that it could be settled in.
local function left_of(limit, spent, held)
  return limit and limit - spent - (held > 0 and held or 0) or math.huge
end

-- Whether an amount, which is above 0, fits into it.
local function fits(limit, spent, held, amount)
  return amount <= left_of(limit, spent, held)
end
