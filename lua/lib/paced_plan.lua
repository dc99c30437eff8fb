-- What publish does about pacing (lib/pace.lua). A plan's pacing comes as named parts at the end of a text: `|p=1,1000000,300|c1=<curve>`.
-- include: lib/pace.lua
local PACED_FIELDS = { 'p', 'c1', 'c2', 'c3', 'c4', 'c5', 'c6', 'c7', 'c8', 'c9' }

-- A text without its named parts, and these: {name = value}.
local function named_parts(given)
  local parts = {}
  local rest = string.gsub(given, '|(%l+%d?)=([^|]*)', function(name, value)
    parts[name] = value
    return ''
  end)
  return rest, parts
end

-- Whether a text is a curve (lib/curve.lua): from second 0 on, later and later, never falling, to the whole budget before the day ends.
local function is_curve(curve)
  if not curve or #curve < 24 or #curve > 2400 or #curve % 12 ~= 0 or not string.find(curve, '^00000%d+1000000$') then return false end
  local last, due = -1, 0
  for seconds, ppm in string.gmatch(curve, '(%d%d%d%d%d)(%d%d%d%d%d%d%d)') do
    if seconds + 0 <= last or seconds + 0 > 86400 or ppm + 0 < due then return false end
    last, due = seconds + 0, ppm + 0
  end
  return true
end

-- Whether a plan's pacing is well formed, with each curve that it names.
local function is_pacing(parts)
  if not parts.p then return next(parts) == nil end
  local pace = parse_pace(parts.p)
  if not pace then return false end
  for number in string.gmatch(pace.curves, '[1-9]') do
    if not is_curve(parts['c' .. number]) then return false end
  end
  return true
end

-- What of an owner's pacing differs from a plan: fields and values to set, and fields to remove. Both are empty where nothing does.
local function pacing_changes(key, parts)
  local set, unset, live = {}, {}, redis.call('HMGET', key, unpack(PACED_FIELDS))
  for i, name in ipairs(PACED_FIELDS) do
    if parts[name] and parts[name] ~= live[i] then
      set[#set + 1], set[#set + 2] = name, parts[name]
    elseif live[i] and not parts[name] then
      unset[#unset + 1] = name
    end
  end
  return set, unset
end

-- Whether a plan has the pacing that an owner has. paced: the owner's field `p`.
local function same_pacing(key, paced, parts)
  if not paced and not parts.p then return true end
  local set, unset = pacing_changes(key, parts)
  return #set == 0 and #unset == 0
end

-- Writes a plan's pacing to its owner's hash.
local function write_pacing(key, paced, parts)
  if not paced and not parts.p then return end
  local set, unset = pacing_changes(key, parts)
  if #set > 0 then redis.call('HSET', key, unpack(set)) end
  if #unset > 0 then redis.call('HDEL', key, unpack(unset)) end
end
