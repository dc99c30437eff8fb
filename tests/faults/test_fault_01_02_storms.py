"""Faults 1 and 2: eight processes race for the last money, and for the first of a new day. Exact each time, many times in a row."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime

from engine import BudgetClient
from engine.domain.budget import OwnLimits
from engine.domain.periods import day_of, ms_of
from tests.faults.crowd import CROWD_S, OWN_TRIES, PROCESSES, TRIES, Crowd, last_dollar, midnight
from tests.faults.figures import Figures
from tests.live.plant import MOVABLE_CLOCK, Plant
from tests.processes.conftest import until

ROUNDS = int(os.environ.get("TEST_ROUNDS", "1"))
"""`make storms` makes ten."""
NIGHTS = [
    (2037, 11, 23), (2037, 11, 30), (2037, 12, 31), (2038, 2, 28), (2038, 6, 30),
    (2038, 12, 31), (2040, 2, 28), (2040, 2, 29), (2040, 12, 31), (2100, 2, 28),
] if ROUNDS == 10 else [(2037, 11, 30), (2037, 12, 31), (2040, 2, 29)]  # fmt: skip


def test_fault_01_v3_last_dollar_storm_is_exact_each_time_in_a_row(
    plant: Plant, client: BudgetClient, hot_url: str, figures: Callable[[Figures], None]
) -> None:
    seen = Figures(faults=ROUNDS)
    crowd = Crowd(last_dollar, hot_url, ROUNDS)
    for number in range(ROUNDS):
        brand = 81 + number
        plant.brand(brand_id=brand, daily="100")
        plant.campaign(brand * 65536 + 2)
        for daily, tries, wanted in (("100", TRIES, 100), ("110", 20, 10)):
            plant.brand(brand_id=brand, daily=daily, version=int(daily))
            crowd.barrier.wait(CROWD_S)
            told = crowd.told()
            accepted = sum(a for a, _ in told)
            assert (accepted, sum(r for _, r in told)) == (wanted, PROCESSES * tries - wanted)
            seen.attempts += PROCESSES * tries
            seen.acknowledged += accepted
        seen.overspent += max(plant.spent(brand) - 110_000_000, 0)
        seen.lost += max(110_000_000 - plant.spent(brand), 0)
        # A campaign's own budget has room for 30 more, its brand for all; the other campaign of the brand has none.
        plant.brand(brand_id=brand, daily="1000", version=111)
        live = plant.live.read_campaign(brand * 65536 + 1)
        assert live is not None
        spent = live.campaigns[brand * 65536 + 1].daily_spend
        plant.campaign(brand * 65536 + 1, version=2, limits=OwnLimits(daily=spent + 30_000_000))
        crowd.barrier.wait(CROWD_S)
        told = crowd.told()
        accepted, others = sum(a for a, _ in told), PROCESSES * OWN_TRIES // 2
        assert (accepted, sum(r for _, r in told)) == (30 + others, others - 30)
        seen.attempts += PROCESSES * OWN_TRIES
        seen.acknowledged += accepted
        of_brand = 140_000_000 + others * 1_000_000
        seen.overspent += max(plant.spent(brand) - of_brand, 0)
        seen.lost += max(of_brand - plant.spent(brand), 0)
        plant.campaign(brand * 65536 + 1, version=3)
        # With 40.00 left, a refused 150.00 leaves 40.00 spendable.
        plant.brand(brand_id=brand, daily=str(of_brand // 1_000_000 + 40), version=150)
        assert client.try_spend(brand * 65536 + 1, "150").outcome == "refused"
        assert client.try_spend(brand * 65536 + 1, "40").outcome == "accepted"
        assert client.try_spend(brand * 65536 + 1, "0.000001").outcome == "refused"
    crowd.end()
    figures(seen)


def test_fault_02_v7_midnight_storm_is_exact_each_night_in_a_row(
    plant: Plant, client: BudgetClient, clock: None, hot_url: str, figures: Callable[[Figures], None]
) -> None:
    seen = Figures(faults=len(NIGHTS))
    crowd = Crowd(midnight, hot_url, len(NIGHTS), MOVABLE_CLOCK)
    for number, night in enumerate(NIGHTS):
        brand = 81 + number
        last = ms_of(datetime(*night, 23, 59, 59, 900_000, tzinfo=UTC))
        first = last + 100
        plant.at(last)
        plant.brand(brand_id=brand, daily="20", monthly="1000")
        assert client.try_spend(brand * 65536 + 1, "20").outcome == "accepted"
        crowd.barrier.wait(CROWD_S)
        time.sleep(0.1)
        plant.at(first - 1)
        time.sleep(0.1)
        plant.at(first)
        until(lambda brand=brand: plant.spent(brand) >= 20_000_000)  # type: ignore[misc]
        time.sleep(0.1)
        crowd.over.value = number
        told = crowd.told()
        accepted = sum(a for a, _ in told)
        fields = plant.plain.hgetall(plant.key(brand))
        days = [int(fields[f"d:{day_of(ms)}".encode()]) for ms in (last, first)]
        months = sorted(int(micros) for name, micros in fields.items() if name.startswith(b"m:"))
        assert accepted == 20
        assert days == [20_000_000, 20_000_000]
        assert months == ([20_000_000] * 2 if datetime.fromtimestamp(first / 1000, UTC).day == 1 else [40_000_000])
        seen.attempts += sum(n for _, n in told)
        seen.acknowledged += accepted
        seen.overspent += max(days[1] - 20_000_000, 0)
    crowd.end()
    figures(seen)
