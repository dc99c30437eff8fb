-- Numbers into text. Concatenating a number may write 1e+14, so format it. '%d' is a 64-bit long in every server that runs this, and a third of the cost
-- of '%.0f'.
local function text(number)
  return string.format('%d', number)
end

-- As an argument of a command the server writes a number itself, for half of that, digit by digit up to 2^53. But Redis 7.2.0 to 7.2.4 write a
-- multiple of this as 1e+08 (redis/redis#13113), so such a one must be put into text.
local ROUND = 100000000

-- A number as an argument of a command.
local function argument(number)
  return number % ROUND == 0 and text(number) or number
end
