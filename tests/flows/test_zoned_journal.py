"""What a brand with a time zone spends, in log and sums on its own days, and in every counter after a rebuild."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from engine.client.spends import Spend
from engine.domain.ids import SHARDS, shard_of
from engine.domain.periods import HOUR_MS, MINUTE_MS, at_ms, date_of, day_number, ms_of
from engine.ledger import late
from engine.live.keys import keys_of_brand
from engine.live.registry import stamps
from engine.wiring import System
from tests.flows.conftest import at, born_on_the_moved_clock
from tests.flows.test_persist import rows

BERLIN, CHATHAM, ST_JOHNS = "Europe/Berlin", "Pacific/Chatham", "America/St_Johns"
ZONES = [BERLIN, CHATHAM, ST_JOHNS]
YESTERDAY, TODAY = date(2037, 7, 31), date(2037, 8, 1)


def zoned(system: System, name: str, daily: int = 10_000_000) -> tuple[int, int, int]:
    """A brand with a zone and its campaign, twelve hours before the midnight that begins 1 August 2037; that midnight."""
    midnight = ms_of(datetime(2037, 8, 1, tzinfo=ZoneInfo(name)))
    at(system, midnight - 12 * HOUR_MS)
    brand = system.manage.create_brand("Aurora", daily, None, None, "test", time_zone=name).row
    born_on_the_moved_clock(system)
    (campaign,) = system.manage.create_campaigns(brand.id, ["c0"], "test")
    assert brand.zone
    return brand.id, campaign.id, midnight


@pytest.mark.parametrize("name", ZONES)
def test_rows_and_sums_of_days_and_hours_are_those_of_the_brand(clock: System, name: str) -> None:
    _, one, midnight = zoned(clock, name)
    at(clock, midnight - 1)
    clock.client.record_spend(one, "1")
    clock.client.record_spends([Spend(one, "0.5"), Spend(one, "0.5", "e-1")])
    clock.client.record_spends([Spend(one, "0.01", f"p-{i}") for i in range(100)])
    at(clock, midnight)
    clock.client.record_spend(one, "4", event_id="e-2")
    clock.client.record_spends([Spend(one, "0.02") for _ in range(100)])
    assert clock.client.settle(clock.client.reserve(one, "1", ttl=3600).hold_id, "0.25")  # type: ignore[arg-type]
    assert clock.client.refund(one, "0.5", "e-1").outcome == "refunded"
    assert clock.client.refund(one, "1", "e-2").outcome == "refunded"
    clock.persister.drain_all()
    assert rows(clock, "SELECT count(*) FROM quarantine") == [(0,)]
    found = rows(
        clock, "SELECT day, kind, count(*)::int, sum(amount_micros)::bigint FROM spend GROUP BY 1, 2 ORDER BY 1, 2"
    )
    assert found == [
        (YESTERDAY, "correction", 1, -500_000), (YESTERDAY, "spend", 103, 3_000_000),
        (TODAY, "refund", 1, -1_000_000), (TODAY, "spend", 102, 6_250_000),
    ]  # fmt: skip
    assert rows(clock, "SELECT day, spend_micros FROM campaign_day ORDER BY 1") == [
        (YESTERDAY, 2_500_000),
        (TODAY, 5_250_000),
    ]
    hours = rows(clock, "SELECT day, hour, spend_micros FROM campaign_hour ORDER BY 1, 2")
    assert hours == [(YESTERDAY, 23, 2_500_000), (TODAY, 0, 5_250_000)]


@pytest.mark.parametrize("name", ZONES)
def test_a_rebuild_has_the_zone_and_the_counters_of_the_brand_s_own_day_and_month(clock: System, name: str) -> None:
    brand_id, one, midnight = zoned(clock, name)
    at(clock, midnight - 1)
    clock.client.record_spend(one, "3", event_id="e-1")
    clock.client.record_spends([Spend(one, "0.02") for _ in range(100)])
    at(clock, midnight)
    clock.client.record_spend(one, "4", event_id="e-2")
    assert clock.client.refund(one, "1", "e-1").outcome == "refunded"
    keys = keys_of_brand(brand_id)
    for hours in (1, 13):
        at(clock, midnight + hours * HOUR_MS)
        wanted = clock.hot_redis.hgetall(keys.brand(brand_id)), clock.hot_redis.hgetall(keys.campaign(one))
        clock.hot_redis.flushdb() if hours == 13 else clock.hot_redis.hdel(keys.shard, "mark")
        at(clock, midnight + hours * HOUR_MS)
        if hours == 1:
            clock.rebuilder.rebuild([shard_of(brand_id)])
        else:
            clock.rebuilder.rebuild(range(SHARDS))
        got = clock.hot_redis.hgetall(keys.brand(brand_id)), clock.hot_redis.hgetall(keys.campaign(one))
        for before, after in zip(wanted, got, strict=True):
            periods = {f: v for f, v in before.items() if f[:2] == b"d:" or f == b"m:203708"}
            assert {f: v for f, v in after.items() if f[:2] == b"d:" or f == b"m:203708"} == periods
        assert got[0].get(b"zone") == wanted[0][b"zone"]
        assert clock.hot_redis.hget(keys.shard, "layout") == b"2"
        clock.persister.drain_all()
    assert clock.client.try_spend(one, "6.000001").reasons == ("daily_budget",)
    assert clock.client.try_spend(one, "6")
    assert clock.client.try_spend(one, "1").reasons == ("daily_budget",)


def test_an_event_of_a_brand_s_new_day_is_refunded_on_that_day_also_after_a_rebuild(clock: System) -> None:
    brand_id, one, midnight = zoned(clock, CHATHAM)
    at(clock, midnight)
    clock.client.record_spend(one, "10", event_id="e-1")
    clock.hot_redis.hdel(keys_of_brand(brand_id).shard, "mark")
    clock.rebuilder.rebuild([shard_of(brand_id)])
    assert clock.client.try_spend(one, "1").reasons == ("daily_budget",)
    assert clock.client.refund(one, "4", "e-1").outcome == "refunded"
    assert clock.client.try_spend(one, "4")


def test_the_log_decides_a_refund_of_an_event_on_the_brand_s_own_day(clock: System) -> None:
    _, one, midnight = zoned(clock, CHATHAM)
    at(clock, midnight)
    clock.client.record_spend(one, "10", event_id="e-1")
    clock.persister.drain_all()
    at(clock, midnight + 5 * HOUR_MS)  # in UTC it is still the day before
    assert date_of(at_ms(midnight + 5 * HOUR_MS).toordinal() - date(1970, 1, 1).toordinal()) == YESTERDAY
    assert clock.client.refund(one, "4", "e-1", spent_on=TODAY).outcome == "pending"
    clock.persister.drain_all()
    assert clock.refund_desk.decide().approved == 1
    clock.persister.drain_all()
    assert clock.client.refund(one, "4", "e-1", spent_on=TODAY).outcome == "refunded"
    assert clock.client.try_spend(one, "4.000001").reasons == ("daily_budget",)
    assert clock.client.try_spend(one, "4")
    clock.persister.drain_all()
    assert rows(clock, "SELECT day, spend_micros FROM campaign_day") == [(TODAY, 10_000_000)]


@pytest.mark.parametrize("name", ZONES)
def test_late_spends_are_logged_on_the_brand_s_own_day_before(clock: System, name: str) -> None:
    _, one, midnight = zoned(clock, name)
    assert stamps(clock.live, clock.instance, range(SHARDS), grace_minutes=60)
    at(clock, midnight + 59 * MINUTE_MS)
    clock.client.record_spend(one, "2", occurred_at=at_ms(midnight - 1))
    clock.client.record_spend(one, "1", occurred_at=at_ms(midnight - 30 * HOUR_MS))
    clock.persister.drain_all()
    assert rows(clock, "SELECT count(*) FROM quarantine") == [(0,)]
    assert rows(clock, "SELECT day, amount_micros FROM spend ORDER BY 1") == [
        (YESTERDAY, 2_000_000),
        (TODAY, 1_000_000),
    ]
    assert rows(clock, "SELECT day, hour, spend_micros FROM campaign_hour ORDER BY 1, 2") == [
        (YESTERDAY, 23, 2_000_000), (TODAY, 0, 1_000_000),
    ]  # fmt: skip
    with clock.db.connect() as conn:
        assert late.totals(conn) == {True: (1, 2_000_000), False: (1, 1_000_000)}


def test_a_lifetime_budget_begins_with_the_months_before_the_brand_s_own(clock: System) -> None:
    _, one, midnight = zoned(clock, CHATHAM)
    at(clock, midnight - 1)
    clock.client.record_spend(one, "3")
    at(clock, midnight + HOUR_MS)  # in UTC it is still July
    clock.client.record_spend(one, "4")
    clock.persister.drain_all()
    assert clock.manage.update_campaign(one, "test", lifetime_budget_micros=9_000_000).published
    assert clock.client.try_spend(one, "2.000001").reasons == ("flight_budget",)
    assert clock.client.try_spend(one, "2")


def test_an_entry_that_no_script_wrote_for_a_zone_is_set_aside(clock: System) -> None:
    brand_id, one, midnight = zoned(clock, BERLIN)
    keys = keys_of_brand(brand_id)
    at(clock, midnight)
    clock.client.record_spend(one, "1")
    n = int(clock.hot_redis.hget(keys.shard, "n") or 0)
    for i, offset in enumerate(("x", "172800000", "--1", "")):
        fields = {"f": "3", "n": str(n + 1 + i), "r": f"r{i}", "b": f"{one},5,,;", "z": f"{brand_id}:{offset}"}
        clock.hot_redis.xadd(keys.journal, fields, id=f"{midnight + 1 + i}-0")
    clock.hot_redis.hset(keys.shard, "n", str(n + 4))
    clock.persister.drain_all()
    assert rows(clock, "SELECT count(*)::int FROM quarantine") == [(4,)]
    assert rows(clock, "SELECT day, spend_micros FROM campaign_day") == [(TODAY, 1_000_000)]
    assert day_number(TODAY) == 24_684


def test_an_entry_whose_zone_leads_beyond_the_last_day_is_set_aside_and_the_spends_beside_it_are_written(
    ready: System,
) -> None:
    brand_id = ready.manage.create_brand("zoned", None, None, None, "test", time_zone=BERLIN).row.id
    one = ready.manage.create_campaigns(brand_id, ["one"], "test")[0].id
    keys = keys_of_brand(brand_id)
    ready.client.record_spend(one, "1")
    n = int(ready.hot_redis.hget(keys.shard, "n") or 0) + 1
    fields = {"f": "3", "n": str(n), "r": "r", "b": f"{one},5,,;", "z": f"{brand_id}:86400000"}
    ready.hot_redis.xadd(keys.journal, fields, id="253402300799999-0")
    ready.hot_redis.hset(keys.shard, "n", str(n))
    ready.persister.drain_all()
    assert rows(ready, "SELECT count(*)::int FROM quarantine") == [(1,)]
    assert rows(ready, "SELECT sum(spend_micros)::bigint FROM campaign_day") == [(1_000_000,)]
