"""Faults in late spends and backfills: the day to which each is booked, what it is checked against, and what a close leaves open."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

LIVE: Final = "tests/live/test_late_spends.py::test_"
WHOLE: Final = "tests/flows/test_late_spends.py::test_"
FILES: Final = "tests/cli/test_backfill_command.py::test_"
OWN_DAY: Final = LIVE + "a_late_spend_counts_to_its_own_day_and_month_until_the_grace_has_passed"
AGAINST: Final = LIVE + "a_late_try_is_checked_against_the_day_to_which_it_is_booked"
LIMITS: Final = LIVE + "a_late_try_is_checked_against_the_limits_at_that_day_s_end"
HELD: Final = LIVE + "holds_take_nothing_from_a_day_that_is_over_and_their_part_from_a_month_that_goes_on"
CLOSED: Final = LIVE + "a_day_takes_no_late_spend_after_its_counters_were_removed_and_they_stay_while_it_does"
SUMMED: Final = WHOLE + "late_spends_are_logged_summed_and_closed_on_their_own_day_and_month"

REBUILT: Final = WHOLE + "after_a_rebuild_late_spends_still_count_to_the_day_and_the_month_before"
OLD_LIMITS: Final = WHOLE + "after_a_rebuild_a_late_try_is_checked_against_the_limits_of_its_day"
MINUTE: Final = LIVE + "a_late_spend_counts_to_the_minute_in_which_it_comes_and_opens_the_breaker"
PACED: Final = LIVE + "in_a_call_with_a_late_spend_a_try_of_today_waits_for_its_pacing"

# fmt: off
BOOKED_BACK: Final = (
    M("a late spend opens no breaker", "lua/lib/late.lua",
      "  note_trip(campaign)\n", "",
      (MINUTE + "[in a month]",)),
    M("a late try that only the minute refuses is not told when", "lua/lib/late_calls.lua",
      "if mask == RATE then campaign.awaited", "if mask < 0 then campaign.awaited",
      (MINUTE + "[in a month]",)),
    M("a try in a call with late spends passes its pacing", "lua/lib/late_calls.lua",
      "(is_held_back_by(brand, campaign) and PACING or 0)", "0",
      (PACED + "[in a month]",)),
    M("the grace is a millisecond longer", "lua/lib/grace.lua",
      "now - ends < minutes * MINUTE_MS", "now - ends <= minutes * MINUTE_MS",
      (OWN_DAY + "[in a month-record_spend]",)),
    M("a closed day takes late spends", "lua/lib/grace.lua",
      "and day > last and ends > since or false", "or false",
      (CLOSED + "[in a month]",)),
    M("counters go while late spends count to them", "lua/prune.lua",
      "then first_open = first_open - 1 end", "then first_open = first_open end",
      (CLOSED + "[in a month]",)),
    M("a late spend takes the fast path", "lua/lib/fast_single.lua",
      "if occurred ~= '' and state[2] ~= LAYOUT and occurred + 0 < now - now % DAY_MS then break end", "",
      (OWN_DAY + "[in a month-try_spend]",)),
    M("a late try is checked against today", "lua/lib/late.lua",
      "if budgets[$i].field ~= $counter then", "if false then",
      (AGAINST + "[in a month]",)),
    M("a late try is checked against the present limits", "lua/lib/late.lua",
      "if not of_day or tonumber(of_day) ~= day then return nil end", "do return nil end",
      (LIMITS + "[in a month]",)),
    M("the limits of the day before are those of an hour before", "lua/lib/was.lua",
      "if kept and string.match(kept, '^%d+') == day then return {} end", "",
      (LIMITS + "[in a month]",)),
    M("what is on hold is taken from a day that is over", "lua/lib/late.lua",
      "budget.past and 0 or held", "held",
      (HELD + "[at a month's end]",)),
    M("an entry does not name the days of its late spends", "lua/lib/late_calls.lua",
      "entry[#entry + 1], entry[#entry + 2] = 'y', late_line(late)", "",
      (OWN_DAY + "[in a month-record_spend]",)),
    M("a release that knows no late spends reads their entries", "lua/lib/late_calls.lua",
      "return late.counted and '3' or nil", "return nil",
      (OWN_DAY + "[in a month-record_spend]",)),
    M("a month that is over does not get its late spends", "lua/lib/late_calls.lua",
      "if not owner.same_month then", "if false then",
      (OWN_DAY + "[at a month's end-record_spend]",)),
    M("a grace begins with days that may be closed", "lua/stamp.lua",
      "if grace == '0' then closed", "if false then closed",
      (LIVE + "a_grace_that_is_published_begins_with_the_present_day_and_changes_nothing_before",)),
    M("a close does not wait for the grace", "engine/live/admin.py",
      "self.now_ms - self.grace_minutes * MINUTE_MS", "self.now_ms",
      (SUMMED,)),
    M("persist books late spends to the day of their entry", "engine/live/journal.py",
      "booked = None if self.late is None else self.late.get(position)", "booked = None",
      (SUMMED,)),
    M("nobody counts late spends", "engine/flows/persist/posting.py",
      "for spend in entry.spends() if entry.late else ():", "for spend in ():",
      (SUMMED,)),
    M("a lifetime counter forgets late spends of the month before", "lua/lib/late_calls.lua",
      "if any_month then", "if false then",
      (LIVE + "a_lifetime_budget_does_not_begin_with_a_log_that_lacks_a_late_spend_of_the_month_before",)),
    M("after a rebuild late spends of the day before are booked today", "lua/rebuild_finish.lua",
      "closed = closed and (whole(closed) or 0) or (previous_day(now))", "closed = (previous_day(now))",
      (REBUILT + "[unmarked]", REBUILT + "[wiped]")),
    M("a shard that lost its grace has none after a rebuild", "lua/rebuild_finish.lua",
      "if grace == 0 then grace = whole(minutes or '') or 0 end", "",
      (REBUILT + "[wiped]",)),
    M("a rebuild forgets what the month before has spent", "engine/flows/rebuild/contents.py",
      "if number >= befores[brand_id]:", "if number >= firsts[brand_id]:",
      (REBUILT + "[unmarked]",)),
    M("a rebuild opens a day that is closed", "engine/flows/rebuild/late.py",
      '"" if last is None else str(last)', '""',
      (WHOLE + "after_the_close_of_the_day_a_rebuild_opens_it_no_more[unmarked]",)),
    M("after a rebuild a late try is checked against the brand's budget of today", "engine/flows/rebuild/contents.py",
      'fields += _was(late.limits.get(("brand", b.id)))', "pass",
      (OLD_LIMITS + "[unmarked]",)),
    M("after a rebuild a late try is checked against the campaign's budget of today", "engine/flows/rebuild/contents.py",
      'fields += _was(late.limits.get(("campaign", c.id)))', "pass",
      (OLD_LIMITS + "[unmarked]",)),
    M("a rebuild takes the last change of a budget for the first", "engine/ledger/day_ends.py",
      "ORDER BY entity, entity_id, field, id", "ORDER BY entity, entity_id, field, id DESC",
      (OLD_LIMITS + "[unmarked]",)),
    M("verify takes any day of a spend for its own", "engine/ledger/audit_rows.py",
      " OR occurred_at IS NULL OR l.day <> {occurred})", ")",
      (WHOLE + "verify_names_a_late_row_on_a_day_on_which_it_did_not_occur",)),
    M("the same file is backfilled again", "engine/feeds/backfill.py",
      "digest.hexdigest()", "str(id(conn)).rjust(64, '0')",
      (FILES + "a_file_is_written_once_beside_the_closed_total_and_shown_there",)),
    M("a line that does not read is left out in silence", "engine/feeds/backfill.py",
      "done.refuse(BadLine(row.line, row.field, row.why))", "pass",
      (FILES + "each_bad_line_is_named_with_its_field_and_value_and_nothing_is_written",)),
    M("a day that is not closed is backfilled", "engine/ledger/backfill.py",
      "closed IS NULL OR day > closed", "closed IS NULL",
      (FILES + "each_bad_line_is_named_with_its_field_and_value_and_nothing_is_written",)),
    M("an event that a bidder reported is backfilled", "engine/ledger/backfill.py",
      "g.amount_micros > 0 AND g.day BETWEEN", "g.amount_micros < 0 AND g.day BETWEEN",
      (FILES + "each_bad_line_is_named_with_its_field_and_value_and_nothing_is_written",)),
)
