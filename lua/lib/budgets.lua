-- The one list of budgets. The loader (engine/live/scripts.py) repeats the code between `-- each brand budget` and `-- end each` for each row. So every
-- path enforces each budget of the list, and the fast paths need no loop.
--
-- owner    whose hash has the limit and the counter
-- cause    the bit of a refusal; engine/domain/causes.py has the same
-- limit    of a brand the field of the limit in micros, empty is no limit; of a campaign the limit's place in its field `x` (OWN_LIMITS)
-- absent   of a brand the value of a missing limit: nil takes the shard out of use, '' is no limit (for a budget that is newer than the data); of a
--          campaign the value of a missing counter
-- counter  the field of the present period's counter, an expression of `day`, `month`, `day_field` (`d:20780`), `month_field` (`m:202611`) and, of a
--          campaign, `flight_field` (`f:2`, lib/flights.lua)
-- since    the field that keeps when the budget was last used up or free again
--
-- Append only: replies have the figures of the first two rows (lib/figures.lua).
-- | budget                  | owner    | cause | limit   | absent | counter      | since          |
-- | daily_budget            | brand    | 8     | daily   | nil    | day_field    | daily_at       |
-- | monthly_budget          | brand    | 16    | monthly | nil    | month_field  | monthly_at     |
-- | campaign_daily_budget   | campaign | 32    | 1       | '0'    | day_field    | own_daily_at   |
-- | campaign_monthly_budget | campaign | 64    | 2       | '0'    | month_field  | own_monthly_at |
-- | flight_budget           | campaign | 128   | 3       | nil    | flight_field | lifetime_at    |

-- A campaign's own limits, the field `x` of its hash: `<daily>:<monthly>:<lifetime>` in micros, each empty where there is none. No field: none at all.
local OWN_LIMITS, NO_LIMITS, LIFETIME = '^(%d*):(%d*):(%d*)$', '::', 'f:0'

-- Whether nothing is left of a budget. limit: nil is no limit.
local function is_used_up(limit, spent)
  return limit ~= nil and spent >= limit
end

-- The amount left of a budget after spends and holds. A hold counts in every period in which it may be settled.
local function left_of(limit, spent, held)
  return limit and limit - spent - (held > 0 and held or 0) or math.huge
end

-- Whether an amount above 0 fits into a budget.
local function fits(limit, spent, held, amount)
  return amount <= left_of(limit, spent, held)
end
