"""A watch knows the pass rate of each minute without asking for it, and tosses the coin under it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import pytest
import redis

from engine import AsyncBudgetClient, BudgetClient, Watch
from engine.client.watch.messages import read_message
from engine.client.watch.rates import RateSet
from engine.domain.pacing import Pacing, compiled
from engine.domain.pass_rate import WHOLE
from engine.domain.periods import MINUTE_MS
from engine.live.admin import BrandPlan
from engine.live.keys import keys_of_brand
from tests.live.plant import BRAND, CAMPAIGN, Plant
from tests.live.test_pacing import pace_own
from tests.patience import PATIENCE_S
from tests.watch.conftest import SetClock, until

DAILY: Final = 86_100_000_000
EVEN: Final = compiled(Pacing("even"))
NOON: Final = 1_796_126_400_000
"""A noon, in a minute's beginning."""


@pytest.fixture
def paced(plant: Plant, set_clock: SetClock) -> Callable[[int], None]:
    """A paced brand at noon, of which ten plans were asked in the minute before; moves the clock by minutes."""
    set_clock(NOON)
    plant.brand(daily="86100")
    assert plant.live.publish(plant.instance, BrandPlan(BRAND, 2, DAILY, None, False, False, EVEN), [])

    def at_minute(number: int) -> None:
        set_clock(NOON + number * MINUTE_MS)

    minute = NOON // MINUTE_MS
    plant.plain.hset(plant.key(), "s", f"{minute - 1},0,{10 * 60_000_000},0,1000000")
    plant.plain.hset(plant.key(), f"d:{NOON // 86_400_000}", str(DAILY // 2 + 30_000_000))
    return at_minute


def test_the_call_that_sets_a_rate_tells_every_watch_and_the_next_minute_begins_with_one(
    plant: Plant, client: BudgetClient, paced: Callable[[int], None], plain: redis.Redis
) -> None:
    with client.watch() as watch, client.watch(brands=[BRAND]) as other:
        assert watch.wait_ready(PATIENCE_S) and other.wait_ready(PATIENCE_S)
        assert watch.pass_rate(CAMPAIGN) == watch.pass_rate(CAMPAIGN + 7) < 1.0  # from the snapshot
        paced(1)
        calls = calls_of(plain)
        told = client.try_spend(CAMPAIGN, amount_micros=9_000_000_000)
        assert 0.0 < told.pass_rate < 1.0
        for each in (watch, other):
            until(lambda each=each: each.pass_rate(CAMPAIGN) == told.pass_rate)  # type: ignore[misc]
            assert each.pass_rate(2 * CAMPAIGN) == 1.0
        # No watch asked for it: the beats alone, which are few.
        assert calls_of(plain) - calls < 60
        # A day later nothing is known of the present minute.
        paced(24 * 60)
        until(lambda: watch.pass_rate(CAMPAIGN) == 1.0)


def calls_of(plain: redis.Redis) -> int:
    stats: Any = plain.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {}).get("calls", 0))


def test_a_watch_that_comes_later_reads_the_rates_of_brand_and_campaign_in_its_snapshot(
    plant: Plant, client: BudgetClient, paced: Callable[[int], None]
) -> None:
    pace_own(plant, 2, EVEN, DAILY)
    plant.plain.hset(keys_of_brand(BRAND).campaign(CAMPAIGN), "s", f"{NOON // MINUTE_MS - 1},0,4320000000000,0,1000000")
    told = client.record_spend(CAMPAIGN, amount_micros=1)
    with client.watch(campaigns=[CAMPAIGN]) as watch:
        assert watch.wait_ready(PATIENCE_S)
        assert watch.pass_rate(CAMPAIGN) == told.pass_rate
        of_brand = watch.pass_rate(CAMPAIGN + 1)
        assert told.pass_rate < of_brand < 1.0


def test_should_bid_is_a_coin_under_the_rate_for_a_campaign_that_may_run(
    plant: Plant, client: BudgetClient, paced: Callable[[int], None]
) -> None:
    told = client.record_spend(CAMPAIGN, amount_micros=1).pass_rate
    falls = [told - 0.0001]
    with client.watch(random=lambda: falls[0]) as watch:
        assert watch.wait_ready(PATIENCE_S)
        assert watch.should_bid(CAMPAIGN)
        falls[0] = told
        assert not watch.should_bid(CAMPAIGN)
        plant.campaign(CAMPAIGN, version=9, enabled=False)
        falls[0] = 0.0
        until(lambda: not watch.should_bid(CAMPAIGN))
        assert not watch.should_bid(CAMPAIGN + 9)


def test_the_coin_of_the_asyncio_client_is_the_same(
    plant: Plant, client: BudgetClient, paced: Callable[[int], None], hot_url: str
) -> None:
    told = client.record_spend(CAMPAIGN, amount_micros=1).pass_rate

    async def whole() -> tuple[float, bool, bool]:
        async with AsyncBudgetClient.from_url(hot_url, timeout_ms=20_000) as made:
            with made.watch(random=lambda: 0.0) as low, made.watch(random=lambda: 0.9999) as high:
                assert low.wait_ready(PATIENCE_S) and high.wait_ready(PATIENCE_S)
                return low.pass_rate(CAMPAIGN), low.should_bid(CAMPAIGN), high.should_bid(CAMPAIGN)

    assert asyncio.run(whole()) == (told, True, False)


def test_an_unpaced_campaign_is_bid_on_whenever_it_may_run(plant: Plant, watch: Watch) -> None:
    plant.brand()
    until(lambda: watch.may_bid(CAMPAIGN))
    assert (watch.pass_rate(CAMPAIGN), watch.should_bid(CAMPAIGN)) == (1.0, True)


def test_a_message_of_a_rate_has_the_form_of_a_free_budget_for_the_release_before() -> None:
    told = read_message(b"81 pass_rate:250000 restored 1796126400007 5")
    assert told == RateSet(81, True, 1796126400007 // MINUTE_MS, 250_000)
    assert read_message(b"81 campaign_pass_rate:1000 restored 60000 5 later") == RateSet(81, False, 1, 1000)
    assert WHOLE == 1_000_000
