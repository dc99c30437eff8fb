"""Faults in pacing: on each path, in the curve, in the minute's cap, on hold, and in the instant that a refusal is told."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

LIVE: Final = "tests/live/test_pacing.py::test_"
AHEAD: Final = LIVE + "a_try_passes_while_less_is_spent_than_is_due_and_the_last_may_be_one_amount_ahead"
RETRY: Final = LIVE + "a_refused_spend_passes_at_the_instant_that_it_was_told_and_not_a_millisecond_before"
CAP: Final = LIVE + "a_minute_spends_no_more_than_its_cap_and_the_next_begins_with_nothing"
ON_HOLD: Final = LIVE + "holds_and_leases_are_bounded_by_what_is_due"

# fmt: off
PACED: Final = (
    M("by the fast path of one spend, pacing holds nothing back", "lua/lib/fast_single.lua",
      "if with_control and (brand[#brand] or campaign[13]) then break end", "",
      (AHEAD + "[alone-brand]", AHEAD + "[alone-campaign]")),
    M("by their sums, the spends of a batch pass what is due", "lua/lib/room.lua",
      "if verb == 't' and owner.pace and amount > gap_of(owner.pace, held) then return false end", "",
      (AHEAD + "[a batch-brand]", AHEAD + "[packed-brand]")),
    M("one by one, pacing holds nothing back", "lua/lib/by_one.lua",
      "and (not paced or not is_held_back(target))", "",
      (AHEAD + "[a batch-brand]", AHEAD + "[packed-campaign]")),
    M("a spend must fit into what is due, which starves dear ones", "lua/lib/by_one.lua",
      "return room.from - room.left >= room.gap or target.amount >= target.own.gap",
      "return room.from - room.left + 1000000 >= room.gap or target.amount + 1000000 >= target.own.gap",
      (AHEAD + "[a batch-brand]",)),
    M("record calls are paced", "lua/lib/by_one.lua",
      "verb == 't' and owner.pace and gap_of(owner.pace, held) or math.huge", "owner.pace and gap_of(owner.pace, held) or math.huge",
      (LIVE + "facts_are_counted_in_a_batch_with_a_repeated_event_however_much_is_due",)),
    M("what is on hold is spent again by pacing", "lua/lib/pace.lua",
      "pace.allowed - pace.budget.spent - (held > 0 and held or 0)", "pace.allowed - pace.budget.spent",
      (ON_HOLD,)),
    M("a hold is not paced", "lua/holds.lua",
      "if is_held_back_by(operation.brand, campaign) then mask = mask + PACING end", "",
      (ON_HOLD,)),
    M("a lease that holds all that is due grows on", "lua/lease.lua",
      "if held_back then room = 0 end", "",
      (ON_HOLD,)),
    M("a lease is granted more than is due", "lua/lease.lua",
      "if brand.pace then room = math.min(room, math.max(gap_of(brand.pace, brand.held), least)) end", "",
      (ON_HOLD,)),
    M("a minute has no cap", "lua/lib/pace.lua",
      "if pace.catch_up == '0' then return math.huge end", "do return math.huge end",
      (CAP + "[150-150]",)),
    M("the cap of a minute is that of its plan, also where that is nothing", "lua/lib/pace.lua",
      "math.max(plan, quotient(limit, 1440))", "plan",
      (LIVE + "on_a_flat_part_of_the_curve_what_is_behind_is_made_good",)),
    M("a curve read backwards is a millisecond late", "lua/lib/curve.lua",
      "return math.min(quotient(ppm * LANDED + pace.lead - 1, pace.lead), LANDED)", "return math.min(quotient(ppm * LANDED, pace.lead) + 1, LANDED)",
      (RETRY + "[parts3]",)),
    M("the instant of a retry is that of the brand alone", "lua/lib/retry.lua",
      "passes = math.max(passes, at)", "passes = at",
      (RETRY + "[parts1]",)),
    M("the weekday's curve is that of the day before", "lua/lib/pace.lua",
      "local place = (day + 3) % 7 + 1", "local place = (day + 2) % 7 + 1",
      (LIVE + "a_weekday_has_its_own_curve_and_a_replaced_one_holds_from_the_next_call_on",)),
    M("a plan's curve that is no more stays in Redis", "lua/lib/paced_plan.lua",
      "if #unset > 0 then redis.call('HDEL', key, unpack(unset)) end", "",
      (LIVE + "a_weekday_has_its_own_curve_and_a_replaced_one_holds_from_the_next_call_on",)),
    M("a shard with a paced brand keeps the first layout", "lua/publish.lua",
      "(any_limits or (brand_write and brand_parts.p))", "any_limits",
      (AHEAD + "[alone-brand]",)),
    M("a rebuild forgets the pacing of brands", "engine/flows/rebuild/contents.py",
      "fields + _pacing(b.pace) + counted", "fields + counted",
      ("tests/flows/test_pacing.py::test_a_rebuild_in_the_middle_of_a_paced_day_has_the_counters_and_the_curve",)),
    M("a budget may be paced without being there", "engine/ledger/curves.py",
      "    if daily is None:\n", "    if daily == -1:\n",
      ("tests/flows/test_pacing.py::test_pacing_needs_a_daily_budget_and_a_curve_that_is_there",)),
)
