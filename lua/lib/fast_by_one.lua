-- The second half of the packed fast path (lib/fast_packed.lua): where not all spends can be counted, it evaluates them one by one.
-- include: lib/fast_packed.lua
-- include: lib/packed.lua
-- include: lib/by_one.lua

-- usual: what fast_packed has read. Returns the reply.
local function fast_by_one(verb, call, usual)
  local sums, rooms, targets, by_place = usual.sums, {}, {}, {}
  for i = 1, sums.count do
    local brand = sums.brands[i]
    rooms[brand] = rooms[brand] or room_of(brand, brand.held, verb)
    by_place[i] = { campaign = sums.ids[i], amount = sums.amounts[i], times = sums.counts[i] }
    local own = sums.owns and sums.owns[i]
    local own_room = own and room_of(own, own.held, verb) or ANY_ROOM
    targets[i] = target_of(sums.ids[i], brand.id, verb == 't' and sums.gates[i] or 0, rooms[brand], own_room)
    targets[i].plan = own and own.brake and own
    brand.amount = 0
  end
  local columns = { size = sums.size, sums = by_place, names = usual.named and usual.named.names, kept = usual.named and usual.named.fields }
  local bad = unpack_log(columns, call.log)
  if bad then return bad end
  local verdict, odd = by_one(columns, targets, nil, verb, usual.seen, usual.shard.now)
  if not verdict then return odd end
  for i, target in ipairs(targets) do
    local brand = sums.brands[i]
    sums.amounts[i], brand.amount = target.amount, brand.amount + target.amount
  end
  return write_usual(verb, call, usual, verdict)
end
