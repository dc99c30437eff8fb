"""Pacing in a whole system: catalog, plan, rebuild, verify, and days on which no job runs."""

from __future__ import annotations

import pytest

from engine.domain.curves import PPM, check
from engine.domain.ids import shard_of
from engine.domain.pacing import InvalidPacing, Pace, Pacing
from engine.domain.periods import DAY_MS, HOUR_MS, ms_of
from engine.domain.schedule import Schedule
from engine.flows.verify.findings import Check
from engine.ledger.curves import traffic_name
from engine.live.keys import keys_of_brand
from engine.wiring import System
from tests.flows.conftest import at
from tests.flows.test_persist import brand_with_campaigns
from tests.flows.test_status_and_close import instant

MIDNIGHT = instant(2037, 11, 30, 0)
DAILY = 100_000_000


def paced(system: System, mode: str = "even", catch_up: str = "asap") -> tuple[int, int]:
    """A brand with a paced daily budget of 100 units, and a campaign, at the beginning of a day."""
    at(system, MIDNIGHT)
    brand_id, (one,) = brand_with_campaigns(system)
    system.persister.drain_all()
    changed = system.manage.update_brand(brand_id, "anna", daily_budget_micros=DAILY, pacing=mode, catch_up=catch_up)
    assert changed.published
    return brand_id, one


def findings(system: System) -> list[Check]:
    return [check for check in system.verifier.verify() if check.findings]


def due(system: System, brand_id: int, ms: int) -> int:
    pace = Pace.of(system.catalog.brand(brand_id).pace)
    assert pace is not None
    return pace.allowed(DAILY, ms)


def test_a_paced_brand_keeps_right_for_days_with_every_job_dead(clock: System) -> None:
    brand_id, one = paced(clock)
    for day in range(3):
        for hour in (1, 6, 12, 20):
            now = MIDNIGHT + day * DAY_MS + hour * HOUR_MS
            at(clock, now)
            while clock.client.try_spend(one, "3"):
                pass
            brand = clock.live.read_campaign(one)
            assert brand is not None
            assert due(clock, brand_id, now) <= brand.daily_spend < due(clock, brand_id, now) + 3_000_000
            refused = clock.client.try_spend(one, "3")
            assert refused.reasons == ("pacing",) and refused.retry_at is not None
            at(clock, ms_of(refused.retry_at) - 1)
            assert not clock.client.try_spend(one, "3")
            at(clock, ms_of(refused.retry_at))
            assert clock.client.try_spend(one, "3")
    changed = clock.persister.drain_all().changed_brands
    clock.status.refresh(changed)
    # A passing cause is no status: the campaign runs.
    assert clock.catalog.campaign(one).reasons == ()
    assert findings(clock) == []


def test_a_rebuild_in_the_middle_of_a_paced_day_has_the_counters_and_the_curve(clock: System) -> None:
    noon = MIDNIGHT + 12 * HOUR_MS
    at(clock, MIDNIGHT)
    clock.catalog.curves.put("lunch", {0: check([(43_200, 400_000), (86_400, PPM)])}, "anna")
    brand_id, one = paced(clock, "custom:lunch", "300")
    at(clock, noon - 60_000)
    clock.client.record_spend(one, "39.9")
    at(clock, noon)
    assert clock.client.try_spend(one, "5")
    assert clock.client.try_spend(one, "5").reasons == ("pacing",)
    key = keys_of_brand(brand_id).brand(brand_id)
    before = clock.hot_redis.hgetall(key)
    clock.hot_redis.hdel(keys_of_brand(brand_id).shard, "mark")
    clock.rebuilder.rebuild([shard_of(brand_id)])
    after = clock.hot_redis.hgetall(key)
    assert [after.get(field) for field in (b"p", b"c1", b"d:24805")] == [
        before[field] for field in (b"p", b"c1", b"d:24805")
    ]
    assert clock.hot_redis.hget(keys_of_brand(brand_id).shard, "layout") == b"2"
    assert clock.client.try_spend(one, "5").reasons == ("pacing",)
    assert findings(clock) == []


