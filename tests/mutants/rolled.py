"""Faults in the rollover of unused budget."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

LIVE: Final = "tests/live/test_rollover.py::test_"
WHOLE: Final = "tests/flows/test_rollover.py::test_"
PURE: Final = "tests/domain/test_rollover.py::test_"
EACH: Final = LIVE + "each_path_lets_a_day_spend_its_budget_and_its_carry_and_not_a_micro_more"

NEVER: Final = LIVE + "a_day_that_a_new_zone_goes_over_leaves_no_budget"
NEVER_WHOLE: Final = (
    WHOLE + "a_day_that_a_new_zone_goes_over_leaves_no_budget_also_after_a_rebuild_and_verify_finds_nothing"
)

# fmt: off
ROLLED: Final = (
    M("a day that never was leaves its budget", "lua/lib/rollover.lua",
      "local days = ends - at - skipped_days(zone, at, ends)", "local days = ends - at",
      (NEVER,)),
    M("a publish forgets a day that never was", "lua/publish.lua",
      "brand.budgets, brand.carry = before.budgets, before.carry", "brand.budgets = before.budgets",
      (LIVE + "a_zone_that_is_published_days_after_a_day_that_never_was_still_knows_that",)),
    M("a rebuild takes a day that never was for one", "engine/flows/rebuild/rollover.py",
      "skipped = () if brand.zones.clock.day_length_ms(on) else (on,)", "skipped = ()",
      (NEVER_WHOLE + "[True]",)),
    M("the fast path of one spend forgets the carry", "lua/lib/fast_single.lua",
      "format('%d', math.min(brand[3] + carried, MAX_TOTAL))", "brand[3]",
      (EACH + "[alone]",)),
    M("the fast path of one spend takes yesterday's carry", "lua/lib/fast_single.lua",
      "if of_day ~= day_text or #cap > 16", "if not of_day or #cap > 16",
      (LIVE + "the_first_call_of_a_day_tells_the_journal_what_is_carried_and_later_ones_find_it_written",)),
    M("a carry has no cap over days without a call", "lua/lib/rollover.lua",
      "budget + math.min(cap, left + (days - 1) * budget)", "budget + left + (days - 1) * budget",
      (LIVE + "a_counter_that_is_pruned_leaves_its_carry_in_redis_and_in_the_journal",)),
    M("a carry goes on over a month's end", "lua/lib/rollover.lua",
      "if month_of(day) ~= month then left = 0 end", "",
      (LIVE + "days_without_a_call_carry_up_to_the_cap_and_a_month_begins_with_nothing",)),
    M("a stopped brand spends what is carried", "lua/lib/rollover.lua",
      "if not limit or not string.find(limit, '[1-9]') or", "if not limit or limit == '' or",
      (LIVE + "a_budget_of_nothing_stops_a_brand_whatever_is_carried",)),
    M("the packed path never tells a day's carry", "lua/lib/fast_packed.lua",
      "(brand.carry and brand.carry.fresh) or ", "",
      (LIVE + "each_path_tells_the_carry_of_a_day_once[packed]",)),
    M("what was carried is spent yesterday too", "lua/lib/late.lua",
      "math.max(carry.before - carry.carried, 0)", "carry.before",
      (LIVE + "what_was_carried_is_not_left_of_yesterday_for_a_late_try",)),
    M("a close loses what the day left", "lua/prune.lua",
      "if add_carries(entry, begun, true) then", "if false then",
      (LIVE + "a_counter_that_is_pruned_leaves_its_carry_in_redis_and_in_the_journal",)),
    M("a rebuild forgets the carry", "engine/flows/rebuild/contents.py",
      "        fields += carries.field(b)\n", "",
      (WHOLE + "a_rebuild_in_the_middle_of_a_day_restores_its_carry_exactly",)),
    M("a rebuild takes the present cap for that of the days before", "engine/flows/rebuild/rollover.py",
      '_before(trail, "rollover_cap", ends_ms, brand.rollover_cap_micros),', "brand.rollover_cap_micros,",
      (WHOLE + "a_cap_that_was_raised_while_redis_was_lost_carries_no_more_of_the_days_before",)),
    M("a rebuild carries over days without a rollover", "engine/flows/rebuild/rollover.py",
      "known is not None and known.day >= on", "known is not None",
      (WHOLE + "a_rollover_that_was_off_for_a_day_without_spends_carries_from_the_day_on_which_it_came_back",)),
    M("a rollover that no call told begins with its rebuild", "engine/flows/rebuild/rollover.py",
      "else Carry(on, 0)", "else Carry(day, 0)",
      (WHOLE + "a_rollover_that_was_switched_on_while_redis_was_lost_carries_what_that_day_left",)),
    M("a rebuild forgets what was spent on days of which it has no carry", "engine/flows/rebuild/rollover.py",
      "if first <= (number := day_number(on)) <= last:", "if first == (number := day_number(on)):",
      (WHOLE + "a_carry_that_a_restored_postgresql_lacks_is_calculated_again_beside_the_days_spends",)),
    M("a rebuild restores the day of a clock that slipped back", "engine/flows/rebuild/rebuilder.py",
      "now = max(last_row_ms, last_entry_ms)", "now = last_row_ms",
      (WHOLE + "a_rebuild_after_a_clock_that_slipped_back_over_midnight_keeps_the_new_days_carry",)),
    M("a rebuild takes the carry of a day that has yet to come", "engine/ledger/carries.py",
      " AND c.day <= present.day", "",
      (WHOLE + "a_clock_that_was_days_ahead_and_is_set_right_leaves_the_carry_of_the_right_day",)),
    M("a rebuild ends the days before by the present zone's text", "engine/flows/rebuild/rollover.py",
      "clock = brand.zones.clock ", "clock = Zone.parse(brand.zone) ",
      (WHOLE + "days_before_a_zone_was_changed_end_at_their_own_midnights_in_a_rebuild",)),
    M("verify takes a carry for an overspend", "engine/flows/verify/limits.py",
      "largest + audit_plan.largest_carry(conn, owner.id, period.first, begin)", "largest",
      (WHOLE + "a_day_that_spends_its_carry_is_in_the_log_and_verify_finds_no_overspend",)),
    M("the rule forgets that a month begins with nothing", "engine/domain/rollover.py",
      "0 if _first_of_month(day) == day else left", "left",
      (PURE + "a_month_begins_with_nothing_so_none_spends_more_than_its_days_together",)),
)
