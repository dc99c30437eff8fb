-- Dayparting, as engine/domain/schedule.py compiles it: `12345@540-1020;6@0-360`, days 1 = Monday, minutes of the day, end excluded.

-- Whether a stored schedule has this format.
local function is_schedule(compiled)
  return compiled == '' or not string.find(string.gsub(compiled .. ';', '[1-7]+@%d%d?%d?%d?%-%d%d?%d?%d?;', ''), '.')
end

local function within_schedule(compiled, now)
  if compiled == '' then return true end
  local day = math.floor(now / 86400000)
  local minute = math.floor((now - day * 86400000) / 60000)
  local weekday = tostring((day + 3) % 7 + 1)
  for days, from, to in string.gmatch(compiled, '(%d+)@(%d+)%-(%d+)') do
    if minute >= tonumber(from) and minute < tonumber(to) and string.find(days, weekday, 1, true) then return true end
  end
  return false
end
