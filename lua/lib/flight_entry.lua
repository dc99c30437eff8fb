-- What an entry of the journal has of flights. The fast paths write it by themselves.
-- Adds to an entry to which flight each campaign's spends belong (lib/flights.lua): `v`, `<campaign id>:<counter>` joined by `,`. campaigns: {id = campaign}.
local function add_flights(entry, campaigns)
  local told = {}
  for id, campaign in pairs(campaigns) do
    if campaign.flight and campaign.charged then told[#told + 1] = id .. ':' .. campaign.flight end
  end
  if #told > 0 then entry[#entry + 1], entry[#entry + 2] = 'v', table.concat(told, ',') end
end
