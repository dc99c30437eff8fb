"""Late spends of brands with time zones and rebuilds: each is booked to the same local day before and after one."""

from __future__ import annotations

import dataclasses
import threading
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from engine.domain.ids import SHARDS, shard_of
from engine.domain.periods import HOUR_MS, MINUTE_MS, at_ms, day_of, ms_of
from engine.live.keys import keys_of_brand
from engine.live.registry import stamps
from engine.wiring import System
from tests.flows.conftest import at, born_on_the_moved_clock
from tests.flows.test_flights import found, persisted
from tests.flows.test_late_spends import dated
from tests.flows.test_persist import rows
from tests.live.test_leases import until
from tests.patience import PATIENCE_S

ZONES = ("Europe/Berlin", "Asia/Kolkata", "America/St_Johns")
YESTERDAY, TODAY = date(2037, 10, 31), date(2037, 11, 1)
"""The end of a local day and of its month."""
GRACE = 90


@pytest.fixture
def graceful(clock: System) -> System:
    """A system whose setting is the grace, as its rebuilds know it."""
    clock.settings = dataclasses.replace(clock.settings, late_grace_minutes=GRACE)
    vars(clock).pop("rebuilder", None)
    return clock


def midnight_of(zone: str) -> int:
    return ms_of(datetime(2037, 11, 1, tzinfo=ZoneInfo(zone)))


def zoned(system: System, zone: str | None, **budgets: int | None) -> tuple[int, int]:
    """A brand with a campaign and a budget of 10 a day, in a system with a grace."""
    daily = budgets.get("daily", 10_000_000)
    brand = system.manage.create_brand(f"in {zone}", daily, None, None, "anna", time_zone=zone).row
    (campaign,) = system.manage.create_campaigns(brand.id, ["c"], "anna")
    born_on_the_moved_clock(system)
    system.persister.drain_all()
    assert stamps(system.live, system.instance, range(SHARDS), grace_minutes=GRACE)
    return brand.id, campaign.id


def rebuilt(system: System, brand_id: int, how: str, now: int) -> None:
    """Rebuilds a brand's shard, from its journal or, where Redis lost all, from the log alone."""
    if how == "wiped":
        system.hot_redis.flushdb()
        at(system, now)
        system.rebuilder.rebuild(range(SHARDS))
    else:
        system.live.unmark(system.instance, shard_of(brand_id), "test")
        system.rebuilder.rebuild([shard_of(brand_id)])


@pytest.mark.parametrize("how", ["unmarked", "wiped"])
@pytest.mark.parametrize("zone", ZONES)
def test_a_late_spend_of_a_zoned_brand_is_booked_to_the_same_local_day_before_and_after_a_rebuild(
    graceful: System, zone: str, how: str
) -> None:
    system, midnight = graceful, midnight_of(zone)
    at(system, midnight - 36 * HOUR_MS)
    brand_id, one = zoned(system, zone)
    keys, occurred = keys_of_brand(brand_id), at_ms(midnight - 1)
    assert system.client.record_spend(one, "1")
    at(system, midnight + 1)
    assert system.client.record_spend(one, "3", event_id="e", occurred_at=occurred)
    persisted(system)
    counters = [f"d:{day_of(midnight + 12 * HOUR_MS) - 1}", "m:203710"]
    before = system.hot_redis.hmget(keys.brand(brand_id), counters)
    rebuilt(system, brand_id, how, midnight + 1)
    after = system.hot_redis.hmget(keys.brand(brand_id), counters)
    assert after == before == [b"3000000", b"4000000"]
    assert system.client.try_spend(one, "7", occurred_at=occurred).daily_spend == 0
    assert system.client.try_spend(one, "0.000001", occurred_at=occurred).reasons == ("daily_budget",)
    # The day before that one takes none.
    assert system.client.record_spend(one, "2", occurred_at=at_ms(midnight - 25 * HOUR_MS)).daily_spend == 2
    at(system, midnight + GRACE * MINUTE_MS - 1)
    assert system.client.record_spend(one, "4", occurred_at=occurred).daily_spend == 2
    at(system, midnight + GRACE * MINUTE_MS)
    assert system.client.record_spend(one, "5", occurred_at=occurred).daily_spend == 7
    persisted(system)
    days = "SELECT day, sum(amount_micros)::bigint FROM spend WHERE day >= '2037-10-31' GROUP BY 1 ORDER BY 1"
    assert rows(system, days) == [(YESTERDAY, 14_000_000), (TODAY, 7_000_000)]
    assert not found(system)
    assert system.closer.close_ended().drift == []
    totals = (
        "SELECT period, spend_micros FROM period_total WHERE starts_on = '2037-10-31' OR period = 'month' ORDER BY 1"
    )
    assert rows(system, totals) == [("day", 14_000_000), ("month", 15_000_000)]
    assert not found(system)


