-- The flights in a campaign's plan (lib/flights.lua), for whoever publishes or reads them.
-- include: lib/flights.lua
-- include: lib/stored.lua
-- include: lib/budgets.lua

-- A flight from its field: {counter, starts, ends, limit}; nil where it is malformed.
local function flight_of(value)
  local no, counter, starts, ends, limit, spread = string.match(value, FLIGHT)
  if not no or (spread ~= '' and spread ~= ',e') or #value > 64 or #no > 5 or #counter > 5 or not whole(starts) or not whole(ends) or not whole(limit) then return nil end
  return { counter = counter, starts = tonumber(starts), ends = tonumber(ends), limit = tonumber(limit) }
end

-- The flights of a plan with their texts: {text, counter, starts, ends, limit, spent} each, in their order. spent: by the counters in the campaign's hash,
-- nil where one is not there yet. nil where a field is malformed or one does not follow the other.
local function flights_of(key, first, second)
  local flights, ended = {}, 0
  for _, value in ipairs({ first, second or nil }) do
    local flight = flight_of(value)
    if not flight or flight.ends <= flight.starts or flight.starts < ended then return nil end
    local counted = redis.call('HGET', key, 'f:' .. flight.counter)
    flight.text, flight.spent, ended = value, counted and stored(counted), flight.ends
    if counted and not flight.spent then return nil end
    flights[#flights + 1] = flight
  end
  return flights
end

-- What follows in a campaign's line for watchers where it has flights: `:f1:f2`, then of each `:used up` as 0 or 1.
local function watched_flights(flights)
  local texts, used_up = {}, {}
  for i = 1, 2 do
    local flight = flights[i]
    texts[i], used_up[i] = flight and flight.text or '', flight and is_used_up(flight.limit, flight.spent or 0) and '1' or '0'
  end
  return ':' .. table.concat(texts, ':') .. ':' .. table.concat(used_up, ':')
end
