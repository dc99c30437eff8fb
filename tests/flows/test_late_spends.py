"""Late spends in a whole system: log, sums, close, rebuild, verify, refunds and reports by the day to which each is booked."""

from __future__ import annotations

from datetime import date

import pytest

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


def with_grace(system: System) -> tuple[int, int]:
    """A brand in a system with a grace, at the noon before a month's end."""
    at(system, MIDNIGHT - 12 * HOUR_MS)
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


def test_a_rebuild_keeps_late_spends_on_their_day_and_takes_further_ones_today(clock: System) -> None:
    brand_id, one = with_grace(clock)
    keys = keys_of_brand(brand_id)
    at(clock, MIDNIGHT + 1)
    occurred = at_ms(MIDNIGHT - 1)
    assert clock.client.record_spend(one, "3", event_id="e", occurred_at=occurred, request_id="first")
    persisted(clock)
    before = clock.hot_redis.hgetall(keys.brand(brand_id))
    clock.live.unmark(clock.instance, shard_of(brand_id), "test")
    clock.rebuilder.rebuild([shard_of(brand_id)])
    after = clock.hot_redis.hgetall(keys.brand(brand_id))
    field = f"d:{day_of(MIDNIGHT) - 1}".encode()
    assert after[field] == before[field] == b"3000000"  # type: ignore[index]
    again = clock.client.record_spend(one, "3", event_id="e", occurred_at=occurred, request_id="first")
    assert (again.outcome, again.daily_spend) == ("recorded", 0)
    assert clock.client.record_spend(one, "3", event_id="e", occurred_at=occurred).outcome == "duplicate"
    value = [clock.hot_redis.hget(key, f"{brand_id}:e") for key in keys.events]
    assert f"{one},3000000,{day_of(MIDNIGHT) - 1}".encode() in value
    assert clock.client.record_spend(one, "1", occurred_at=occurred).daily_spend == 1
    persisted(clock)
    assert not found(clock)
    assert clock.hot_redis.hget(keys.shard, "layout") == b"2"


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
