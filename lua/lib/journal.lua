-- The journal: one entry a call. Appending it is the last step that can refuse; every write comes after it.
-- include: lib/shard.lua
-- include: lib/text.lua

-- The entry of a call's spends (call, verdict: lib/charge.lua). lines: of holds.
local function entry_of(verb, call, size, verdict, lines)
  local entry = {}
  if verdict.counted > 0 then
    entry = call.log and { 'r', call.request, 's', call.body, 'l', call.log } or { 'r', call.request, 'b', call.body }
    if call.log and verb ~= 'd' and call.day then entry[#entry + 1], entry[#entry + 2] = 'e', call.names end
    if verdict.counted < size then entry[#entry + 1], entry[#entry + 2] = 'o', verb .. verdict.logged end
  end
  if #lines > 0 then entry[#entry + 1], entry[#entry + 2] = 'h', table.concat(lines) end
  return entry
end

-- Appends the entry and raises shard.n to its number. Returns nil, or the reply. NOMKSTREAM refuses to begin a new journal where the old one was lost.
-- moved: the budgets that were used up or freed (lib/changes.lua). format: '2' of an entry with a packed log; '1' by default.
local function append(shard, journal_key, entry, moved, format)
  if #moved > 0 then entry[#entry + 1], entry[#entry + 2] = 't', table.concat(moved, ',') end
  local added = redis.pcall('XADD', journal_key, 'NOMKSTREAM', text(shard.now) .. '-*', 'f', format or '1', 'n', text(shard.n + 1), unpack(entry))
  if added and not added.err then
    shard.n = shard.n + 1
    return nil
  end
  if added and string.find(added.err, 'equal or smaller', 1, true) then return { 'not_ready', 'clock' } end
  return invalidate_shard(shard.key, journal_key)
end