def test_a_curve_that_is_replaced_is_in_every_plan_that_it_paces_and_says_before_what_will_happen(
    clock: System,
) -> None:
    clock.catalog.curves.put("lunch", {0: check([(43_200, 900_000), (86_400, PPM)])}, "anna")
    brand_id, one = paced(clock, "custom:lunch")
    at(clock, MIDNIGHT + 12 * HOUR_MS)
    clock.client.record_spend(one, "60")
    assert clock.client.try_spend(one, "1")
    other = check([(43_200, 100_000), (86_400, PPM)])
    (said,) = clock.overview.paced.of_curve("lunch", {0: other})
    assert said.startswith(f"brand {brand_id}: by now 10.000000 of 100.000000 are due, and 61.000000 are spent")
    assert "tries are refused until 18:" in said and "what is recorded still counts" in said
    assert clock.client.try_spend(one, "1"), "nothing has changed yet"
    assert clock.manage.put_curve("lunch", {0: other}, "anna") == []
    assert clock.client.try_spend(one, "1").reasons == ("pacing",)
    assert findings(clock) == []


def test_verify_finds_a_plan_with_another_pacing_and_the_publisher_mends_it(clock: System) -> None:
    clock.catalog.curves.put("lunch", {0: check([(43_200, 900_000), (86_400, PPM)])}, "anna")
    brand_id, _ = paced(clock, "custom:lunch")
    key = keys_of_brand(brand_id).brand(brand_id)
    for field, value in (("p", "0,1000000,300"), ("c1", "000000000000861001000000")):
        was = clock.hot_redis.hget(key, field)
        clock.hot_redis.hset(key, field, value)
        assert [check.id for check in findings(clock)] == ["V12"]
        assert clock.publisher.mend().plans == 1
        clock.publisher.publish_pending()
        assert clock.hot_redis.hget(key, field) == was
        assert findings(clock) == []


def test_a_campaign_s_curve_follows_its_hours_and_learned_traffic_its_weekdays(clock: System) -> None:
    brand_id, one = paced(clock, "asap")
    clock.manage.update_campaign(one, "anna", daily_budget_micros=DAILY, pacing="even")
    assert clock.catalog.campaign(one).pace == ("p=0,1000000,300",)
    hours = Schedule.parse([{"days": ["mon"], "start_time": "09:00", "end_time": "17:00"}, {"days": ["sat"]}])
    assert clock.manage.update_campaign(one, "anna", schedule=hours).published
    assert clock.catalog.campaign(one).pace == (
        "p=1000020,1000000,300",
        "c1=000000000000324000000000609001000000",
        "c2=000000000000861001000000",
    )
    with pytest.raises(InvalidPacing, match=f"has no curve yet: `curve learn {brand_id}` makes it"):
        clock.manage.update_brand(brand_id, "anna", pacing="traffic")
    learned = {day: check([(day * 3600, PPM)]) for day in range(1, 8)}
    clock.catalog.curves.put(traffic_name(brand_id), learned, "anna")
    assert clock.manage.update_brand(brand_id, "anna", pacing="traffic").published
    assert clock.catalog.brand(brand_id).pace[0] == "p=1234567,1000000,asap".replace("asap", "0")
    assert clock.catalog.curves.put(traffic_name(brand_id), {0: check([(3600, PPM)])}, "anna") == [brand_id]
    assert clock.catalog.brand(brand_id).pace == ("p=1,1000000,0", "c1=000000000000036001000000")


def test_pacing_needs_a_daily_budget_and_a_curve_that_is_there(clock: System) -> None:
    brand_id, one = paced(clock)
    for change in (
        lambda: clock.manage.update_brand(brand_id, "anna", daily_budget_micros=None),
        lambda: clock.manage.create_brand("Other", None, None, None, "anna", Pacing("even")),
        lambda: clock.manage.update_campaign(one, "anna", pacing="even"),
    ):
        with pytest.raises(InvalidPacing, match="spreads a daily budget, and there is none"):
            change()
    with pytest.raises(InvalidPacing, match="has no curve yet"):
        clock.manage.update_brand(brand_id, "anna", pacing="custom:nothing")
    assert clock.catalog.brand(brand_id).pacing == "even"
    assert clock.manage.update_brand(brand_id, "anna", pacing="asap", daily_budget_micros=None).published
    assert clock.client.try_spend(one, "200")
