-- include: lib/constants.lua
-- Numbers into text. Concatenating a number may write 1e+14, so format it. '%d' is a 64-bit long in every server that runs this, and a third of the cost
-- of '%.0f'.
local function text(number)
  return string.format('%d', number)
end

-- A number as an argument of a command.
local function argument(number)
  return number % ROUND == 0 and text(number) or number
end
