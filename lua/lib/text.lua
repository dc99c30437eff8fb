-- Converts numbers to text. Concatenating a number may write 1e+14, so it must be formatted. '%d' is a 64-bit integer in every supported server, at a third
-- of the cost of '%.0f'.
-- include: lib/constants.lua
local function text(number)
  return string.format('%d', number)
end

-- A number as an argument of a command (lib/constants.lua: ROUND).
local function argument(number)
  return number % ROUND == 0 and text(number) or number
end
