"""Faults in how far verify has confirmed the log: its watermarks, the sums below them, and when a full pass is due."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

MARKS: Final = "tests/flows/test_verify_watermarks.py::test_"
ABOVE: Final = MARKS + "a_row_above_the_watermark_that_is_odd_is_found_by_the_next_pass_and_not_confirmed"
BELOW: Final = MARKS + "a_row_below_the_watermark_that_is_odd_is_found_by_the_next_full_pass"

LIMITS: Final = "tests/flows/test_verify_limits.py::test_v3_"

# fmt: off
CONFIRMED: Final = (
    M("V3 forgets the day before while late spends count to it", "engine/flows/verify/limits.py",
      "chain(present, self._past_of(brands, limited))", "chain(present, ())",
      (LIMITS + "finds_a_late_try_beyond_the_budget_of_the_brand_s_day_before_and_not_beyond_todays[None]",
       LIMITS + "counts_the_brand_s_month_before_as_long_as_it_is_open[None]")),
    M("V3 takes the budget of today for that of the day before", "engine/flows/verify/limits.py",
      "limits = then.get((kind, id_), owners[kind, id_])", "limits = owners[kind, id_]",
      (LIMITS + "finds_a_late_try_beyond_the_budget_of_the_brand_s_day_before_and_not_beyond_todays[None]",)),
    M("V3 knows no flight", "engine/ledger/audit_plan.py",
      " UNION SELECT campaign_id FROM flight ORDER BY 1", " ORDER BY 1",
      (LIMITS + "counts_a_flight_s_budget_and_the_largest_that_it_had",)),
    M("rows of a later generation are taken for confirmed", "engine/ledger/verified.py",
      '" WHERE (l.n > w.n OR l.generation > w.generation)"', '" WHERE l.n > w.n"',
      (MARKS + "rows_that_a_rebuild_salvages_under_numbers_below_the_watermark_are_above_it",)),
    M("two passes at once add the same rows twice", "engine/ledger/verified.py",
      "    if marks(connection, pass_id, lock=True) != before:\n", "    if not marks(connection, pass_id, lock=True):\n",
      (MARKS + "two_passes_at_once_confirm_what_is_new_once",)),
    M("a full pass adds rows above its watermarks too", "engine/ledger/verified.py",
      " WHERE l.day = :day AND l.n <= w.n AND l.generation <= w.generation GROUP BY", " WHERE l.day = :day GROUP BY",
      (MARKS + "an_entry_in_quarantine_holds_its_watermark_and_may_be_retried_later",)),
    M("watermarks ahead of the log are trusted", "engine/ledger/verified.py",
      "    return mark.n > cursor.n or mark.generation > cursor.generation\n", "    return mark.generation > cursor.generation\n",
      (MARKS + "watermarks_ahead_of_the_log_are_not_trusted",)),
    M("corrections are not told apart below a watermark", "engine/ledger/verified.py",
      "FILTER (WHERE l.kind = 'correction'), 0), count(*)\"", "FILTER (WHERE l.kind = 'corrections'), 0), count(*)\"",
      (MARKS + "each_pass_moves_the_watermarks_to_the_cursors_and_its_sums_are_those_of_the_rows",)),
    M("sums of days that are over stay", "engine/ledger/verified.py",
      "WHERE pass_id = :pass AND day < :first\"", "WHERE pass_id = :pass AND day < CAST(:first AS date) - 1\"",
      (MARKS + "a_month_that_ends_and_days_that_are_dropped_leave_the_sums_in_order",)),
    M("a dropped day is counted twice", "engine/ledger/audit_rows.py",
      "AS s WHERE day NOT IN {_DROPPED}", "AS s WHERE true OR day NOT IN {_DROPPED}",
      (MARKS + "a_month_that_ends_and_days_that_are_dropped_leave_the_sums_in_order",)),
    M("a watermark passes an entry in quarantine", "engine/flows/verify/passes.py",
      "        n, ms = waiting.n - 1, min(ms, _ms_of(waiting.entry_id))\n", "        ms = min(ms, _ms_of(waiting.entry_id))\n",
      (MARKS + "an_entry_in_quarantine_holds_its_watermark_and_may_be_retried_later",)),
    M("rows by a clock that is behind are missed", "engine/flows/verify/passes.py",
      "    at = max(at_ms(ms) - SLACK, at_ms(0))\n", "    at = max(at_ms(ms), at_ms(0))\n",
      (MARKS + "rows_by_a_clock_that_is_minutes_behind_are_not_missed",)),
    M("after a rebuild the whole log is read", "engine/flows/verify/passes.py",
      "_ms_of(cursor.entry_id) or last_row_ms\n", "_ms_of(cursor.entry_id)\n",
      (MARKS + "after_a_rebuild_only_rows_since_the_last_one_are_read",)),
    M("what is wrong is confirmed all the same", "engine/flows/verify/verifier.py",
      "            self.passes.failed(one)\n", "            self.passes.passed(one)\n",
      (ABOVE,)),
    M("a full pass that found something leaves the last one in force", "engine/flows/verify/passes.py",
      "                verified.doubt(conn)\n", "                pass\n",
      (BELOW,)),
    M("what waits in quarantine holds every watermark", "engine/flows/verify/rows.py",
      "        check.waits = not check.findings\n", "        check.waits = False\n",
      (MARKS + "an_entry_in_quarantine_holds_its_watermark_and_may_be_retried_later",)),
    M("an event id is looked for among new rows only", "engine/ledger/audit.py",
      "        if self.back is None:\n", "        if True or self.back is None:\n",
      (MARKS + "an_event_counted_before_the_watermark_and_again_after_it_is_found_by_the_next_pass",)),
    M("the last slice of a full pass is left out", "engine/flows/verify/passes.py",
      "for low in range(0, SHARDS, each)", "for low in range(0, SHARDS - 62, each)",
      (MARKS + "a_full_pass_in_slices_leaves_no_shard_out",)),
    M("no full pass is due at night", "engine/flows/verify/passes.py",
      "        return known is None or known.begun_at < night\n", "        return known is None or known.begun_at > now\n",
      (MARKS + "the_job_reads_everything_once_a_night_and_what_is_new_else",)),
    M("counters are compared without the sums below the watermark", "engine/flows/verify/logged.py",
      "mark is not None and mark.n <= min(", "mark is not None and mark.n > min(",
      (MARKS + "counters_are_compared_by_the_rows_above_the_watermark",)),
)
# fmt: on
