"""Faults in the rollover of unused budget."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

LIVE: Final = "tests/live/test_rollover.py::test_"
WHOLE: Final = "tests/flows/test_rollover.py::test_"
PURE: Final = "tests/domain/test_rollover.py::test_"
EACH: Final = LIVE + "each_path_lets_a_day_spend_its_budget_and_its_carry_and_not_a_micro_more"

# fmt: off
ROLLED: Final = (
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
    M("verify takes a carry for an overspend", "engine/flows/verify/limits.py",
      "largest + audit_plan.largest_carry(conn, owner.id, period.first, begin)", "largest",
      (WHOLE + "a_day_that_spends_its_carry_is_in_the_log_and_verify_finds_no_overspend",)),
    M("the rule forgets that a month begins with nothing", "engine/domain/rollover.py",
      "0 if _first_of_month(day) == day else left", "left",
      (PURE + "a_month_begins_with_nothing_so_none_spends_more_than_its_days_together",)),
)
