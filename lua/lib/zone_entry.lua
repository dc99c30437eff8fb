-- What an entry of the journal has of time zones.
-- include: lib/text.lua
-- include: lib/local_day.lua

-- Adds to an entry the offset of each brand with a time zone whose counters it moves: `z`, `<brand>:<ms>` joined by `,`. The local day of the entry's
-- instant is that of its spends. Returns the format of such an entry ('3'), nil where there is none: programs of the release before would take the day
-- of UTC. brands: {id = brand}. asked: a brand whose refund is to be decided, which has a day too.
local function add_zones(entry, brands, now, asked)
  local told = {}
  for id, brand in pairs(brands) do
    if brand.zone and (brand.charged or brand == asked) then told[#told + 1] = id .. ':' .. text(local_ms(brand.zone, now) - now) end
  end
  if not told[1] then return nil end
  entry[#entry + 1], entry[#entry + 2] = 'z', table.concat(told, ',')
  return '3'
end
