"""Faults on the way from the journal into PostgreSQL: persist, booking, cursors, the log, quarantine and salvage."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

PERSIST: Final = "tests/flows/test_persist.py::test_"
AT_SIZE: Final = "tests/flows/test_at_size.py::test_"
HOLDS: Final = "tests/flows/test_holds_and_quarantine.py::test_"
ROLL_UPS: Final = "tests/flows/test_roll_ups.py::test_"
MINUTES: Final = "tests/flows/test_minutes.py::test_"
PACKED: Final = "tests/flows/test_packed_entries.py::test_"
CURSORS: Final = "tests/ledger/test_cursors.py::test_"
REBUILD: Final = "tests/flows/test_rebuild.py::test_"
BOUNDED: Final = "tests/flows/test_bounded_rebuild.py::test_"
RESTORED: Final = "tests/faults/test_fault_10_restored.py::test_fault_10_"

# fmt: off
WRITTEN_DOWN: Final = (
    # Packed calls
    M("a packed call is not remembered for a rebuild", "engine/flows/persist/posting.py",
      "if entry.outcomes or entry.packed is not None or (", "if entry.outcomes or (",
      (PACKED + "a_packed_call_that_comes_again_after_a_rebuild_is_counted_once",)),
    M("a packed log is believed whatever its sums say", "engine/live/packed.py",
      "totals[place] != line.micros or ", "",
      (PACKED + "a_log_that_does_not_add_up_is_written_down_as_its_sums_and_its_bytes_are_kept",)),
    M("the bytes of a packed log that is no good are not kept", "engine/flows/persist/ingest.py",
      "        if item.entry.packed is not None and item.entry.packed.bad:\n            # Its", "        if False:\n            # Its",
      (PACKED + "a_log_that_does_not_add_up_is_written_down_as_its_sums_and_its_bytes_are_kept",)),
    # What joins on, and what does not
    M("entries are acknowledged before they are written", "engine/flows/persist/persister.py",
      "            out.add(DrainStats.of(book(conn, [item.part for item in found], self.make_partitions, self._packed)))\n"
      "            for item in found:\n"
      "                item.move_cursor(conn)\n",
      "            for item in found:\n"
      "                item.move_cursor(conn)\n"
      "            conn.connection.driver_connection.commit()\n"
      "            out.add(DrainStats.of(book(conn, [item.part for item in found], self.make_partitions, self._packed)))\n",
      (PERSIST + "a_transaction_that_fails_leaves_no_row_and_no_moved_cursor",)),
    M("a gap in the journal is stepped over", "engine/flows/persist/persister.py",
      "if item.n != n + 1:", "if item.n <= n:",
      (PERSIST + "a_gap_in_the_journal_stops_its_shard_and_names_both_numbers",)),
    M("a shard that fell back is believed until its next spend", "engine/flows/persist/persister.py",
      "if state is not None and state.n < cursor.n and", "if state is not None and state.n < 0 and",
      (PERSIST + "a_shard_whose_number_fell_back_is_stopped_before_it_takes_another_spend",)),
    M("the cursor's own entry may be another", "engine/flows/persist/persister.py",
      "first_id != entry_id or first_n not in (n, None)", "first_n not in (n, None)",
      (RESTORED + "an_older_journal_that_has_come_up_to_the_same_number_is_found",)),
    M("a shard waits for persist by its number alone", "engine/flows/persist/persister.py",
      "s.n != cursors[s.shard].n or (s.last_entry_id or START) != cursors[s.shard].entry_id", "s.n != cursors[s.shard].n",
      (RESTORED + "an_older_journal_that_has_come_up_to_the_same_number_is_found",)),
    M("history that was lost stops its shard in PostgreSQL only", "engine/flows/persist/persister.py",
      "        self._live.unmark(self._instance, shard, why)\n", "",
      (PERSIST + "a_gap_in_the_journal_stops_its_shard_and_names_both_numbers",)),
    M("another instance's journal is persisted", "engine/flows/persist/persister.py",
      "if s.ready and self.owns(s)]", "if s.ready]",
      (PERSIST + "a_journal_of_another_instance_is_not_persisted",)),

    # The cursor
    M("two persisters work on one shard", "engine/ledger/cursors.py",
      ".with_for_update(skip_locked=True)", "",
      (CURSORS + "a_second_persister_of_a_shard_steps_aside",)),
    M("the cursor moves from wherever it is", "engine/ledger/cursors.py",
      "AND n = :from_n AND generation", "AND generation",
      (CURSORS + "a_step_already_taken_is_not_taken_again",)),
    M("the cursor may go back to an earlier generation", "engine/ledger/cursors.py",
      " AND generation <= :generation", "",
      (CURSORS + "the_cursor_only_goes_forward[6-0]",)),
    M("a second rebuild may take the cursor back", "engine/ledger/cursors.py",
      " AND generation < :generation AND n <= :n", " AND generation < :generation",
      (CURSORS + "of_two_rebuilds_the_second_is_told",)),
    M("the journal is trimmed up to where the cursor stands now", "engine/ledger/cursors.py",
      "THEN next_entry_id ELSE safe_entry_id END", "THEN entry_id ELSE safe_entry_id END",
      (CURSORS + "only_what_has_been_safe_for_ten_minutes_may_be_trimmed",)),
    M("a minute drops no more of a journal than one call may", "engine/live/admin.py",
      "            dropped += int(reply[1])\n", "            dropped += int(reply[1])\n            break\n",
      ("tests/flows/test_persist.py::test_a_journal_is_trimmed_of_all_that_is_old_however_much_came_in_a_minute",)),
    M("a new journal is trimmed by the ids of the old one", "engine/ledger/cursors.py",
      "THEN safe_entry_id ELSE '0-0' END", "THEN safe_entry_id ELSE safe_entry_id END",
      (CURSORS + "a_new_journal_is_not_trimmed_by_the_old_ones_ids",)),

    # Rows and sums
    M("a day's sum is the last transaction's", "engine/ledger/spend_log.py",
      "spend_micros = campaign_day.spend_micros + excluded.spend_micros", "spend_micros = excluded.spend_micros",
      (PERSIST + "a_days_sum_grows_with_each_transaction_that_writes_to_it",)),
    M("an hour's sum is the last transaction's", "engine/ledger/spend_log.py",
      "spend_micros = campaign_hour.spend_micros + excluded.spend_micros", "spend_micros = excluded.spend_micros",
      (ROLL_UPS + "a_ledger_of_before_has_its_hours_from_its_rows_after_the_migration",
       ROLL_UPS + "what_is_salvaged_or_comes_back_from_quarantine_is_in_its_own_hour")),
    M("a minute's sum is the last transaction's", "engine/ledger/minutes.py",
      "spend_micros = brand_minute.spend_micros + excluded.spend_micros", "spend_micros = excluded.spend_micros",
      (MINUTES + "a_minute_grows_with_each_transaction_and_the_next_minute_of_its_hour_is_another",)),
    M("gathered spends of an hour are in its first minute", "engine/flows/persist/gather.py",
      "(ms // MINUTE_MS + 1) * MINUTE_MS", "(ms // 3_600_000 + 1) * 3_600_000",
      (MINUTES + "a_minute_grows_with_each_transaction_and_the_next_minute_of_its_hour_is_another",)),
    M("a late spend is in the minute of its report", "engine/ledger/minutes.py",
      "== day else happened", "== day and False else happened",
      (MINUTES + "a_late_spend_is_in_the_minute_in_which_it_occurred",)),
    M("money taken from an earlier day is summed in the hour at which it was taken", "engine/ledger/spend_log.py",
      "if recorded_at.date() == day:", "if True:",
      (ROLL_UPS + "each_spend_is_summed_in_its_hour_and_what_is_taken_from_an_earlier_day_in_that_days_last",)),
    M("a correction is booked on the day it was made", "engine/flows/persist/posting.py",
      "date_of(day_of(entry.ms) if spend.day is None else spend.day)", "date_of(day_of(entry.ms))",
      (HOLDS + "a_refund_of_a_closed_day_is_a_correction_and_the_closed_total_stays",)),
    M("what was refused has a row like what was counted", "engine/live/journal.py",
      "position < len(codes) and codes[position] == COUNTED", "position < len(codes) and codes[position] != 'u'",
      (PERSIST + "refused_duplicate_and_unknown_spends_of_a_batch_leave_no_row",)),
    M("of a hold's two words in one transaction the first counts", "engine/ledger/holds.py",
      "for row in rows}", "for row in reversed(list(rows))}",
      (HOLDS + "each_end_of_a_hold_is_logged_and_only_settled_money_has_a_row",)),

    # What verify compares
    M("a counter is compared with rows that came after it was read", "engine/ledger/spend_read.py",
      "AND part.n <= wanted.up_to", "AND part.n >= 0",
      (AT_SIZE + "verify_finds_one_micro_in_a_large_brand_that_is_spent_on_while_it_is_read",)),
    M("a counter is compared with entries that came after it was read", "engine/flows/verify/logged.py",
      "up_to is None or (n is not None and n > up_to)", "up_to is None",
      (AT_SIZE + "verify_finds_one_micro_in_a_large_brand_that_is_spent_on_while_it_is_read",)),

    # Quarantine
    M("an entry in quarantine counts nothing", "engine/flows/persist/ingest.py",
      "counted_by(item) if sums is None else sums, reason", "{}, reason",
      (HOLDS + "a_rebuild_counts_what_lies_in_quarantine",)),
    M("an entry in quarantine loses its bytes", "engine/flows/persist/ingest.py",
      "item.n, item.entry_id, item.fields, counted_by(item)", "item.n, item.entry_id, {}, counted_by(item)",
      (HOLDS + "fault_5_a_poisoned_entry_is_set_aside_with_its_bytes_and_the_rest_goes_through",)),

    # Salvage
    M("salvage writes down what is written down already", "engine/flows/rebuild/salvage.py",
      "logged = {place for place, one in given.items() if (one.brand_id, on) in dropped or alike.has(one)}", "logged = set()",
      (REBUILD + "spends_of_a_redis_that_fell_back_are_salvaged_and_those_logged_before_are_not_doubled",)),
    M("salvage reads one slice of a journal", "engine/flows/rebuild/fork.py",
      'at = f"({reads[-1].entry_id}" if part.more and reads else ""', 'at = ""',
      (REBUILD + "a_salvage_of_more_than_a_page_carries_all_of_it_over",)),
    M("salvage gives out numbers that the journal had used", "engine/flows/rebuild/salvage.py",
      "max(cursor.n, fork.highest), START)", "cursor.n, START)",
      (REBUILD + "a_salvage_goes_on_after_the_highest_number_of_either_store",)),
    M("a rebuild that was overtaken moves the cursor", "engine/flows/rebuild/salvage.py",
      "            _check_ours(shard, is_ours)\n            restart_cursor", "            restart_cursor",
      (REBUILD + "a_slow_rebuild_that_was_overtaken_leaves_the_cursor_of_the_quicker_one_alone",)),
    M("a fork is looked for through the whole journal", "engine/flows/rebuild/fork.py",
      "if len(page) < SLICE or (fork.at_ms is not None and all(known is not False for known in verdicts)):", "if len(page) < SLICE:",
      (BOUNDED + "a_rebuild_asks_postgresql_no_more_for_more_entries_that_it_has_already",)),
    M("a settled hold is known by no request", "engine/flows/persist/posting.py",
      'return f"{spend.campaign_id}:{spend.hold_id}" if spend.hold_id else', 'return f"{entry.n}:{spend.hold_id}" if spend.hold_id else',
      (BOUNDED + "a_hold_settled_again_after_a_fall_back_is_booked_once",)),
    M("a call of which a part was in the log is forgotten", "engine/flows/persist/posting.py",
      " or (entry.skip and entry.body)", "",
      (BOUNDED + "a_call_of_which_a_part_was_in_the_log_is_still_known_after_the_rebuild[False]",)),
    M("memories whose window is over are kept", "engine/flows/rebuild/memories.py",
      "or not until - width <= now < until:", "or not until - width <= now:",
      (BOUNDED + "memories_that_are_not_whole_are_written_anew_after_a_fall_back[window]",)),
    M("memories that were lost are kept", "engine/flows/rebuild/memories.py",
      'or any(guard != ["1"] for guard in guards)', "or False",
      (BOUNDED + "memories_that_are_not_whole_are_written_anew_after_a_fall_back[guard]",)),
)
# fmt: on
