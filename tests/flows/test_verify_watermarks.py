"""Verify goes on from what it confirmed: the next pass finds what is wrong above the watermarks, the next full pass what is wrong below."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from engine import jobs
from engine.client.sync import Spend
from engine.domain.periods import ms_of
from engine.flows.catalog.check import check_all
from engine.flows.verify import passes
from engine.ledger import retention
from engine.wiring import System
from tests.flows.conftest import at
from tests.flows.test_persist import brand_with_campaigns, rows
from tests.flows.test_rebuild import fall_back
from tests.flows.test_verify import COLUMNS, NOON, failed, sql

MINUTE = 60_000


def recent(system: System) -> dict[str, int]:
    """What a pass over what is new finds, with its micros."""
    return {check.id: check.difference_micros for check in system.verifier.verify(recent=True) if check.findings}


def mark(system: System, shard: int = 1) -> tuple[int, int]:
    """Generation and n up to which a shard is confirmed; zeros when nothing is."""
    latest = "SELECT max(id) FROM verify_pass WHERE confirmed_at IS NOT NULL"
    query = f"SELECT generation, n FROM verify_watermark WHERE pass_id = ({latest}) AND shard = {shard}"
    found = rows(system, query)
    return (found[0][0], found[0][1]) if found else (0, 0)


def cursor(system: System, shard: int = 1) -> tuple[int, int]:
    ((generation, n),) = rows(system, f"SELECT generation, n FROM journal_cursor WHERE shard = {shard}")
    return generation, n


def sums(system: System) -> list[Any]:
    """The confirmed sums: campaign, day, micros, corrections, rows."""
    latest = "SELECT max(id) FROM verify_pass WHERE confirmed_at IS NOT NULL"
    columns = "campaign_id, day, micros, corrections, rows"
    return rows(system, f"SELECT {columns} FROM verify_sum WHERE pass_id = ({latest}) ORDER BY 1, 2")


def spent(system: System, *amounts: str) -> int:
    """Spends of the first campaign of brand 1, persisted; the first has the event id of its amount. Returns the campaign."""
    if not system.catalog.brands():
        brand_with_campaigns(system)
    one = 65_537
    system.client.record_spends([Spend(one, amount, f"win-{amount}") for amount in amounts])
    system.persister.drain_all()
    return one


ODD = {
    "changed": ("UPDATE spend_log SET amount_micros = amount_micros + 5 WHERE event_id = 'win-{0}'", {"V1": 5, "V2": 5}),
    "deleted": ("DELETE FROM spend_log WHERE event_id = 'win-{0}'", {"V1": 4_000_000, "V2": 4_000_000}),
    "doubled": (
        "INSERT INTO spend_log SELECT * FROM spend_log WHERE event_id = 'win-{0}'",
        {"V1": 4_000_000, "V2": 4_000_000, "V4": 12_000_000},
    ),
    "added": (
        (f"INSERT INTO spend_log ({COLUMNS}, n, position) SELECT recorded_at, day, brand_id, campaign_id, amount_micros, NULL, 'by-hand',"
        " occurred_at, kind, shard, generation, n, 77 FROM spend_log WHERE event_id = 'win-{0}'"),
        {"V1": 4_000_000, "V2": 4_000_000},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
def test_a_row_below_the_watermark_that_is_odd_is_found_by_the_next_full_pass(ready: System, what: str) -> None:
    spent(ready, "4")
    assert failed(ready) == {}
    spent(ready, "2")
    assert recent(ready) == {}
    assert mark(ready) == cursor(ready)
    statement, expected = ODD[what]
    sql(ready, statement.format("4"))
    assert recent(ready) == {}, "this pass reads what came since"
    assert failed(ready) == expected
    assert ready.verifier.passes.full_is_due(), "nothing is confirmed until a full pass finds nothing"
    assert recent(ready) == expected, "so this one is full as well"


@pytest.mark.parametrize("what", ODD)
def test_a_row_above_the_watermark_that_is_odd_is_found_by_the_next_pass_and_not_confirmed(
    ready: System, what: str
) -> None:
    spent(ready, "1")
    assert failed(ready) == {}
    before = mark(ready)
    spent(ready, "4")
    statement, expected = ODD[what]
    sql(ready, statement.format("4"))
    assert recent(ready) == expected
    assert (mark(ready), recent(ready)) == (before, expected), "what is wrong is not confirmed by a second look"


def test_a_full_pass_in_slices_leaves_no_shard_out(ready: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "_ROWS_A_SLICE", 1)
    brands = [brand_with_campaigns(ready, name=f"Brand {i}")[0] for i in range(3)]
    for brand in brands:
        ready.client.record_spends([Spend(brand * 65_536 + 1, "1")] * 30)
    ready.persister.drain_all()
    assert failed(ready) == {}
    sql(ready, "INSERT INTO spend_log SELECT DISTINCT ON (shard) * FROM spend_log")
    assert failed(ready) == {"V1": 3_000_000, "V2": 3_000_000, "V4": 6_000_000}


def test_a_row_above_the_cursor_is_found_by_the_next_pass(ready: System) -> None:
    spent(ready, "4")
    assert failed(ready) == {}
    sql(ready, f"INSERT INTO spend_log ({COLUMNS}, n, position) SELECT {COLUMNS}, n + 1000, 0 FROM spend_log")
    assert recent(ready) == {"V2": 4_000_000, "V4": 8_000_000, "V5": 4_000_000}


def test_each_pass_moves_the_watermarks_to_the_cursors_and_its_sums_are_those_of_the_rows(clock: System) -> None:
    at(clock, NOON - 86_400_000)
    one = spent(clock, "4", "1")
    sql(clock, "UPDATE brand SET created_at = '2030-05-14'")
    at(clock, NOON)
    clock.closer.close_ended()
    check_all(clock.publisher, clock.status)
    assert failed(clock) == {}
    clock.client.refund(one, "1", "win-4", spent_on=date(2030, 5, 14))
    clock.persister.drain_all()
    clock.refund_desk.decide()
    spent(clock, "2")
    assert recent(clock) == {}
    assert mark(clock) == cursor(clock)
    assert sums(clock) == [
        (one, date(2030, 5, 14), 4_000_000, -1_000_000, 3),
        (one, date(2030, 5, 15), 2_000_000, 0, 1),
    ]
    assert (failed(clock), len(rows(clock, "SELECT id FROM verify_pass"))) == ({}, 2)


def test_counters_are_compared_by_the_rows_above_the_watermark(ready: System) -> None:
    spent(ready, "4")
    assert failed(ready) == {}
    # Below the watermark the sums are in force: what they say is compared with counter and daily sum.
    sql(ready, "UPDATE verify_sum SET micros = micros + 7")
    spent(ready, "2")
    assert recent(ready) == {"V1": 7, "V2": 7}


def test_two_passes_at_once_confirm_what_is_new_once(ready: System) -> None:
    one = spent(ready, "4")
    assert failed(ready) == {}
    spent(ready, "2")
    of_verify = ready.verifier.passes
    first = of_verify.recent()
    spent(ready, "3")
    second = of_verify.recent()
    assert first is not None
    assert second is not None
    of_verify.passed(second)
    # The first one saw less: it must not lead the watermark back below what is in the sums.
    of_verify.passed(first)
    assert mark(ready) == cursor(ready)
    assert recent(ready) == {}
    assert [(campaign, micros, count) for campaign, _, micros, _, count in sums(ready)] == [(one, 9_000_000, 3)]


def test_passes_beside_a_full_one_do_not_disturb_it(ready: System) -> None:
    spent(ready, "4")
    assert failed(ready) == {}
    full = ready.verifier.passes.full()
    spent(ready, "2")
    assert recent(ready) == {}
    ready.verifier.passes.passed(full)
    assert sums(ready)[0][2:] == (4_000_000, 0, 1)
    assert recent(ready) == {}
    assert sums(ready)[0][2:] == (6_000_000, 0, 2)


def test_an_entry_in_quarantine_holds_its_watermark_and_may_be_retried_later(ready: System) -> None:
    spent(ready, "4")
    sql(ready, "ALTER TABLE spend_log ADD CONSTRAINT no_threes CHECK (amount_micros <> 3000000)")
    _, before = cursor(ready)
    spent(ready, "3")
    spent(ready, "2")
    assert failed(ready) == {"V5": 3_000_000}, "it waits, and everything else is in order"
    assert mark(ready)[1] == before
    sql(ready, "ALTER TABLE spend_log DROP CONSTRAINT no_threes")
    assert ready.quarantined.retry_all("anna")[1] == {}
    assert recent(ready) == {}
    assert mark(ready) == cursor(ready)
    assert failed(ready) == {}


def test_rows_that_a_rebuild_salvages_under_numbers_below_the_watermark_are_above_it(ready: System) -> None:
    for amount in ("1", "5", "6"):
        spent(ready, amount)
    assert failed(ready) == {}
    confirmed = mark(ready)
    for _ in range(2):
        fall_back(ready, 1)
    spent(ready, "8")
    ready.rebuilder.rebuild_missing()
    ((lowest,),) = rows(ready, "SELECT min(n) FROM spend_log WHERE event_id = 'win-8'")
    assert lowest <= confirmed[1], "otherwise this tests nothing"
    assert recent(ready) == {}
    assert mark(ready) == cursor(ready)


def test_rows_by_a_clock_that_is_minutes_behind_are_not_missed(clock: System) -> None:
    at(clock, NOON)
    spent(clock, "1")
    at(clock, NOON + 20 * MINUTE)
    check_all(clock.publisher, clock.status)
    assert failed(clock) == {}
    clock.hot_redis.flushall()
    at(clock, NOON + 17 * MINUTE)
    clock.rebuilder.rebuild_missing()
    spent(clock, "2")
    check_all(clock.publisher, clock.status)
    assert recent(clock) == {}
    assert sums(clock)[0][2:] == (3_000_000, 0, 2)


def test_after_a_rebuild_only_rows_since_the_last_one_are_read(ready: System) -> None:
    spent(ready, "1")
    ready.hot_redis.flushall()
    ready.rebuilder.rebuild_missing()
    assert failed(ready) == {}
    query = "SELECT w.at > l.recorded_at - interval '6 minutes' FROM verify_watermark AS w JOIN spend_log AS l ON l.shard = w.shard"
    assert rows(ready, query) == [(True,)]


def test_watermarks_ahead_of_the_log_are_not_trusted(ready: System) -> None:
    spent(ready, "4")
    assert failed(ready) == {}
    sql(ready, "UPDATE verify_watermark SET n = n + 1000 WHERE shard = 1")
    spent(ready, "2")
    assert ready.verifier.passes.full_is_due()
    assert recent(ready) == {}
    assert mark(ready) == cursor(ready)


def test_an_event_counted_before_the_watermark_and_again_after_it_is_found_by_the_next_pass(ready: System) -> None:
    spent(ready, "4")
    assert failed(ready) == {}
    spent(ready, "2")
    sql(ready, "UPDATE spend_log SET event_id = 'win-4' WHERE event_id = 'win-2'")
    assert recent(ready) == {"V4": 2_000_000}


def test_a_month_that_ends_and_days_that_are_dropped_leave_the_sums_in_order(clock: System) -> None:
    at(clock, ms_of(datetime(2030, 5, 31, 12, tzinfo=UTC)))
    one = spent(clock, "4")
    sql(clock, "UPDATE brand SET created_at = '2030-05-31'")
    assert failed(clock) == {}
    for day in (date(2030, 6, 1), date(2030, 6, 2)):
        at(clock, ms_of(datetime(day.year, day.month, day.day, 12, tzinfo=UTC)))
        spent(clock, str(day.day))
        assert clock.closer.close_ended().drift == []
        check_all(clock.publisher, clock.status)
        assert recent(clock) == {}
        if day.day == 1:
            with clock.db.begin() as conn:
                assert retention.drop_day(conn, date(2030, 5, 31), day) == 1
            assert recent(clock) == {}
    assert [(campaign, day) for campaign, day, *_ in sums(clock)] == [(one, date(2030, 6, 1)), (one, date(2030, 6, 2))]
    assert failed(clock) == {}


def test_the_job_reads_everything_once_a_night_and_what_is_new_else(
    clock: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    full, monkeypatched = clock.verifier.passes.full, monkeypatch.setattr

    def noted(*args: Any, **more: Any) -> Any:
        seen.append(True)
        return full(*args, **more)

    monkeypatched(clock.verifier.passes, "full", noted)
    monkeypatched(jobs, "services", lambda: clock)
    expected = []
    for hours, is_full in ((-14, True), (-13, False), (-10.5, False), (-9.75, True), (0, False)):
        at(clock, NOON + int(timedelta(hours=hours).total_seconds() * 1000))
        if hours == -14:
            spent(clock, "1")
            sql(clock, "UPDATE brand SET created_at = '2030-05-14'")
        clock.closer.close_ended()
        check_all(clock.publisher, clock.status)
        before = len(seen)
        assert jobs.verify().startswith("PASS")
        expected.append((len(seen) > before) == is_full)
    assert expected == [True] * 5
