-- The one door for what is stored: each value is read by its grammar, and what is not of it is nil. Lua's tonumber also takes nan, inf, 1e3, 0x10 and
-- spaces, so a value is checked before it is converted. Whoever gets nil takes the shard out of use (lib/shard.lua: invalidate_shard).
-- include: lib/constants.lua

-- A whole number that is not negative, up to MAX_TOTAL: an instant, a journal number, a version, money that is set aside.
local function whole(value)
  if not value or #value > 16 or not string.find(value, '^%d+$') then return nil end
  local number = tonumber(value)
  return number <= MAX_TOTAL and number or nil
end

-- A counter, absent = 0. It may be negative where a correction made it so.
local function stored(value)
  if not value then return 0 end
  if #value > 17 or not string.find(value, '^%-?%d+$') then return nil end
  local number = tonumber(value)
  return number <= MAX_TOTAL and number >= -MAX_TOTAL and number or nil
end

-- Whether this is a limit: nothing (no limit) or a whole number.
local function is_limit(value)
  return value == '' or whole(value) ~= nil
end

-- Whether this is the instant at which something began: nothing, absent or a whole number.
local function is_since(value)
  return not value or value == '' or whole(value) ~= nil
end

local function is_flag(value)
  return value == '0' or value == '1'
end
