"""Brands with time zones: each local day and month is counted, closed once and right, whoever was dead meanwhile, and no day ever comes twice."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from importlib import resources
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from engine.domain.ids import SHARDS
from engine.domain.periods import DAY_MS, HOUR_MS, MINUTE_MS, at_ms, ms_of
from engine.domain.schedule import Schedule
from engine.domain.zones import BrandZone
from engine.flows.catalog.check import check_all
from engine.flows.catalog.zones import begins_late, published
from engine.wiring import System
from tests.flows.conftest import at, born_on_the_moved_clock, rows_only
from tests.flows.test_persist import rows
from tests.flows.test_verify import verified

ZONES = (
    "Europe/Berlin", "Asia/Kolkata", "Africa/Casablanca", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Chatham",
)  # fmt: skip


def clocks_of(zone: str) -> ZoneInfo:
    """The rules of the package, and not those of the machine, which may be older."""
    with resources.files("tzdata").joinpath("zoneinfo", *zone.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=zone)


def instant(given: str) -> int:
    return ms_of(datetime.fromisoformat(given).replace(tzinfo=UTC))


def brand(system: System, name: str, zone: str | None, daily: int | None = None) -> tuple[int, int]:
    """A brand with one campaign: their ids."""
    made = system.manage.create_brand(name, daily, None, None, "anna", time_zone=zone).row
    return made.id, system.manage.create_campaigns(made.id, [f"{name} 1"], "anna")[0].id


def fields(system: System, brand_id: int) -> set[str]:
    """The counters of a brand in Redis."""
    key = system.hot_redis.keys(f"*brand:{brand_id}")[0]
    return {name.decode() for name in system.hot_redis.hkeys(key) if name.startswith((b"d:", b"m:"))}


def totals(system: System, brand_id: int) -> dict[tuple[str, str], int]:
    """The closed totals of a brand."""
    query = "SELECT period, starts_on, spend_micros FROM period_total WHERE brand_id = :b"
    return {(period, str(on)): micros for period, on, micros in rows(system, query, b=brand_id)}


def problems(system: System) -> dict[str, list[str]]:
    """What verify finds."""
    return {name: [str(one) for one in check.findings] for name, check in verified(system).items() if check.findings}


def test_each_brand_s_day_ends_and_closes_at_its_own_midnight(clock: System) -> None:
    at(clock, instant("2037-06-10T12:00"))
    one, in_berlin = brand(clock, "Berlin", "Europe/Berlin", 5_000_000)
    other, in_utc = brand(clock, "Utc", None)
    born_on_the_moved_clock(clock)
    at(clock, instant("2037-06-10T21:59:59"))
    clock.client.record_spend(in_berlin, "5")
    clock.client.record_spend(in_utc, "1")
    assert clock.client.try_spend(in_berlin, "1").outcome == "refused"
    at(clock, instant("2037-06-10T22:00"))
    assert clock.client.try_spend(in_berlin, "2").outcome == "accepted"
    clock.client.record_spend(in_utc, "1")
    clock.persister.drain_all()
    clock.closer.close_ended()
    days = rows(clock, "SELECT brand_id, day, sum(amount_micros)::bigint FROM spend GROUP BY 1, 2 ORDER BY 1, 2")
    assert [(b, str(day), micros) for b, day, micros in days] == [
        (one, "2037-06-10", 5_000_000), (one, "2037-06-11", 2_000_000), (other, "2037-06-10", 2_000_000),
    ]  # fmt: skip
    assert totals(clock, one) == {("day", "2037-06-10"): 5_000_000}
    assert totals(clock, other) == {}
    assert fields(clock, one) == {"d:24633", "m:203706"}
    assert problems(clock) == {}
    at(clock, instant("2037-06-11T00:00"))
    clock.closer.close_ended()
    assert totals(clock, other) == {("day", "2037-06-10"): 2_000_000}
    assert problems(clock) == {}


@pytest.mark.long
def test_a_shard_s_day_is_closed_once_it_has_ended_for_its_last_brand(clock: System) -> None:
    at(clock, instant("2037-06-10T12:00"))
    ids = {}
    while len(ids) < 3:
        made = clock.manage.create_brand(f"b{len(ids)} {clock.catalog.count_brands()}", None, None, None, "anna").row
        if made.id % SHARDS == 5:
            ids[len(ids)] = made.id
    east, middle, west = ids.values()
    clock.manage.update_brand(east, "anna", time_zone="Pacific/Chatham")
    clock.manage.update_brand(west, "anna", time_zone="America/St_Johns")
    born_on_the_moved_clock(clock)
    clock.persister.drain_all()
    closed = "SELECT starts_on FROM shard_close WHERE shard = 5 AND period = 'day' ORDER BY 1"
    at(clock, instant("2037-06-12T11:14"))
    clock.closer.close_ended()
    assert [str(on) for (on,) in rows(clock, closed)] == ["2037-06-10", "2037-06-11"]
    assert ("day", "2037-06-12") not in totals(clock, east)
    at(clock, instant("2037-06-12T11:15"))
    clock.closer.close_ended()
    assert [max(on for _, on in totals(clock, each)) for each in (east, middle, west)] == [
        "2037-06-12", "2037-06-11", "2037-06-11",
    ]  # fmt: skip
    at(clock, instant("2037-06-13T02:29"))
    clock.closer.close_ended()
    assert [str(on) for (on,) in rows(clock, closed)][-1] == "2037-06-11"
    at(clock, instant("2037-06-13T02:30"))
    done = clock.closer.close_ended()
    assert [str(on) for (on,) in rows(clock, closed)][-1] == "2037-06-12"
    assert done.days and "brands with time zones" in str(done)
    assert clock.closer.close_ended().zoned == 0


@pytest.mark.parametrize("month_s_end", [False, True])
def test_the_first_day_of_a_brand_is_closed_also_where_its_shard_had_closed_that_day_before_it_was_made(
    clock: System, month_s_end: bool
) -> None:
    day = "2037-06-30" if month_s_end else "2037-06-10"
    ends = instant(f"{day}T00:00") + DAY_MS
    at(clock, ends - HOUR_MS)
    first, _ = brand(clock, "Utc", None)
    born_on_the_moved_clock(clock)
    clock.persister.drain_all()
    at(clock, ends)
    assert clock.closer.close_ended().days
    at(clock, ends + 5 * HOUR_MS)
    with clock.db.begin() as conn:
        conn.execute(text(f"ALTER TABLE brand ALTER COLUMN id RESTART WITH {first + SHARDS:d}"))
    west, campaign = brand(clock, "West", "Pacific/Honolulu")
    born_on_the_moved_clock(clock)
    clock.client.record_spend(campaign, "3")
    clock.persister.drain_all()
    clock.closer.close_ended()
    assert totals(clock, west) == {}, "in Honolulu it is still that day"
    at(clock, ends + 10 * HOUR_MS)
    clock.closer.close_ended()
    closed = {("day", day): 3_000_000}
    assert totals(clock, west) == closed | ({("month", "2037-06-01"): 3_000_000} if month_s_end else {})
    assert problems(clock) == {}
    at(clock, ends + 48 * HOUR_MS)
    clock.closer.close_ended()
    assert min(on for period, on in totals(clock, west) if period == "day") == day
    assert problems(clock) == {}


@pytest.mark.parametrize(
    ("begin", "end"), [("2037-03-27T09:10", "2037-04-02T14:00"), ("2037-10-24T05:10", "2037-11-02T14:00")]
)
def test_with_every_job_dead_over_both_dst_sundays_and_a_month_s_end_each_local_day_and_month_is_closed_once_and_right(
    clock: System, begin: str, end: str
) -> None:
    at(clock, instant(begin))
    made = {zone: brand(clock, zone, zone) for zone in ZONES}
    born_on_the_moved_clock(clock)
    expected: dict[str, Counter[tuple[str, str]]] = {zone: Counter() for zone in ZONES}
    clocks = {zone: clocks_of(zone) for zone in ZONES}
    now, micros = instant(begin), 1
    while now < instant(end):
        at(clock, now)
        for zone, (_, campaign) in made.items():
            local = at_ms(now).astimezone(clocks[zone])
            clock.client.record_spend(campaign, amount_micros=micros)
            expected[zone]["day", f"{local:%Y-%m-%d}"] += micros
            expected[zone]["month", f"{local:%Y-%m}-01"] += micros
        micros += 1
        now += 2 * HOUR_MS + 30 * MINUTE_MS - 1
    clock.persister.drain_all()
    at(clock, instant(end))
    clock.closer.close_ended()
    clock.closer.close_ended()
    for zone, (brand_id, _) in made.items():
        local = at_ms(instant(end)).astimezone(clocks[zone])
        open_ones = {("day", f"{local:%Y-%m-%d}"), ("month", f"{local:%Y-%m}-01")}
        assert totals(clock, brand_id) == {
            period: sum_ for period, sum_ in expected[zone].items() if period not in open_ones
        }, zone
    assert problems(clock) == {}


def test_another_zone_begins_at_the_old_midnight_and_the_day_goes_on_until_the_new_one(clock: System) -> None:
    at(clock, instant("2037-06-10T12:00"))
    one, campaign = brand(clock, "One", "Europe/Berlin", 10_000_000)
    born_on_the_moved_clock(clock)
    clock.client.record_spend(campaign, "1")
    clock.manage.update_brand(one, "anna", time_zone="America/New_York")
    zones = clock.catalog.brand(one).zones
    assert "takes effect on 11 Jun 2037 00:00 Europe/Berlin, 10 Jun 22:00 UTC; 10 Jun has 30 hours" in zones.told()
    for when, sum_ in (("2037-06-10T21:59", 2), ("2037-06-10T22:01", 3), ("2037-06-11T03:59", 4)):
        at(clock, instant(when))
        assert clock.client.record_spend(campaign, "1").daily_spend == sum_
    at(clock, instant("2037-06-11T04:00"))
    assert clock.client.record_spend(campaign, "1").daily_spend == 1
    clock.persister.drain_all()
    clock.closer.close_ended()
    assert totals(clock, one) == {("day", "2037-06-10"): 4_000_000}
    assert problems(clock) == {}


def test_a_zone_that_redis_did_not_get_in_time_begins_later_and_no_day_goes_back(clock: System) -> None:
    at(clock, instant("2037-06-10T12:00"))
    one, campaign = brand(clock, "One", "Europe/Berlin")
    born_on_the_moved_clock(clock)
    clock.catalog.update_brand(one, "anna", time_zone="America/New_York", at_ms=instant("2037-06-10T12:00"))
    at(clock, instant("2037-06-11T00:30"))
    clock.client.record_spend(campaign, "1")
    assert set(begins_late(clock.inspector, [clock.catalog.brand(one)], instant("2037-06-11T00:30"))) == {one}
    assert clock.publisher.publish_pending() == {one}
    moved = clock.catalog.brand(one)
    assert moved.zones.since_ms == instant("2037-06-11T22:00")
    assert published(clock.inspector, [one]) == {one: moved.zone}
    assert BrandZone.of("Europe/Berlin").clock.day_of(instant("2037-06-11T00:30")) == 24633
    clock.client.record_spend(campaign, "1")
    clock.persister.drain_all()
    assert rows(clock, "SELECT DISTINCT day FROM spend")[0][0].isoformat() == "2037-06-11"
    assert problems(clock) == {}


def test_a_check_keeps_the_published_zone_right_and_verify_names_one_that_is_not(clock: System) -> None:
    at(clock, instant("2037-06-10T12:00"))
    one, _ = brand(clock, "One", "Europe/Berlin")
    born_on_the_moved_clock(clock)
    before = clock.catalog.brand(one).zone
    at(clock, instant("2038-05-10T12:00"))
    check_all(clock.publisher, clock.status)
    renewed = clock.catalog.brand(one)
    assert renewed.zone != before and published(clock.inspector, [one]) == {one: renewed.zone}
    with clock.db.begin() as conn:
        conn.execute(text("UPDATE brand SET zone = '3600000' WHERE id = :id"), {"id": one})
    key = clock.hot_redis.keys(f"*brand:{one}")[0]
    clock.hot_redis.hset(key, "zone", "3600000")
    assert "V15" in problems(clock)
    check_all(clock.publisher, clock.status)
    assert "V15" not in problems(clock)


def test_a_campaign_that_waits_for_its_brand_s_midnight_is_paused_and_active_at_the_instants_of_its_clock(
    clock: System,
) -> None:
    at(clock, instant("2037-06-10T12:00"))
    one, campaign = brand(clock, "One", "Asia/Kolkata", 1_000_000)
    born_on_the_moved_clock(clock)
    clock.client.record_spend(campaign, "1")
    clock.persister.drain_all()
    clock.status.refresh([one])
    assert clock.catalog.campaign(campaign).reasons == ("daily_budget",)
    at(clock, instant("2037-06-10T18:31"))
    clock.status.refresh([one])
    change = rows(
        clock, "SELECT at, status FROM status_change WHERE campaign_id = :c ORDER BY id DESC LIMIT 1", c=campaign
    )
    assert change == [(datetime(2037, 6, 10, 18, 30, tzinfo=UTC), "active")]
    hours = Schedule.parse('{"start_time": "09:00", "end_time": "17:00"}')
    clock.manage.update_campaign(campaign, "anna", schedule=hours)
    assert clock.catalog.campaign(campaign).reasons == ("schedule",)
    at(clock, instant("2037-06-11T03:30:01"))
    clock.status.refresh([one])
    change = rows(
        clock, "SELECT at, status FROM status_change WHERE campaign_id = :c ORDER BY id DESC LIMIT 1", c=campaign
    )
    assert change == [(datetime(2037, 6, 11, 3, 30, tzinfo=UTC), "active")]
    assert problems(clock) == {}


@rows_only
def test_verify_names_a_row_that_is_not_on_its_brand_s_own_day(clock: System) -> None:
    at(clock, instant("2037-06-10T23:00"))
    _, campaign = brand(clock, "One", "Europe/Berlin")
    born_on_the_moved_clock(clock)
    clock.client.record_spend(campaign, "1")
    clock.persister.drain_all()
    assert problems(clock) == {}
    with clock.db.begin() as conn:
        conn.execute(text("UPDATE spend_log SET recorded_at = recorded_at - interval '2 hours'"))
    assert any("that were recorded on another day" in said for said in problems(clock).get("V7", []))
    assert DAY_MS == 24 * HOUR_MS
