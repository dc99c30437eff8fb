-- What was spent in one minute of a brand or campaign: the field `s` of its hash, `<minute>,<spent in it>`, and, where it is paced, three parts more:
-- `,<asked>,<demand>,<rate>` (lib/pass_rate.lua). minute: minutes since 1970 by the shard's clock. In a later minute nothing of it is spent any more.
-- It is kept only where a feature asks for it. There it is one more row of the owner's budgets, so that each path that counts an amount (record, try, draw,
-- settle) counts it here, and each path that writes budgets writes it. A refund or correction gives no minute back: the money went out in it all the same.
-- A rebuild restores what the minute has spent from the log (engine/flows/rebuild/minute.py).
-- include: lib/stored.lua
-- include: lib/constants.lua
-- include: lib/text.lua

-- The row of an owner's budgets that counts its minute at `now` (lib/budgets.lua), from the stored value. limit: of the minute in micros, nil where it has
-- none. Its `minute` has no, and of the stored value last_no, last_asked, last_demand and last_rate, each nil where there is none. nil where the value is
-- malformed, or of a minute that has not come: no script writes one.
local function minute_row(value, limit, now)
  local minute, spent = { no = (now - now % 60000) / 60000 }, 0
  if value then
    local no, counted, rest = string.match(value, '^(%d+),(%d+)([%d,]*)$')
    local last_spent = whole(counted)
    minute.last_no = whole(no)
    if not minute.last_no or not last_spent or minute.last_no > minute.no or #value > 64 then return nil end
    if rest ~= '' then
      local asked, demand, rate = string.match(rest, '^,(%d+),(%d+),(%d+)$')
      if not asked or #asked > 14 or #demand > 14 or #rate > 7 or rate + 0 < 1000 or rate + 0 > 1000000 then return nil end
      minute.last_asked, minute.last_demand, minute.last_rate = asked + 0, demand + 0, rate + 0
    end
    if minute.last_no == minute.no then spent = last_spent end
  end
  return { name = 'rate', cause = RATE, field = 's', limit = limit, spent = spent, minute = minute }
end

-- What is written of a budget's counter: its amount, and of a minute's row the minute with it.
local function counted_value(budget)
  local minute = budget.minute
  if not minute then return argument(budget.spent) end
  local value = text(minute.no) .. ',' .. text(budget.spent)
  return minute.rate and table.concat({ value, text(minute.asked), text(minute.demand), text(minute.rate) }, ',') or value
end
