"""Late spends in a whole system: log, sums, close, rebuild, verify, refunds and reports by the day to which each is booked."""

from __future__ import annotations

import dataclasses
from datetime import date

import pytest
from sqlalchemy import text

from engine.domain.ids import SHARDS, shard_of
from engine.domain.periods import DAY_MS, HOUR_MS, MINUTE_MS, at_ms, day_of
from engine.errors import BudgetError
from engine.flows.catalog import publish
from engine.flows.upkeep.close import NotAllClosed
from engine.ledger import late
from engine.live.keys import keys_of_brand
from engine.live.registry import stamps
from engine.wiring import System
from tests.flows.conftest import at, born_on_the_moved_clock
from tests.flows.test_flights import found, persisted
from tests.flows.test_persist import brand_with_campaigns, rows
from tests.flows.test_status_and_close import instant

MIDNIGHT = instant(2037, 12, 1)
"""The end of a day and of a month."""
YESTERDAY, TODAY = date(2037, 11, 30), date(2037, 12, 1)
GRACE = 90


def with_grace(system: System, hours: int = 12) -> tuple[int, int]:
    """A brand in a system with a grace, so many hours before a month's end."""
    at(system, MIDNIGHT - hours * HOUR_MS)
    brand_id, (one,) = brand_with_campaigns(system, daily=10_000_000)
    born_on_the_moved_clock(system)
    system.persister.drain_all()
    assert stamps(system.live, system.instance, range(SHARDS), grace_minutes=GRACE)
    return brand_id, one


def closes(system: System) -> tuple[int, int] | str:
    """The days and months that a close ends now, or why it fails."""
    try:
        closed = system.closer.close_ended()
    except NotAllClosed as why:
        return str(why)
    return closed.days, closed.months


def test_late_spends_are_logged_summed_and_closed_on_their_own_day_and_month(clock: System) -> None:
    brand_id, one = with_grace(clock)
    clock.client.record_spend(one, "3")
    at(clock, MIDNIGHT + 1)
    occurred = at_ms(MIDNIGHT - 2 * HOUR_MS)
    assert clock.client.try_spend(one, "7.000001", occurred_at=occurred).reasons == ("daily_budget",)
    assert clock.client.try_spend(one, "7", event_id="e", occurred_at=occurred)
    clock.client.record_spend(one, "2", occurred_at=at_ms(MIDNIGHT - DAY_MS - 1))
    clock.client.record_spend(one, "1")
    assert not found(clock), "with a backlog"
    persisted(clock)
    assert closes(clock) == (0, 0), "its grace has not passed"
    assert rows(clock, "SELECT day, amount_micros, kind FROM spend ORDER BY recorded_at, n") == [
        (YESTERDAY, 3_000_000, "spend"), (YESTERDAY, 7_000_000, "spend"), (TODAY, 2_000_000, "spend"), (TODAY, 1_000_000, "spend"),
    ]  # fmt: skip
    sums = "SELECT day, spend_micros FROM campaign_day ORDER BY 1"
    assert rows(clock, sums) == [(YESTERDAY, 10_000_000), (TODAY, 3_000_000)]
    hours = "SELECT day, hour, spend_micros FROM campaign_hour ORDER BY 1, 2"
    assert rows(clock, hours) == [(YESTERDAY, 12, 3_000_000), (YESTERDAY, 22, 7_000_000), (TODAY, 0, 3_000_000)]
    with clock.db.connect() as conn:
        of_days = late.of_days(conn, [brand_id], YESTERDAY, TODAY)
        assert late.totals(conn) == {True: (1, 7_000_000), False: (1, 2_000_000)}
    assert of_days == {
        (brand_id, YESTERDAY): late.Late(1, 7_000_000, 0, 0),
        (brand_id, TODAY): late.Late(0, 0, 1, 2_000_000),
    }
    assert not found(clock)
    at(clock, MIDNIGHT + GRACE * MINUTE_MS)
    closed = clock.closer.close_ended()
    assert (closed.days, closed.months, closed.drift) == (1, 1, [])
    totals = "SELECT period, starts_on, spend_micros FROM period_total ORDER BY 1"
    expected = [("day", YESTERDAY, 10_000_000), ("month", date(2037, 11, 1), 10_000_000)]
    assert rows(clock, totals) == expected
    assert clock.client.record_spend(one, "4", occurred_at=occurred)
    persisted(clock)
    assert rows(clock, totals) == expected
    assert rows(clock, sums) == [(YESTERDAY, 10_000_000), (TODAY, 7_000_000)]
    assert not found(clock)


