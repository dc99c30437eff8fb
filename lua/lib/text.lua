-- Numbers in and out of text. Lua's tonumber also takes nan, inf, 1e3, 0x10 and spaces, so check before converting; and
-- concatenating a number may write 1e+14, so format it. '%d' is a 64-bit long in every server that runs this, and a third of the cost of '%.0f'.
local function text(number)
  return string.format('%d', number)
end

-- A counter or limit as the scripts store it, absent = 0. nil when something else stands there.
local function stored(value)
  if not value then return 0 end
  return string.find(value, '^%-?%d+$') and tonumber(value) or nil
end

-- Many counters at once, joined: those that Lua takes for numbers are such as `stored` reads where nothing but digits is among them, since what else it
-- takes (0x10, 1e3, 1.5, spaces) has other characters. A pattern for each costs more than all else that is done with it.
local WHOLE = '^%d+$'
