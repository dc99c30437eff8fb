-- How the carry of a brand's day is written and told (lib/rollover.lua).
-- include: lib/rollover.lua
-- include: lib/text.lua

-- Adds the carry of a day that begins with this call to the fields of its brand.
local function add_carry(brand, fields)
  if brand.carry.fresh then fields[#fields + 1], fields[#fields + 2] = 'b', carry_text(brand.carry) end
end

-- Adds to an entry the carry of each brand whose day begins with it: `c`, `<brand>:<day>:<left>:<before>` joined by `,`. Returns the format of such an entry
-- ('3'), nil where there is none: a program of the release before would not keep it. brands: {id = brand}. all: also of a brand whose counters stay.
local function add_carries(entry, brands, all)
  local told = {}
  for id, brand in pairs(brands) do
    local carry = brand.carry
    if carry and carry.fresh and (all or brand.charged) then
      told[#told + 1] = table.concat({ id, text(carry.day), text(carry.left), carry.before and text(carry.before) or '' }, ':')
    end
  end
  if not told[1] then return nil end
  entry[#entry + 1], entry[#entry + 2] = 'c', table.concat(told, ',')
  return '3'
end
