-- The paths of record_spends and try_spends, the fastest first. The loader makes each function just before the first path that needs it, so the order here
-- is what a call pays for. The script sets `verb`.
-- include: lib/fast_single.lua
-- include: lib/fast_packed.lua
local call = {
  layout = ARGV[1], request = ARGV[2], body = ARGV[3], log = ARGV[4], day = ARGV[5], names = ARGV[6], kept = ARGV[7], more = ARGV[8],
}
local answer, usual, opened
if call.log then opened = open_packed(verb, call) end
if opened and opened.shard.layout == LAYOUT then answer, usual = fast_packed(verb, call, opened) end
if answer then return answer end
-- include: lib/fast_own.lua
if opened and opened.shard.layout ~= LAYOUT then answer, usual = fast_packed(verb, call, opened, own_steps()) end
if answer then return answer end
-- include: lib/fast_by_one.lua
if usual then return fast_by_one(verb, call, usual) end
-- include: lib/charge.lua
return charge(verb, call)