def dated(system: System, ms: int) -> None:
    """Dates the last changes of the catalog by the moved clock."""
    with system.db.begin() as conn:
        conn.execute(
            text("UPDATE catalog_change SET at = :at WHERE at < :at AND old IS NOT NULL AND note IS NULL"),
            {"at": at_ms(ms)},
        )
        conn.execute(text("UPDATE catalog_change SET note = 'dated' WHERE note IS NULL"))


def rebuilt(system: System, brand_id: int, how: str) -> None:
    """Rebuilds a brand's shard, from its journal or, where Redis lost all, from the log alone."""
    if how == "wiped":
        system.hot_redis.flushdb()
        at(system, MIDNIGHT + 1)
    else:
        system.live.unmark(system.instance, shard_of(brand_id), "test")
    system.rebuilder.rebuild(range(SHARDS) if how == "wiped" else [shard_of(brand_id)])


@pytest.fixture
def graceful(clock: System) -> System:
    """A system whose setting is the grace, as its rebuilds know it."""
    clock.settings = dataclasses.replace(clock.settings, late_grace_minutes=GRACE)
    vars(clock).pop("rebuilder", None)
    return clock


@pytest.mark.parametrize("how", ["unmarked", "wiped"])
def test_after_a_rebuild_late_spends_still_count_to_the_day_and_the_month_before(graceful: System, how: str) -> None:
    system = graceful
    brand_id, one = with_grace(system, 36)
    keys = keys_of_brand(brand_id)
    assert system.client.record_spend(one, "1")
    at(system, MIDNIGHT + 1)
    occurred = at_ms(MIDNIGHT - 1)
    assert system.client.record_spend(one, "3", event_id="e", occurred_at=occurred, request_id="first")
    persisted(system)
    before = system.hot_redis.hgetall(keys.brand(brand_id))
    rebuilt(system, brand_id, how)
    after = system.hot_redis.hgetall(keys.brand(brand_id))
    day, month = f"d:{day_of(MIDNIGHT) - 1}".encode(), b"m:203711"
    assert (after.get(day), after.get(month)) == (before.get(day), before.get(month)) == (b"3000000", b"4000000")  # type: ignore[union-attr]
    again = system.client.record_spend(one, "3", event_id="e", occurred_at=occurred, request_id="first")
    assert (again.outcome, again.daily_spend) == ("recorded", 0)
    assert system.client.record_spend(one, "3", event_id="e", occurred_at=occurred).outcome == "duplicate"
    value = [system.hot_redis.hget(key, f"{brand_id}:e") for key in keys.events]
    assert f"{one},3000000,{day_of(MIDNIGHT) - 1}".encode() in value
    assert system.client.try_spend(one, "7", occurred_at=occurred).daily_spend == 0
    assert system.client.try_spend(one, "0.000001", occurred_at=occurred).reasons == ("daily_budget",)
    persisted(system)
    assert not found(system)
    assert system.hot_redis.hget(keys.shard, "layout") == b"2"
    at(system, MIDNIGHT + GRACE * MINUTE_MS)
    closed = system.closer.close_ended()
    assert (closed.days > 0, closed.months > 0, closed.drift) == (True, True, [])
    totals = "SELECT period, starts_on, spend_micros FROM period_total WHERE starts_on >= '2037-11-30' OR period = 'month' ORDER BY 1"
    assert rows(system, totals) == [("day", YESTERDAY, 10_000_000), ("month", date(2037, 11, 1), 11_000_000)]
    assert not found(system)


@pytest.mark.parametrize("how", ["unmarked", "wiped"])
def test_after_a_rebuild_a_late_try_is_checked_against_the_limits_of_its_day(graceful: System, how: str) -> None:
    system = graceful
    brand_id, one = with_grace(system)
    assert system.manage.update_campaign(one, "anna", daily_budget_micros=6_000_000).published
    dated(system, MIDNIGHT - HOUR_MS)
    at(system, MIDNIGHT + 1)
    occurred = at_ms(MIDNIGHT - 1)
    assert system.manage.update_brand(brand_id, "anna", daily_budget_micros=50_000_000).published
    assert system.manage.update_campaign(one, "anna", daily_budget_micros=30_000_000).published
    assert system.manage.update_campaign(one, "anna", daily_budget_micros=40_000_000).published
    dated(system, MIDNIGHT + 1)
    rebuilt(system, brand_id, how)
    assert system.client.try_spend(one, "6.000001", occurred_at=occurred).reasons == ("campaign_daily_budget",)
    assert system.client.try_spend(one, "6", occurred_at=occurred)
    assert system.manage.update_campaign(one, "anna", daily_budget_micros=None).published
    refused = system.client.try_spend(one, "4.000001", occurred_at=occurred)
    assert refused.reasons == ("daily_budget", "campaign_daily_budget")
    assert system.client.try_spend(one, "30").daily_spend == 30
    persisted(system)
    assert not found(system)


