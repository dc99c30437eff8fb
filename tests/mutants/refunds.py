"""Faults in refunds: what the scripts bound, what the log decides, and that a refund is given once for good."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

HOLDS: Final = "tests/live/test_holds.py::test_"
REFUNDS: Final = "tests/live/test_refunds.py::test_"
DECIDED: Final = "tests/flows/test_refunds.py::test_"

# fmt: off
GIVEN_BACK: Final = (
    # What Redis knows
    M("a refund of yesterday lowers today", "lua/lib/refund.lua",
      "if fields[budget.name] == budget.field or budget.field == LIFETIME then", "if true then",
      (HOLDS + "a_refund_of_an_earlier_day_lowers_the_month_only",)),
    M("a refund of last month lowers this one", "lua/lib/refund.lua",
      "if month_of(refund.day) == month_of(today) then campaign", "if true then campaign",
      (HOLDS + "a_refund_of_an_earlier_month_lowers_neither_day_nor_month",)),
    M("a refund that comes again gives again", "lua/refund.lua",
      "if seen[names.own] then", "if false then",
      (HOLDS + "a_refund_of_today_gives_the_money_back_to_day_and_month_once",)),
    M("a refund may be larger than its spend", "lua/refund.lua",
      "if before + amount > tonumber(spent) then return 'cm' end", "",
      (HOLDS + "a_refund_of_more_than_was_spent_is_a_conflict",)),
    M("a part of a spend does not count against the next part", "lua/lib/refund.lua",
      "names.total, text(before + refund.amount))", "names.total, '0')",
      (REFUNDS + "parts_of_a_spend_are_together_at_most_the_spend",)),
    M("a part does not count against a refund without an id", "lua/lib/refund.lua",
      "if seen[names.total] then return tonumber(seen[names.total]) end", "",
      (REFUNDS + "parts_of_a_spend_are_together_at_most_the_spend",)),
    M("the older of two windows says how much was given back, and how a hold ended", "lua/lib/dedup.lua",
      "read = { keys[2 - active], keys[active + 1] }", "read = { keys[1], keys[2] }",
      (REFUNDS + "what_was_given_back_of_an_event_counts_over_the_turn_of_a_window",
       "tests/live/test_holds.py::test_a_hold_that_was_released_and_is_settled_late_counts_once_over_the_turn_of_a_window")),
    M("a refund of today takes the campaign's day below 0", "lua/lib/refund.lua",
      "if day == today and campaign.daily < amount then return 'xd' end", "",
      (REFUNDS + "a_refund_of_an_event_that_never_was_gives_back_nothing_beyond_what_the_campaign_spent",)),
    M("a refund takes the campaign's month below 0", "lua/lib/refund.lua",
      "  if month_of(day) == month_of(today) and campaign.monthly < amount then return 'xm' end\n", "",
      (REFUNDS + "a_refund_of_an_event_that_never_was_gives_back_nothing_beyond_what_the_campaign_spent",)),

    # What the log decides
    M("a refund of a forgotten event is given at once", "lua/refund.lua",
      "tonumber(given_day), today, '') or 'pending', tonumber", "tonumber(given_day), today, ''), tonumber",
      (DECIDED + "no_money_moves_while_a_refund_is_pending",)),
    M("a pending refund is asked for at each repeat", "lua/refund.lua",
      "names.own, campaign_id .. ',' .. digits .. ',w')", "'#', '1')",
      (DECIDED + "no_money_moves_while_a_refund_is_pending",)),
    M("what was refunded of an event before is forgotten by the log", "engine/ledger/refund_bounds.py",
      "state IN ('approved', 'applied') GROUP BY", "state IN ('approved') GROUP BY",
      (DECIDED + "parts_of_a_forgotten_spend_are_together_at_most_the_spend",)),
    M("an event that never was is refunded", "engine/flows/persist/refunds.py",
      "        if not bounds.dropped:\n", "        if False:\n",
      (DECIDED + "what_the_log_does_not_know_is_refused_with_its_cause_and_nothing_moves",)),
    M("a refund that has its row is waited for again", "engine/ledger/refunds.py",
      "DO UPDATE SET told = false,", "DO UPDATE SET told = false, state = 'waiting', cause = NULL, ended_at = NULL --",
      (DECIDED + "one_refund_asked_for_again_after_hours_pays_once",)),
    M("what a dead process gave back is given again", "lua/decide_refund.lua",
      "if seen[names.own] == value then return { 'ok', 'k' } end", "",
      (DECIDED + "a_desk_that_is_killed_anywhere_gives_back_once",)),
    M("what was given back hours ago and is not persisted is given again", "engine/flows/persist/refunds.py",
      "elif row.cursor_n >= row.check_n:", "elif True:",
      (DECIDED + "a_desk_that_is_killed_anywhere_gives_back_once",)),
    M("a refund is decided while its spend may lie in quarantine", "engine/ledger/refunds.py",
      "WHERE q.state = 'waiting' AND q.shard = c.shard)", "WHERE false)",
      (DECIDED + "a_refund_waits_while_its_spend_may_lie_in_quarantine",)),
    M("a rebuild forgets what is pending", "engine/flows/rebuild/memories.py",
      "for refund in refunds.remembered(conn, shard, at_ms(since_ms)):", "for refund in []:",
      (DECIDED + "a_pending_refund_and_what_was_refunded_of_an_event_outlive_a_rebuild",)),
    M("a rebuild forgets the sum of the parts", "engine/flows/rebuild/memories.py",
      'str(stored(int(events.get(total, "0")) - row.amount_micros))', '"0"',
      (DECIDED + "a_pending_refund_and_what_was_refunded_of_an_event_outlive_a_rebuild",)),
    M("a pending refund goes with an older Redis", "engine/flows/rebuild/salvage.py",
      "if asked or given.keys() - logged:", "if given.keys() - logged:",
      (DECIDED + "an_old_redis_that_comes_back_gives_back_nothing_twice_and_keeps_both_parts",)),
)
# fmt: on
