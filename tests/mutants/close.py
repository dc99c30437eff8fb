"""Faults at the end of a day or month, and in the status that is written down: close, periods, check, status."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

CLOSE: Final = "tests/flows/test_status_and_close.py::test_"
PERIODS: Final = "tests/domain/test_periods.py::test_"
STATUSES: Final = "tests/ledger/test_statuses.py::test_"
VERIFY: Final = "tests/flows/test_verify.py::test_"

# fmt: off
CLOSED: Final = (
    M("a day closes before its last entries are persisted", "engine/flows/upkeep/close.py",
      "if cursors[state.shard].n >= state.n]", "if True]",
      (CLOSE + "a_shard_whose_last_entries_are_not_persisted_waits_with_its_close",)),
    M("a shard that goes on spending is never closed", "engine/flows/upkeep/close.py",
      "elif time.monotonic() >= ends_s:", "elif True:",
      (CLOSE + "a_day_closes_on_a_shard_that_goes_on_spending",)),
    M("a shard that persist reaches while others are closed waits for the next close", "engine/flows/upkeep/close.py",
      "            if whole:", "            if False:",
      (CLOSE + "a_shard_that_persist_reaches_while_others_are_closed_is_closed_too",)),
    M("an idle shard never learns that its day is over", "engine/flows/upkeep/close.py",
      "read_shards(tick=True)", "read_shards()",
      (CLOSE + "the_day_closes_by_itself_with_its_total_and_reactivates_what_may_run_again",)),
    M("of the days that were missed every other one is closed", "engine/flows/upkeep/close.py",
      "for number in range(first, day_of(state.now_ms))]", "for number in range(first, day_of(state.now_ms), 2)]",
      (CLOSE + "days_missed_over_a_months_end_are_each_closed_once",)),
    M("a month is never closed", "engine/flows/upkeep/close.py",
      "while number < month_of(state.now_ms):", "while number < month_of(state.now_ms) - 1:",
      (CLOSE + "days_missed_over_a_months_end_are_each_closed_once",)),
    M("a day closes with the budget of its month", "engine/flows/upkeep/close.py",
      'b.daily_budget_micros if period == "day" else b.monthly_budget_micros', "b.monthly_budget_micros",
      (CLOSE + "the_day_closes_by_itself_with_its_total_and_reactivates_what_may_run_again",)),
    M("a refund of an old day begins the periods of its shard", "engine/ledger/spend_read.py",
      "WHERE brand_id = brand.id AND spends > 0 ORDER BY day", "WHERE brand_id = brand.id ORDER BY day",
      (CLOSE + "a_refund_that_names_an_old_day_makes_no_period_before_its_brand_began",)),
    M("a brand has periods before it was", "engine/flows/upkeep/close.py",
      "if b.created_at.date() <= _last_day(period, starts_on) or totals.get(b.id, 0) > 0]", "]",
      (CLOSE + "a_brands_periods_begin_with_it_also_on_a_shard_that_is_older",)),
    M("a refund of a day that no spend can have had is booked", "engine/live/journal.py",
      "if not FIRST_DAY <= int(fourth or 0) <= day_of(self.ms):", "if False:",
      (CLOSE + "a_refund_that_names_an_old_day_makes_no_period_before_its_brand_began",)),
    M("the counters of closed days stay in Redis", "engine/flows/upkeep/close.py",
      "                self._prune(shard, hashes, [_field(*period) for period in part])\n", "",
      (CLOSE + "the_day_closes_by_itself_with_its_total_and_reactivates_what_may_run_again",)),
    M("a counter that differs from the log is not named", "engine/flows/upkeep/close.py",
      "counter not in (0, logged)", "counter not in (0, logged, counter)",
      (CLOSE + "a_counter_that_differs_from_the_log_is_named_at_the_close",)),
    M("what lies in quarantine is told as drift", "engine/flows/upkeep/close.py",
      "totals.get(brand_id, 0) + aside.get(brand_id, 0)", "totals.get(brand_id, 0)",
      (CLOSE + "a_close_with_an_entry_in_quarantine_names_no_drift",)),
    M("a brand that was archived during the day is not closed", "engine/flows/upkeep/close.py",
      "for brand in self._catalog.brands(include_archived=True):", "for brand in self._catalog.brands():",
      (CLOSE + "the_last_day_of_a_brand_that_was_archived_is_closed_with_its_total",)),
    M("a period closes again each time it is asked", "engine/ledger/periods.py",
      "if first is None:", "if False:",
      ("tests/ledger/test_runs_and_periods.py::test_a_closed_period_never_changes",)),
    M("a correction made after a month's end changes its total", "engine/ledger/spend_read.py",
      "totals[brand_id] = totals.get(brand_id, 0) - micros", "totals[brand_id] = totals.get(brand_id, 0)",
      (VERIFY + "a_month_closed_with_a_correction_made_after_its_end_keeps_its_total",)),
    M("a correction made after a day's end changes its total", "engine/ledger/spend_read.py",
      " AND kind <> 'correction' AND brand_id", " AND brand_id",
      (VERIFY + "a_correction_of_yesterday_is_not_in_yesterdays_counter_after_a_rebuild_before_its_close",)),
    M("after December comes a 13th month", "engine/domain/periods.py",
      "month % 100 == 12", "month % 100 == 13",
      (PERIODS + "a_month_begins_at_its_first_midnight",)),

    M("a status is changed where nothing differs", "engine/flows/catalog/status.py",
      "and (row.status, row.reasons) != _WRITTEN_AS[mask]", "",
      (CLOSE + "a_check_that_finds_no_difference_writes_no_row",)),
    M("a status that is written already is written again", "engine/ledger/statuses.py",
      "IS DISTINCT FROM (given.status, given.reasons)", "IS NOT NULL",
      (STATUSES + "a_first_status_and_each_new_set_of_causes_is_one_row",)),
    M("a budget ran out when somebody looked", "engine/flows/catalog/status.py",
      "max(brand.daily_since_ms or 0, day_start_ms(day_of(now)))", "now",
      (CLOSE + "the_spend_that_uses_up_the_day_pauses_every_campaign_of_the_brand",)),
    M("a schedule opened when somebody looked", "engine/flows/catalog/status.py",
      "return campaign.schedule.last_change_ms(now) or now", "return now",
      (CLOSE + "a_schedule_that_opens_is_written_with_the_minute_at_which_it_opened",)),
    M("statuses of a brand have several writers at once", "engine/flows/catalog/status.py",
      "            statuses.lock_brands(conn, brand_ids)\n", "",
      (CLOSE + "a_status_waits_for_the_writer_before_it",)),
    M("a check publishes nothing that is owed", "engine/flows/catalog/check.py",
      "published = publisher.publish_pending()", "published: set[int] = set()",
      (CLOSE + "a_check_publishes_what_is_still_owed",)),
    M("a check looks only at brands that it published", "engine/flows/catalog/check.py",
      "status.refresh_all()", "status.refresh(published)",
      (CLOSE + "the_day_closes_by_itself_with_its_total_and_reactivates_what_may_run_again",)),
)
# fmt: on