@pytest.mark.parametrize("how", ["unmarked", "wiped"])
def test_after_the_close_of_the_day_a_rebuild_opens_it_no_more(graceful: System, how: str) -> None:
    system = graceful
    brand_id, one = with_grace(system)
    assert stamps(system.live, system.instance, range(SHARDS), grace_minutes=0)
    at(system, MIDNIGHT + 1)
    assert system.closer.close_ended().days > 0
    assert stamps(system.live, system.instance, range(SHARDS), grace_minutes=GRACE)
    rebuilt(system, brand_id, how)
    assert system.client.record_spend(one, "3", occurred_at=at_ms(MIDNIGHT - 1)).daily_spend == 3
    persisted(system)
    assert not found(system)


def test_a_refund_of_a_late_spend_belongs_to_the_day_to_which_it_is_booked(clock: System) -> None:
    _, one = with_grace(clock)
    at(clock, MIDNIGHT + 1)
    assert clock.client.record_spend(one, "3", event_id="e", occurred_at=at_ms(MIDNIGHT - 1))
    assert clock.client.refund(one, "1", event_id="e")
    persisted(clock)
    given = rows(clock, "SELECT day, amount_micros, kind FROM spend_log WHERE amount_micros < 0")
    assert given == [(YESTERDAY, -1_000_000, "correction")]
    at(clock, MIDNIGHT + GRACE * MINUTE_MS)
    assert clock.closer.close_ended().drift == []
    # Given back after the day's end, it leaves the closed total alone.
    assert rows(clock, "SELECT spend_micros FROM period_total WHERE period = 'day'") == [(3_000_000,)]
    assert not found(clock)


def test_a_lifetime_budget_waits_for_the_late_spends_of_the_month_before(
    clock: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, one = with_grace(clock)
    at(clock, MIDNIGHT + 1)
    persisted(clock)
    assert clock.client.record_spend(one, "3", occurred_at=at_ms(MIDNIGHT - 1))
    monkeypatch.setattr(publish, "_PERSIST_S", 0.0)
    assert not clock.manage.update_campaign(one, "anna", lifetime_budget_micros=5_000_000).published
    persisted(clock)
    clock.publisher.publish_pending()
    assert clock.client.try_spend(one, "2.000001").reasons == ("flight_budget",)
    assert clock.client.try_spend(one, "1", occurred_at=at_ms(MIDNIGHT - 1))
    assert clock.client.try_spend(one, "1.000001", occurred_at=at_ms(MIDNIGHT - 1)).reasons == ("flight_budget",)
    persisted(clock)
    assert not found(clock)


def test_verify_names_a_late_row_on_a_day_on_which_it_did_not_occur(clock: System) -> None:
    _, one = with_grace(clock)
    at(clock, MIDNIGHT + 1)
    assert clock.client.record_spend(one, "3", occurred_at=at_ms(MIDNIGHT - 1))
    persisted(clock)
    with clock.db.begin() as conn:
        conn.exec_driver_sql("ALTER TABLE spend_log DROP CONSTRAINT ck_spend_log_kind")
        conn.exec_driver_sql("UPDATE spend_log SET occurred_at = occurred_at - interval '1 day'")
    try:
        assert "recorded on another day" in str(found(clock, "V7")["V7"].findings)
    finally:
        clock.db.dispose()


def test_the_setting_reaches_every_shard_with_the_next_publish(clock: System, monkeypatch: pytest.MonkeyPatch) -> None:
    at(clock, MIDNIGHT - 12 * HOUR_MS)
    brand_id, _ = brand_with_campaigns(clock)
    shard = keys_of_brand(brand_id).shard
    clock.publisher.keep_published()
    assert clock.hot_redis.hmget(shard, "grace", "layout") == [None, b"1"]
    monkeypatch.setattr(clock.publisher, "_grace_minutes", 45)
    clock.publisher.keep_published()
    assert clock.hot_redis.hmget(shard, "grace", "layout") == [b"45", b"2"]
    assert {state.grace_minutes for state in clock.live.read_shards()} == {45}
    at(clock, MIDNIGHT + 44 * MINUTE_MS)
    hashes, fields = [keys_of_brand(brand_id).brand(brand_id)], [f"d:{day_of(MIDNIGHT) - 1}"]
    with pytest.raises(BudgetError, match="did not let go"):
        clock.live.prune(clock.instance, shard_of(brand_id), hashes, fields)
