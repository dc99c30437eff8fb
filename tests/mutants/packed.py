"""Faults of packed rows, what persist puts into them and what is read back, and of persist workers side by side."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

FORMS: Final = "tests/flows/test_both_forms.py::test_"
SAME: Final = (FORMS + "every_reader_says_the_same_of_rows_of_packed_rows_and_of_a_day_with_both",)
ALONE: Final = (FORMS + "rows_of_gathered_spends_are_byte_for_byte_those_of_each_entry_read_by_itself",)
WORKERS: Final = "tests/ledger/test_persist_workers.py::test_"
SECOND: Final = (
    "tests/flows/test_persist_loop.py::test_a_second_worker_persists_its_own_shards_and_leaves_the_duties_to_the_first",
)
MIGRATION: Final = "engine/ledger/migrations/versions/0010_packed_rows.py"

# fmt: off
PACKED: Final = (
    M("a spend of another shard's campaign is packed", "engine/flows/persist/gather.py",
      "return is_campaign_id(campaign_id) and shard_of(brand_of(campaign_id)) == shard", "return is_campaign_id(campaign_id)",
      (FORMS + "an_entry_that_is_not_plain_is_read_by_itself[another shard]",)),
    M("single spends of two hours share their sums", "engine/flows/persist/gather.py",
      " or now >= run.ends", "",
      (FORMS + "only_entries_in_sequence_of_one_hour_are_gathered",)),
    M("a gap in the journal is gathered over", "engine/flows/persist/gather.py",
      " or number != run.next_n", "",
      (FORMS + "only_entries_in_sequence_of_one_hour_are_gathered",)),
    M("an entry of which a spend is wrong leaves the others in the sums", "engine/flows/persist/gather.py",
      "if len(spends) > MOST_SPENDS or not all(alone.add(shard, *spend) for spend in spends):", "if len(spends) > MOST_SPENDS:",
      (FORMS + "an_entry_that_is_not_plain_is_read_by_itself[the second]",)),
    M("a spend of a text call forgets its event", "engine/ledger/log_rows.py",
      "value(event) if event else _NULL, own)", "_NULL, own)", ALONE),
    M("spends of a text call are all its first", "engine/ledger/log_rows.py",
      "own = _OWN(8, int(micros), 4, position)", "own = _OWN(8, int(micros), 4, 0)", ALONE),
    M("a packed row forgets its call's lease", "engine/flows/persist/packing.py",
      'lease, kind = entry.drawn_from or (None, "spend")', 'lease, kind = None, "spend"', SAME),
    M("the last spend of a packed call is not read back", MIGRATION,
      "generate_series(0, p.spends - 1)", "generate_series(0, p.spends - 2)", SAME),
    M("an amount above 32 bits is read back short", MIGRATION,
      "CASE c.width WHEN 4 THEN 0 ELSE (get_byte(c.log, a.at + 4)::bigint << 32)", "CASE c.width WHEN 4 THEN 0 ELSE 0", SAME),
    M("a packed row that began before an instant is left out", MIGRATION,
      "FROM unpacked_spend AS u WHERE u.last_at >= since AND u.recorded_at", "FROM unpacked_spend AS u WHERE u.first_at >= since AND u.recorded_at", SAME),
    M("a shard's last instant is that of its rows", "engine/ledger/spend_read.py",
      " (SELECT last_at FROM spend_pack WHERE shard = :shard ORDER BY last_at DESC LIMIT 1))", " NULL)", SAME),
    M("the newest packed row is believed to be enough", "engine/ledger/reports.py",
      "AS counted WHERE newer < :limit)", "AS counted WHERE newer < 1)", SAME),
    M("packed rows that are refused are lost", "engine/flows/persist/ingest.py",
      "good = _post_each(conn, good + _apart(singles), booked)", "good = _post_each(conn, good, booked)",
      (FORMS + "packed_rows_that_postgresql_refuses_become_rows_and_a_lost_partition_is_made_anew",)),
    M("retention forgets packed rows", "engine/ledger/retention.py",
      "for table in LOG_TABLES if (name", 'for table in ("spend_log",) if (name',
      (FORMS + "a_day_of_both_forms_is_dropped_whole_with_its_sums",)),
    M("an earlier release loses packed rows", MIGRATION,
      "SELECT {_COLUMNS} FROM unpacked_spend ORDER BY recorded_at", "SELECT {_COLUMNS} FROM unpacked_spend WHERE position = 0 ORDER BY recorded_at",
      (FORMS + "a_release_without_packed_rows_gets_them_as_rows",)),
)
SHARED: Final = (
    M("two workers leave a shard to each other", "engine/flows/persist/shares.py",
      "SHARDS * (place + 1) // count)", "SHARDS * (place + 1) // count - 1)",
      (WORKERS + "workers_have_even_shares_that_are_all_shards_together_and_one_of_them_is_the_first[3]",)),
    M("a dead worker keeps its shards", "engine/ledger/persist_workers.py",
      "WHERE seen_at >= clock_timestamp() - make_interval(secs => :alive)", "WHERE seen_at >= clock_timestamp() - 10 * make_interval(secs => :alive)",
      (WORKERS + "a_worker_alone_has_everything_and_shares_with_those_that_come_until_they_end_or_are_silent",)),
    M("each worker persists every shard", "engine/flows/persist/loop.py",
      "        left.update(set(range(SHARDS)).difference(self.share.shards))\n", "", SECOND),
    M("each worker does the duties of one", "engine/flows/persist/loop.py",
      "        if self.share.first:\n            self._do_duties()", "        self._do_duties()", SECOND),
)
# fmt: on
