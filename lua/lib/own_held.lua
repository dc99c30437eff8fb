-- What each campaign of a brand has on hold: fields `h:<campaign id>` of the brand's hash, absent is 0. Only a brand of which any campaign has, or had,
-- limits of its own keeps them (field `own` = 1). They stand with the brand, because a call that removes expired holds does not name their campaigns.
-- brand.own_held: nil or false where the brand keeps none, else the sums that this call knows.
-- include: lib/stored.lua

-- The amount that a campaign has on hold; nil where the stored sum is malformed. Where the brand keeps no sums, no campaign has limits: 0.
local function held_by(brand, campaign_id)
  local sums = brand.own_held
  if not sums then return 0 end
  if not sums[campaign_id] then sums[campaign_id] = whole(redis.call('HGET', brand.key, 'h:' .. campaign_id) or '0') end
  return sums[campaign_id]
end

-- Adds to what a brand and its campaign have on hold, in the tables. False where a stored sum is malformed or smaller than its holds.
local function add_held(brand, campaign_id, amount)
  local sum = held_by(brand, campaign_id)
  if not sum then return false end
  brand.held = brand.held + amount
  if not brand.own_held then return brand.held >= 0 end
  brand.own_held[campaign_id] = sum + amount
  brand.own_held_changed = brand.own_held_changed or {}
  brand.own_held_changed[campaign_id] = true
  return brand.held >= 0 and sum + amount >= 0
end