@pytest.mark.parametrize("how", ["unmarked", "wiped"])
def test_after_a_rebuild_a_late_try_of_a_zoned_brand_meets_the_limits_at_the_end_of_its_local_day(
    graceful: System, how: str
) -> None:
    system, midnight = graceful, midnight_of("Asia/Kolkata")
    at(system, midnight - 12 * HOUR_MS)
    brand_id, one = zoned(system, "Asia/Kolkata")
    assert system.manage.update_campaign(one, "anna", daily_budget_micros=6_000_000).published
    dated(system, midnight - 1)
    at(system, midnight + MINUTE_MS)
    assert system.manage.update_brand(brand_id, "anna", daily_budget_micros=50_000_000).published
    assert system.manage.update_campaign(one, "anna", daily_budget_micros=30_000_000).published
    dated(system, midnight + MINUTE_MS)
    rebuilt(system, brand_id, how, midnight + MINUTE_MS)
    occurred = at_ms(midnight - 1)
    assert system.client.try_spend(one, "6.000001", occurred_at=occurred).reasons == ("campaign_daily_budget",)
    assert system.client.try_spend(one, "6", occurred_at=occurred)
    system.client.record_spend(one, "4", occurred_at=occurred)
    refused = system.client.try_spend(one, "0.000001", occurred_at=occurred)
    assert refused.reasons == ("daily_budget", "campaign_daily_budget")
    persisted(system)
    assert not found(system)


@pytest.mark.parametrize("zone", ["Asia/Kolkata", None])
def test_a_rebuild_opens_no_day_that_is_closed_for_its_brand_while_the_shard_waits_for_a_later_zone(
    graceful: System, zone: str | None
) -> None:
    system = graceful
    midnight = midnight_of(zone or "UTC")
    at(system, midnight - 12 * HOUR_MS)
    brand_id, one = zoned(system, zone)
    with system.db.begin() as conn:
        conn.execute(text(f"ALTER TABLE brand ALTER COLUMN id RESTART WITH {brand_id + SHARDS:d}"))
    west = system.manage.create_brand("West", None, None, None, "anna", time_zone="Pacific/Honolulu").row.id
    assert shard_of(west) == shard_of(brand_id)
    born_on_the_moved_clock(system)
    assert stamps(system.live, system.instance, range(SHARDS), grace_minutes=0)
    at(system, midnight + 1)
    persisted(system)
    system.closer.close_ended()
    closed = "SELECT brand_id FROM period_total WHERE starts_on = '2037-10-31' AND brand_id = ANY(:ids)"
    assert rows(system, closed, ids=[brand_id, west]) == [(brand_id,)], "Honolulu's day goes on"
    assert stamps(system.live, system.instance, range(SHARDS), grace_minutes=GRACE)
    rebuilt(system, brand_id, "unmarked", midnight + 1)
    assert system.client.record_spend(one, "3", occurred_at=at_ms(midnight - 1)).daily_spend == 3
    persisted(system)
    assert not found(system)


def test_a_brand_that_was_made_today_takes_no_late_spends_of_yesterday_before_and_after_a_rebuild(
    graceful: System,
) -> None:
    system, midnight = graceful, midnight_of("Asia/Kolkata")
    at(system, midnight - 12 * HOUR_MS)
    zoned(system, "Europe/Berlin")
    at(system, midnight + 1)
    brand_id, one = zoned(system, "Asia/Kolkata")
    assert system.client.record_spend(one, "1", occurred_at=at_ms(midnight - 1)).daily_spend == 1
    persisted(system)
    rebuilt(system, brand_id, "unmarked", midnight + 1)
    assert system.client.record_spend(one, "1", occurred_at=at_ms(midnight - 1)).daily_spend == 2
    persisted(system)
    assert not found(system)


def test_a_rebuild_waits_for_a_close_of_one_brand_that_is_under_way_and_locks_as_it_does(graceful: System) -> None:
    system, midnight = graceful, midnight_of("Asia/Kolkata")
    at(system, midnight - 12 * HOUR_MS)
    brand_id, one = zoned(system, "Asia/Kolkata")
    assert stamps(system.live, system.instance, range(SHARDS), grace_minutes=0)
    at(system, midnight + 1)
    persisted(system)
    closing = threading.Event()
    rebuild = threading.Thread(target=lambda: rebuilt(system, brand_id, "unmarked", midnight + 1))
    prune = system.live.prune
    waits = (
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'ShareLock'"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )

    def then_rebuild(*args: object) -> int:
        removed = prune(*args)  # type: ignore[arg-type]
        if not closing.is_set():
            closing.set()
            assert stamps(system.live, system.instance, range(SHARDS), grace_minutes=GRACE)
            rebuild.start()
            until(lambda: not rebuild.is_alive() or rows(system, waits) == [(1,)])
        return removed

    system.live.prune = then_rebuild  # type: ignore[method-assign]
    try:
        system.closer.close_ended()
    finally:
        system.live.prune = prune  # type: ignore[method-assign]
    rebuild.join(PATIENCE_S)
    assert not rebuild.is_alive()
    closed = "SELECT count(*) FROM period_total WHERE starts_on = '2037-10-31' AND brand_id = :b"
    assert rows(system, closed, b=brand_id) == [(1,)]
    assert system.client.record_spend(one, "3", occurred_at=at_ms(midnight - 1)).daily_spend == 3
    persisted(system)
    assert not found(system)
