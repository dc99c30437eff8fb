-- Open holds: money of a brand set aside for bids in flight.
-- `budget:{17}:holds:81` is a hash of `<campaign_id>:<hold id>` -> `<amount>,<expires_ms>`; a lease's value ends with `,<number of the call that set it>`.
-- `budget:{17}:expiry:81` is a sorted set of the same names by expiry.
-- The brand's hash has their sum in `held`. A sum without these keys means that they were lost.
-- How a hold ended is stored among the event ids, as `!<name>` -> `<end>,<held>,<settled>`.
-- include: lib/text.lua
-- include: lib/stored.lua
-- include: lib/own_held.lua
local SWEEP = 50
local sweeps_left = SWEEP -- of a call over all its brands, which bounds its time and the number of arguments of its commands

-- Whether the keys of a brand's holds are there exactly where something is on hold, each of its type. Holds without their sum would count against no
-- budget, and a write to a key of another type would fail after the journal entry was written.
local function holds_exist(brand, holds_key, expiry_key)
  local holds, expiry = redis.call('TYPE', holds_key).ok, redis.call('TYPE', expiry_key).ok
  if brand.held == 0 then return holds == 'none' and expiry == 'none' end
  return holds == 'hash' and expiry == 'zset'
end

-- Whether any hold has expired and is not removed yet.
local function has_due(expiry_key, now)
  return #redis.call('ZRANGEBYSCORE', expiry_key, '-inf', text(now), 'LIMIT', '0', '1') > 0
end

-- A stored hold: amount, expiry in ms, and of a lease the number of the call that set it ('' else). nil where the value is malformed.
local function hold_of(value)
  local held, expires, number = string.match(value, '^(%d+),(%d+),?(%d*)$')
  if not whole(held) or not whole(expires) or #number > 15 then return nil end
  return held, expires, number
end

-- Takes holds that have expired by `now` off the brand's `held`, at most SWEEP in a call. Returns them for the write phase; writes nothing. nil where one
-- is malformed, is not there, or says a later expiry itself; and where their sum is above `held`.
local function expire_holds(brand, holds_key, expiry_key, now)
  local due = {}
  if brand.held > 0 and sweeps_left > 0 then
    local names = redis.call('ZRANGEBYSCORE', expiry_key, '-inf', text(now), 'LIMIT', '0', tostring(sweeps_left))
    sweeps_left = sweeps_left - #names
    local values = #names > 0 and redis.call('HMGET', holds_key, unpack(names)) or {}
    for i, name in ipairs(names) do
      local held, expires = hold_of(values[i] or '')
      if not held or tonumber(expires) > now or #name > 82 or not string.find(name, '^%d+:[%w._:/+=@~-]+$') then return nil end
      due[i] = { name = name, held = held }
      if not add_held(brand, string.match(name, '^%d+'), -tonumber(held)) then return nil end
    end
  end
  return brand.held >= 0 and due or nil
end

-- The write phase of an expiry: removes the holds and adds their ends to the event fields to set.
local function write_expired(due, holds_key, expiry_key, event_fields)
  local names = {}
  for i, hold in ipairs(due) do
    names[i] = hold.name
    event_fields[#event_fields + 1], event_fields[#event_fields + 2] = '!' .. hold.name, 'e,' .. hold.held .. ',0'
  end
  if #names > 0 then
    redis.call('HDEL', holds_key, unpack(names))
    redis.call('ZREM', expiry_key, unpack(names))
  end
end

-- Adds the journal's lines of expired holds.
local function expired_lines(due, lines)
  for _, hold in ipairs(due) do
    lines[#lines + 1] = 'E,' .. string.gsub(hold.name, ':', ',', 1) .. ',' .. hold.held .. ',;'
  end
end
