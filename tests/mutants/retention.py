"""Faults in letting days of the spend log go: retention, and what reads the log after it."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

KEPT: Final = "tests/flows/test_retention.py::test_"

# fmt: off
LET_GO: Final = (
    M("what is dropped a second time forgets what was dropped before", "engine/ledger/retention.py",
      "rows = kept.rows + excluded.rows", "rows = excluded.rows",
      (KEPT + "a_refund_of_a_day_that_is_gone_has_its_row_and_goes_with_it_later",)),
    M("corrections are kept as spends of their day", "engine/ledger/retention.py",
      "coalesce(sum(amount_micros) FILTER (WHERE kind <> 'correction'), 0),", "sum(amount_micros),",
      (KEPT + "closed_days_past_their_time_go_and_every_sum_report_and_check_stays",)),
    M("corrections of the month itself count as later ones", "engine/ledger/retention.py",
      " + interval '1 month') AT TIME ZONE", " + interval '0 month') AT TIME ZONE",
      (KEPT + "closed_days_past_their_time_go_and_every_sum_report_and_check_stays",)),
    M("a day goes while its month is open", "engine/ledger/retention.py",
      " AND c.starts_on = CAST(date_trunc('month', given.day) AS date))) ORDER BY 1", ")) ORDER BY 1",
      (KEPT + "what_is_not_closed_on_every_shard_stays_however_old",)),
    M("a row goes that was recorded a moment ago", "engine/ledger/retention.py",
      "    if young:\n        return None\n", "",
      (KEPT + "a_refund_of_a_day_that_is_gone_has_its_row_and_goes_with_it_later",)),
    M("evidence of a difference is dropped", "engine/ledger/retention.py",
      "    _check_sums(connection, day)\n", "",
      (KEPT + "a_day_whose_rows_and_sums_differ_is_kept_and_named",)),
    M("a drop waits for readers, and writers behind it", "engine/ledger/retention.py",
      '_PATIENCE_S: Final = 0.8', '_PATIENCE_S: Final = 8.0',
      (KEPT + "a_reader_of_the_log_is_not_waited_for_and_the_next_run_drops",)),
    M("a salvage books what was dropped", "engine/ledger/known_rows.py",
      'found = connection.execute(_DROPPED, {"brands": sorted(brands), "days": sorted(days)})', 'found = connection.execute(_DROPPED, {"brands": [], "days": sorted(days)})',
      (KEPT + "an_old_redis_that_comes_back_with_entries_of_a_day_that_is_gone_doubles_nothing",)),
    M("a shard forgets its last instant with its rows", "engine/ledger/spend_read.py",
      "(SELECT max(last_at) FROM dropped_day WHERE mod(brand_id, :shards) = :shard)", "NULL",
      (KEPT + "a_brand_whose_rows_are_all_gone_is_not_begun_anew_and_keeps_its_last_instant",)),
    M("verify takes dropped rows for lost ones", "engine/ledger/audit_rows.py",
      "SELECT brand_id, day, spend_micros FROM dropped_day WHERE", "SELECT brand_id, day, 0 FROM dropped_day WHERE",
      (KEPT + "closed_days_past_their_time_go_and_every_sum_report_and_check_stays",)),
    M("partitions are made for today only", "engine/flows/upkeep/log_days.py",
      "for days in range(AHEAD + 1):", "for days in range(1):",
      (KEPT + "midnight_waits_for_no_partition",)),
)
# fmt: on
