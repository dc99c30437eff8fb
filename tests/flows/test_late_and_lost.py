"""Late spends, open holds and a shard that lost everything at once; and a brand whose many campaigns are all paced."""

from __future__ import annotations

import pytest

from engine.client.sync import Spend
from engine.domain.budget import OwnLimits
from engine.domain.ids import SHARDS
from engine.domain.pacing import Pacing
from engine.domain.periods import HOUR_MS, MINUTE_MS, at_ms
from engine.flows.catalog.check import check_all
from engine.wiring import System
from tests.flows.conftest import at
from tests.flows.test_flights import found, persisted
from tests.flows.test_late_spends import GRACE, MIDNIGHT, graceful, rebuilt, with_grace
from tests.flows.test_persist import brand_with_campaigns

__all__ = ["graceful"]


def test_holds_of_yesterday_and_late_spends_survive_a_loss_of_all_and_the_day_closes_without_drift(
    graceful: System,
) -> None:
    system = graceful
    brand_id, one = with_grace(system)
    at(system, MIDNIGHT - MINUTE_MS)
    open_hold = system.client.reserve(one, "4", ttl=3600)
    ended = system.client.reserve(one, "1", ttl=30)
    assert open_hold and ended
    at(system, MIDNIGHT + 1)
    late = at_ms(MIDNIGHT - 1)
    assert system.client.try_spend(one, "6", occurred_at=late), "a hold takes nothing of a day that is over"
    persisted(system)
    rebuilt(system, brand_id, "wiped")
    assert system.client.try_spend(one, "4", event_id="l", occurred_at=late)
    assert system.client.try_spend(one, "0.000001", occurred_at=late).reasons == ("daily_budget",)
    assert system.client.try_spend(one, "6.000001").reasons == ("daily_budget",), "four of today are on hold"
    assert system.client.settle(open_hold.hold_id or "", "4")
    assert system.client.settle(ended.hold_id or "", "1").outcome
    assert system.client.refund(one, "1", event_id="l")
    persisted(system)
    assert not found(system)
    rebuilt(system, brand_id, "wiped")
    assert not found(system)
    at(system, MIDNIGHT + GRACE * MINUTE_MS)
    assert system.closer.close_ended().drift == []
    rebuilt_again = system.client.record_spend(one, "1", occurred_at=late)
    assert rebuilt_again.daily_spend is not None and rebuilt_again.daily_spend >= 5
    persisted(system)
    assert not found(system)


@pytest.mark.long
def test_three_hundred_paced_campaigns_are_published_rebuilt_and_spend(clock: System) -> None:
    at(clock, MIDNIGHT - 12 * HOUR_MS)
    brand_id, _ = brand_with_campaigns(clock)
    points = {day: [(3600 * i, 40_000 * i + day) for i in range(24)] + [(86_000, 1_000_000)] for day in range(1, 8)}
    clock.manage.put_curve("many", {day: [(0, 0), *of[1:]] for day, of in points.items()}, "anna")  # type: ignore[misc]
    made = [
        clock.catalog.create_campaign(
            brand_id,
            f"many {i}",
            None,
            None,
            "anna",
            limits=OwnLimits(daily=10_000_000),
            pacing=Pacing("custom:many", "300"),
        ).id
        for i in range(300)
    ]
    check_all(clock.publisher, clock.status)
    results = clock.client.try_spends([Spend(campaign, "0.01") for campaign in made])
    assert {result.outcome for result in results} == {"accepted"}
    persisted(clock)
    clock.hot_redis.flushdb()
    at(clock, MIDNIGHT - 12 * HOUR_MS)
    clock.rebuilder.rebuild(range(SHARDS))
    results = clock.client.try_spends([Spend(campaign, "9") for campaign in made])
    assert {result.outcome for result in results} == {"accepted"}, "one amount ahead of the curve"
    again = clock.client.try_spends([Spend(campaign, "0.01") for campaign in made])
    assert {result.reasons for result in again} == {("pacing",)}
    persisted(clock)
    assert not found(clock)
