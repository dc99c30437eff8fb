-- Numbers out of text. Lua's tonumber also takes nan, inf, 1e3, 0x10 and spaces, so check before converting.

-- A counter or limit as the scripts store it, absent = 0. nil when something else stands there.
local function stored(value)
  if not value then return 0 end
  return string.find(value, '^%-?%d+$') and tonumber(value) or nil
end
