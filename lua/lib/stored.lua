-- Readers of stored values: each checks a value's format and returns nil where it is malformed. Lua's tonumber also accepts nan, inf, 1e3, 0x10 and
-- spaces, so the check comes before the conversion. Callers that get nil take the shard out of use (lib/shard.lua: invalidate_shard).
-- include: lib/constants.lua

-- A whole number from 0 to MAX_TOTAL: an instant, a journal number, a version, an amount on hold.
local function whole(value)
  if not value or #value > 16 or not string.find(value, '^%d+$') then return nil end
  local number = tonumber(value)
  return number <= MAX_TOTAL and number or nil
end

-- A counter; absent is 0. A correction may make it negative.
local function stored(value)
  if not value then return 0 end
  if #value > 17 or not string.find(value, '^%-?%d+$') then return nil end
  local number = tonumber(value)
  return number <= MAX_TOTAL and number >= -MAX_TOTAL and number or nil
end

-- Whether this is a limit: '' (no limit) or a whole number.
local function is_limit(value)
  return value == '' or whole(value) ~= nil
end

-- Whether this is the instant of a change: absent, '' or a whole number.
local function is_since(value)
  return not value or value == '' or whole(value) ~= nil
end

local function is_flag(value)
  return value == '0' or value == '1'
end
