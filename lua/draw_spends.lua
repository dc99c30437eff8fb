#!lua
-- Counts spends that a bidder made from a lease in its own memory, all of one campaign, and shrinks the lease's hold by their sum. The money
-- is already spent, so they are always counted.
-- KEYS  as try_spends, for one campaign: 1-7 fixed, 8 brand, 9 holds, 10 expiry, 11 campaign
-- ARGV  1 layout  2 request id  3 sums and 4 log, packed (lib/packed.lua), of one campaign  5 lease id  6 when this call was first sent, in ms of
--       Redis' clock, or nothing when it never was
-- Reply as lib/charge.lua; and {'forgotten'}: first sent before the dedup window, so Redis cannot know whether it was counted. Nothing was written
-- include: lib/charge.lua
local layout, request, sums, log, lease, first_sent = unpack(ARGV, 1, 6)
return charge('d', { layout = layout, request = request, body = sums, log = log, lease = lease, first_sent = first_sent })
