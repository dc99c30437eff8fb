"""Days of the spend log that are past their time go, and no sum, report, counter or check notices; what is not closed stays."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from engine import jobs
from engine.client.sync import Spend
from engine.domain.periods import DAY_MS, ms_of
from engine.flows.catalog.check import check_all
from engine.flows.upkeep.log_days import LogDays
from engine.ledger import audit, reports, runs, spend_read
from engine.ledger.retention import dropped_days, dropped_through, logged_days
from engine.live.keys import keys_of_brand
from engine.wiring import System
from tests.flows.conftest import at, born_on_the_moved_clock
from tests.flows.test_persist import brand_with_campaigns, rows
from tests.patience import in_time

KEEP, TODAY = 35, date(2037, 11, 30)
GONE = [date(2037, 9, 5), date(2037, 9, 20), date(2037, 10, 3), date(2037, 10, 10)]
KEPT = [date(2037, 10, 30), date(2037, 11, 2), date(2037, 11, 29), TODAY]
BRAND, ONE, TWO = 1, 65_537, 65_538


def noon(day: date) -> int:
    return ms_of(datetime(day.year, day.month, day.day, 12, tzinfo=UTC))


def settled(system: System, day: date) -> None:
    """What the jobs do on a day."""
    system.persister.drain_all()
    closed = system.closer.close_ended()
    assert (closed.waiting, closed.drift) == ([], [])
    check_all(system.publisher, system.status)


def lived(system: System) -> System:
    """Nearly three months of brand 1: spends, holds, refunds of their day, of their month, and of a month that is over."""
    at(system, noon(GONE[0]))
    assert brand_with_campaigns(system, 2, daily=50_000_000) == (BRAND, [ONE, TWO])
    client = system.client
    for day in [*GONE, *KEPT]:
        at(system, noon(day))
        settled(system, day)
        client.record_spends([Spend(ONE, "1"), Spend(ONE, "1"), Spend(ONE, "1", f"one-{day}")])
        client.record_spend(TWO, "5", event_id=f"win-{day}")
        client.refund(TWO, "1", f"win-{day}")
        client.settle(client.reserve(ONE, "4", 600).hold_id, "2.5")
        if day == GONE[3]:
            client.refund(ONE, "0.5", f"one-{GONE[2]}", spent_on=GONE[2])
            client.refund(ONE, "0.25", f"one-{GONE[1]}", spent_on=GONE[1])
        system.persister.drain_all()
        system.refund_desk.decide()
        system.persister.drain_all()
    settled(system, TODAY)
    return system


@pytest.fixture
def old(clock: System) -> System:
    return lived(clock)


def drop(system: System, keep: int = KEEP) -> list[date]:
    return LogDays(system.db, system.live, keep).drop_old().days


def wrong(system: System) -> list[str]:
    """What verify finds, over all the days there ever were."""
    return [f"{check.id} {finding}" for check in system.verifier.verify(days=200) for finding in check.findings]


def days_with_rows(system: System) -> list[date]:
    return [day for (day,) in rows(system, "SELECT DISTINCT day FROM spend ORDER BY 1")]


def whole_log(system: System) -> list[Any]:
    """Of each brand and day: rows and micros, those dropped included."""
    return rows(
        system,
        "SELECT brand_id, day, sum(n), sum(micros) FROM (SELECT brand_id, day, 1 AS n, amount_micros AS micros FROM spend"
        " UNION ALL SELECT brand_id, day, rows, spend_micros + correction_micros FROM dropped_day) AS l GROUP BY 1, 2 ORDER BY 1, 2",
    )


def reported(system: System) -> list[Any]:
    """Everything that reports say of spend."""
    view = system.overview.snapshot(include_archived=True)
    return [
        reports.brand_days(system.db, BRAND, GONE[0], TODAY),
        [reports.brand_hours(system.db, BRAND, day) for day in (*GONE, *KEPT)],
        reports.period_totals(system.db, limit=1000),
        [reports.open_spends(system.db, day) for day in (*GONE, *KEPT)],
        reports.latest_spends(system.db, 50, today=TODAY),
        [(c.id, c.daily_spend, c.monthly_spend, c.status) for b in view.brands for c in b.campaign_views],
        rows(system, "SELECT * FROM campaign_day ORDER BY 1, 2"),
        rows(system, "SELECT * FROM campaign_hour ORDER BY 1, 2, 3"),
    ]


def test_closed_days_past_their_time_go_and_every_sum_report_and_check_stays(old: System) -> None:
    assert wrong(old) == []
    before, log = reported(old), whole_log(old)
    assert days_with_rows(old) == [*GONE, *KEPT]
    assert drop(old) == GONE
    assert days_with_rows(old) == KEPT
    assert reported(old) == before
    assert whole_log(old) == log
    assert wrong(old) == []
    with old.db.connect() as conn:
        assert dropped_through(conn) == GONE[-1]
        assert dropped_days(conn, GONE[1], GONE[2]) == GONE[1:3]
    assert drop(old) == []
    assert whole_log(old) == log


def test_a_closed_total_that_is_wrong_is_still_found_when_its_rows_are_gone(old: System) -> None:
    drop(old)
    with old.db.begin() as conn:
        conn.execute(
            text(
                "UPDATE period_total SET spend_micros = spend_micros + 9 WHERE period = 'day' AND starts_on = '2037-09-20'"
            )
        )
        conn.execute(
            text(
                "UPDATE period_total SET spend_micros = spend_micros - 7 WHERE period = 'month' AND starts_on = '2037-10-01'"
            )
        )
    found = wrong(old)
    assert [line[:2] for line in found] == ["V7", "V7"]
    assert "(+9)" in found[0] and "(-7)" in found[1]


def test_a_rebuild_of_an_emptied_redis_gives_the_same_figures_after_the_drop(old: System) -> None:
    before = old.live.read_brand(BRAND, 2)
    drop(old)
    old.hot_redis.flushall()
    at(old, noon(TODAY))
    old.rebuilder.rebuild_missing()
    after = old.live.read_brand(BRAND, 2)
    assert before is not None and after is not None
    assert (after.daily_spend, after.monthly_spend, after.campaigns) == (
        before.daily_spend,
        before.monthly_spend,
        before.campaigns,
    )
    check_all(old.publisher, old.status)
    assert wrong(old) == []
    assert old.client.record_spend(ONE, "1").outcome == "recorded"


def test_a_brand_whose_rows_are_all_gone_is_not_begun_anew_and_keeps_its_last_instant(clock: System) -> None:
    at(clock, noon(GONE[0]))
    brand_with_campaigns(clock, 1)
    clock.client.record_spend(ONE, "3")
    at(clock, noon(TODAY))
    settled(clock, TODAY)
    with clock.db.connect() as conn:
        last = spend_read.last_recorded_ms(conn, BRAND)
    assert drop(clock)[0] == GONE[0]
    assert days_with_rows(clock) == []
    with clock.db.begin() as conn:
        assert spend_read.last_recorded_ms(conn, BRAND) == last == noon(GONE[0])
        # A database that was restored to before it was noted as published.
        conn.execute(text("UPDATE brand SET published_version = NULL"))
        conn.execute(text("UPDATE campaign SET published_version = NULL"))
    (owed,) = clock.catalog.owed([BRAND])
    assert (owed.is_new, owed.new) == (False, frozenset())


@pytest.mark.parametrize("what", ["period = 'month' AND shard = 1", "period = 'day' AND shard = 2"])
def test_what_is_not_closed_on_every_shard_stays_however_old(clock: System, what: str) -> None:
    at(clock, noon(GONE[0]))
    brand_with_campaigns(clock, 1)
    assert clock.manage.create_brand("Bolt", None, None, None, "test").row.id == 2
    born_on_the_moved_clock(clock)
    clock.client.record_spend(ONE, "3")
    clock.persister.drain_all()
    at(clock, noon(TODAY))
    assert drop(clock) == []
    clock.closer.close_ended()
    with clock.db.begin() as conn:
        left_out = f"{what} AND starts_on BETWEEN '2037-09-01' AND '2037-09-05'"
        gone = conn.execute(text(f"DELETE FROM shard_close WHERE {left_out} RETURNING shard, period, starts_on")).all()
    assert len(gone) == 1
    assert drop(clock) == []
    with clock.db.begin() as conn:
        conn.execute(text("INSERT INTO shard_close VALUES (:shard, :period, :starts_on)"), gone[0]._asdict())
    assert drop(clock) == GONE[:1]


def test_with_nothing_set_every_row_is_kept(old: System) -> None:
    log = rows(old, "SELECT count(*) FROM spend")
    assert old.settings.spend_log_keep_days is None
    assert old.log_days.drop_old().days == []
    assert rows(old, "SELECT count(*) FROM spend") == log


def test_a_day_whose_rows_and_sums_differ_is_kept_and_named(old: System) -> None:
    with old.db.begin() as conn:
        conn.execute(
            text(
                "UPDATE campaign_day SET spend_micros = spend_micros + 1 WHERE day = '2037-09-20' AND campaign_id = 65538"
            )
        )
    done = LogDays(old.db, old.live, KEEP).drop_old()
    assert done.days == [day for day in GONE if day != GONE[1]]
    assert done.kept == ["campaign 65538 has 4000001 micros in campaign_day of 2037-09-20, its rows are 4000000"]
    assert GONE[1] in days_with_rows(old)


class Killed(BaseException):
    """kill -9 before a statement or a commit: its transaction is taken back."""


@pytest.fixture
def fuse(clock: System) -> Iterator[list[int]]:
    """How many more statements and commits may run; no end when it is empty."""
    left: list[int] = []

    def count(*_: Any) -> None:
        if left:
            left[0] -= 1
            if left[0] < 0:
                left.clear()
                raise Killed

    for name in ("before_cursor_execute", "commit"):
        event.listen(clock.db, name, count)
    yield left
    for name in ("before_cursor_execute", "commit"):
        event.remove(clock.db, name, count)


@pytest.mark.long
def test_a_drop_killed_at_any_line_loses_and_doubles_nothing(old: System, fuse: list[int]) -> None:
    log = whole_log(old)
    kills = 0
    for allowed in range(1000):
        fuse[:] = [allowed]
        try:
            finished = drop(old)
        except Killed:
            kills += 1
            assert whole_log(old) == log
        else:
            fuse.clear()
            break
    assert kills > 10
    assert set(finished) <= set(GONE)
    assert days_with_rows(old) == KEPT
    assert whole_log(old) == log
    assert wrong(old) == []


@pytest.mark.long
def test_drops_and_persist_at_once_drop_each_day_once(old: System) -> None:
    log = whole_log(old)
    dropped: list[date] = []
    errors: list[BaseException] = []
    together = threading.Barrier(4)

    def dropping() -> None:
        try:
            together.wait()
            dropped.extend(drop(old))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=dropping) for _ in range(3)]
    for thread in threads:
        thread.start()
    together.wait()
    for _ in range(20):
        old.client.record_spend(TWO, "0.01")
        old.persister.drain_all()
    for thread in threads:
        thread.join()
    assert errors == []
    dropped += drop(old)
    assert sorted(dropped) == GONE
    assert [line for line in whole_log(old) if line[1] != TODAY] == [line for line in log if line[1] != TODAY]
    check_all(old.publisher, old.status)
    assert wrong(old) == []


def test_a_refund_of_a_day_that_is_gone_has_its_row_and_goes_with_it_later(old: System) -> None:
    # Another worker's persister has seen that day's partition, and does not know that it went.
    old.persister.make_partitions([GONE[2]])
    drop(old)
    assert old.client.refund(TWO, "0.75", "late", spent_on=GONE[2]).outcome == "pending"
    # Its rows are gone, so what the campaign has left of the day is the bound: 5.00 less the 1.00 that was refunded.
    assert old.client.refund(TWO, "3.250001", "too-much", spent_on=GONE[2]).outcome == "pending"
    old.persister.drain_all()
    old.refund_desk.decide()
    assert old.client.refund(TWO, "0.75", "late", spent_on=GONE[2]).outcome == "refunded"
    assert old.client.refund(TWO, "3.250001", "too-much", spent_on=GONE[2]).outcome == "refused"
    drained = old.persister.drain_all()
    assert (drained.rows, drained.quarantined) == (1, 0)
    assert rows(old, "SELECT day, kind, amount_micros FROM spend WHERE event_id = 'late'") == [
        (GONE[2], "correction", -750_000)
    ]
    assert wrong(old) == []
    # Its event is remembered by a rebuild, so its row stays as long as any.
    assert drop(old) == []
    old.hot_redis.flushall()
    at(old, noon(TODAY))
    old.rebuilder.rebuild_missing()
    assert old.client.refund(TWO, "0.75", "late", spent_on=GONE[2]).outcome == "refunded"
    assert old.persister.drain_all().rows == 0
    check_all(old.publisher, old.status)
    assert wrong(old) == []
    log = whole_log(old)
    at(old, noon(TODAY) + (KEEP + 1) * DAY_MS)
    settled(old, TODAY)
    assert GONE[2] in drop(old)
    assert GONE[2] not in days_with_rows(old)
    assert whole_log(old) == log
    assert wrong(old) == []


def test_an_old_redis_that_comes_back_with_entries_of_a_day_that_is_gone_doubles_nothing(clock: System) -> None:
    at(clock, noon(GONE[0]))
    brand_with_campaigns(clock, 2)
    clock.client.record_spends([Spend(ONE, "1")] * 3)
    clock.client.record_spend(TWO, "5", event_id="win")
    clock.persister.drain_all()
    tag = keys_of_brand(BRAND).journal.rpartition(":")[0]
    snapshot = {key: clock.hot_redis.dump(key) for key in clock.hot_redis.keys(f"{tag.replace('{', '[{]')}:*")}
    at(clock, noon(TODAY))
    settled(clock, TODAY)
    clock.client.record_spend(ONE, "2")
    clock.persister.drain_all()
    drop(clock)
    log = whole_log(clock)
    for key, value in snapshot.items():
        clock.hot_redis.restore(key, 0, value, replace=True)
    clock.persister.drain_all()
    assert not clock.live.read_shard(BRAND).ready
    clock.rebuilder.rebuild_missing()
    clock.persister.drain_all()
    assert whole_log(clock) == log
    check_all(clock.publisher, clock.status)
    assert wrong(clock) == []


def test_a_reader_of_the_log_is_not_waited_for_and_the_next_run_drops(old: System) -> None:
    with old.db.connect() as reading:
        reading.execute(text("SELECT count(*) FROM spend"))
        began = time.monotonic()
        done = LogDays(old.db, old.live, KEEP).drop_old()
        assert in_time(time.monotonic() - began, 2)
    assert (done.days, len(done.kept)) == ([], 1)
    assert "the next run tries again" in done.kept[0]
    assert drop(old) == GONE


def test_the_closing_jobs_drop_and_say_so_and_make_the_next_days(old: System) -> None:
    old.__dict__["log_days"] = LogDays(old.db, old.live, KEEP)
    with runs.run(old.db, "close_day") as run:
        jobs._close(run, old)
    ((detail, outcome),) = rows(old, "SELECT detail, outcome FROM job_run WHERE job = 'close_day'")
    assert outcome == "done"
    assert "4 days of the spend log dropped (26 rows), through 2037-10-10" in detail
    with old.db.connect() as conn:
        assert logged_days(conn)[-4:] == [TODAY, date(2037, 12, 1), date(2037, 12, 2), date(2037, 12, 3)]
        assert audit.events_again(conn, GONE[0]) == []


def test_midnight_waits_for_no_partition(clock: System) -> None:
    at(clock, noon(TODAY))
    brand_with_campaigns(clock, 1)
    clock.log_days.make_ahead()
    clock.log_days.make_ahead()
    seen: list[str] = []

    def listen(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    target: Engine = clock.db
    event.listen(target, "before_cursor_execute", listen)
    try:
        for ahead in (1, 3, 4):
            at(clock, noon(TODAY) + ahead * DAY_MS)
            clock.client.record_spend(ONE, "1")
            clock.persister.drain_all()
            made = [statement for statement in seen if "ATTACH PARTITION" in statement]
            assert bool(made) == (ahead == 4), "a day beyond those ahead is made by persist, as ever"
    finally:
        event.remove(target, "before_cursor_execute", listen)
    assert rows(clock, "SELECT count(*) FROM spend") == [(3,)]
