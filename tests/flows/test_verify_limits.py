"""V3 counts the day and the month before until they are closed, and flights."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from engine.domain.ids import SHARDS
from engine.domain.periods import HOUR_MS, at_ms, day_number, ms_of
from engine.live.keys import keys_of_brand
from engine.live.registry import stamps
from engine.wiring import System
from tests.flows.conftest import at, born_on_the_moved_clock
from tests.flows.test_persist import brand_with_campaigns
from tests.flows.test_status_and_close import instant
from tests.flows.test_verify import failed, verified

NOON = instant(2037, 11, 15, 12)


def spends_behind_a_raised(system: System, key: str, field: str, raised: str, spend: Callable[[], object]) -> None:
    """A try that the script let through because a limit was raised behind everyone's back, and put back."""
    before = system.hot_redis.hget(key, field)
    system.hot_redis.hset(key, field, raised)
    assert spend()
    system.hot_redis.hset(key, field, before)  # type: ignore[arg-type]
    system.persister.drain_all()


def zoned_brand(system: System, zone: str | None, **budgets: int) -> tuple[int, int]:
    """A brand with a time zone and one campaign."""
    limits = budgets.get("daily"), budgets.get("monthly")
    brand = system.manage.create_brand("Aurora", *limits, None, "test", time_zone=zone).row
    (campaign,) = system.manage.create_campaigns(brand.id, ["c0"], "test")
    born_on_the_moved_clock(system)
    return brand.id, campaign.id


@pytest.mark.parametrize("zone", [None, "Asia/Kolkata", "America/St_Johns"])
def test_v3_finds_a_late_try_beyond_the_budget_of_the_brand_s_day_before_and_not_beyond_todays(
    clock: System, zone: str | None
) -> None:
    midnight = ms_of(datetime(2037, 11, 16, tzinfo=ZoneInfo(zone or "UTC")))
    at(clock, midnight - 12 * HOUR_MS)
    brand_id, one = zoned_brand(clock, zone, daily=10_000_000)
    clock.persister.drain_all()
    stamps(clock.live, clock.instance, range(SHARDS), grace_minutes=60)
    assert clock.client.try_spend(one, "9")
    at(clock, midnight + 1)
    late = at_ms(midnight - 1)
    clock.client.record_spend(one, "5", occurred_at=late)
    clock.persister.drain_all()
    assert failed(clock) == {}, "facts may pass it"
    # As large as may be by today: yesterday's was not.
    assert clock.manage.update_brand(brand_id, "anna", daily_budget_micros=90_000_000).published
    with clock.db.begin() as conn:
        conn.execute(text("UPDATE catalog_change SET at = :at WHERE old IS NOT NULL"), {"at": at_ms(midnight + 5_000)})
    then = f"{day_number(date(2037, 11, 15))}:90000000:"
    spends_behind_a_raised(
        clock,
        keys_of_brand(brand_id).brand(brand_id),
        "was",
        then,
        lambda: clock.client.try_spend(one, "2.5", occurred_at=late),
    )
    assert failed(clock) == {"V3": 2_500_000}
    spent_on = clock.client.try_spend(one, "80")
    assert spent_on.outcome == "accepted"
    clock.persister.drain_all()
    assert failed(clock) == {"V3": 2_500_000}


@pytest.mark.parametrize("zone", [None, "Pacific/Chatham"])
def test_v3_counts_the_brand_s_month_before_as_long_as_it_is_open(clock: System, zone: str | None) -> None:
    midnight = ms_of(datetime(2037, 12, 1, tzinfo=ZoneInfo(zone or "UTC")))
    at(clock, midnight - HOUR_MS // 4)
    brand_id, one = zoned_brand(clock, zone, monthly=10_000_000)
    assert clock.client.try_spend(one, "9")
    spend = lambda: clock.client.try_spend(one, "3")  # noqa: E731
    spends_behind_a_raised(clock, keys_of_brand(brand_id).brand(brand_id), "monthly", "90000000", spend)
    at(clock, midnight + 1)
    assert failed(clock) == {"V3": 2_000_000}
    clock.closer.close_ended()
    assert "V3" not in failed(clock), "it is closed"


def test_v3_counts_a_flight_s_budget_and_the_largest_that_it_had(clock: System) -> None:
    at(clock, NOON)
    brand_id, (one,) = brand_with_campaigns(clock)
    assert clock.manage.add_flight(one, "anna", NOON, NOON + HOUR_MS, 4_000_000, True).published
    assert clock.client.try_spend(one, "3")
    assert clock.manage.change_flight(one, 1, "anna", budget_micros=2_000_000).published
    clock.persister.drain_all()
    assert failed(clock) == {}, "it was larger"
    key = keys_of_brand(brand_id).campaign(one)
    plan = clock.hot_redis.hget(key, "f1").decode()  # type: ignore[union-attr]
    raised = plan.rpartition(",")[0] + ",90000000"
    spends_behind_a_raised(clock, key, "f1", raised, lambda: clock.client.try_spend(one, "2.5"))
    assert failed(clock) == {"V3": 1_500_000}
    assert (
        "flight 1: 5500000 micros spent and 0 held, the largest budget in force was 4000000"
        in verified(clock)["V3"].findings[0]
    )
