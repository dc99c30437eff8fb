"""Faults 1 and 2: eight processes race for the last money, and for the first of a new day. Exact each time, many times in a row."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from engine import BudgetClient
from engine.domain.budget import OwnLimits
from engine.domain.periods import day_of, ms_of
from engine.live.scripts import swapping
from tests.faults.figures import Figures
from tests.live.plant import MOVABLE_CLOCK, Plant
from tests.patience import PATIENCE_S
from tests.processes.conftest import until

PROCESSES, TRIES, OWN_TRIES = 8, 400, 40
CROWD_S = 3 * PATIENCE_S
"""For eight processes that begin at once, each loading the client anew, on a machine with other work."""
ROUNDS = int(os.environ.get("TEST_ROUNDS", "1"))
"""`make storms` makes ten."""
NIGHTS = [
    (2037, 11, 23), (2037, 11, 30), (2037, 12, 31), (2038, 2, 28), (2038, 6, 30),
    (2038, 12, 31), (2040, 2, 28), (2040, 2, 29), (2040, 12, 31), (2100, 2, 28),
] if ROUNDS == 10 else [(2037, 11, 30), (2037, 12, 31), (2040, 2, 29)]  # fmt: skip


class Crowd:
    """Processes that meet at a barrier before each round and tell what they were answered after it."""

    def __init__(self, target: Callable[..., None], *args: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.barrier = context.Barrier(PROCESSES + 1)
        self.answers = context.Queue()
        self.over = context.Value("i", -1)
        self._all = [
            context.Process(target=target, args=(self.barrier, self.answers, self.over, *args))
            for _ in range(PROCESSES)
        ]
        for one in self._all:
            one.start()

    def told(self) -> list[Any]:
        return [self.answers.get(timeout=CROWD_S) for _ in range(PROCESSES)]

    def end(self) -> None:
        for one in self._all:
            one.join(CROWD_S)
            assert one.exitcode == 0


def _last_dollar(barrier: Any, answers: Any, over: Any, url: str) -> None:
    client = BudgetClient.from_url(url, timeout_ms=20_000)
    for number in range(ROUNDS):
        campaigns = [(81 + number) * 65536 + 1, (81 + number) * 65536 + 2]
        for tries in (TRIES, 20, OWN_TRIES):
            barrier.wait(CROWD_S)
            outcomes = [client.try_spend(campaigns[i % 2], "1.00").outcome for i in range(tries)]
            answers.put((outcomes.count("accepted"), outcomes.count("refused")))


def test_fault_01_v3_last_dollar_storm_is_exact_each_time_in_a_row(
    plant: Plant, client: BudgetClient, hot_url: str, figures: Callable[[Figures], None]
) -> None:
    seen = Figures(faults=ROUNDS)
    crowd = Crowd(_last_dollar, hot_url)
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


def _midnight(barrier: Any, answers: Any, over: Any, url: str) -> None:
    with swapping({"lib/clock.lua": MOVABLE_CLOCK}):
        client = BudgetClient.from_url(url, timeout_ms=20_000)
        for number in range(len(NIGHTS)):
            campaign = (81 + number) * 65536 + 1
            barrier.wait(CROWD_S)
            outcomes: list[str] = []
            while over.value < number:
                outcomes.append(client.try_spend(campaign, "1.00").outcome)
            answers.put((outcomes.count("accepted"), len(outcomes)))


def test_fault_02_v7_midnight_storm_is_exact_each_night_in_a_row(
    plant: Plant, client: BudgetClient, clock: None, hot_url: str, figures: Callable[[Figures], None]
) -> None:
    seen = Figures(faults=len(NIGHTS))
    crowd = Crowd(_midnight, hot_url)
    for number, night in enumerate(NIGHTS):
        brand = 81 + number
        last = ms_of(datetime(*night, 23, 59, 59, 900_000, tzinfo=UTC))
        midnight = last + 100
        plant.at(last)
        plant.brand(brand_id=brand, daily="20", monthly="1000")
        assert client.try_spend(brand * 65536 + 1, "20").outcome == "accepted"
        crowd.barrier.wait(CROWD_S)
        time.sleep(0.1)
        plant.at(midnight - 1)
        time.sleep(0.1)
        plant.at(midnight)
        until(lambda brand=brand: plant.spent(brand) >= 20_000_000)  # type: ignore[misc]
        time.sleep(0.1)
        crowd.over.value = number
        told = crowd.told()
        accepted = sum(a for a, _ in told)
        fields = plant.plain.hgetall(plant.key(brand))
        days = [int(fields[f"d:{day_of(ms)}".encode()]) for ms in (last, midnight)]
        months = sorted(int(micros) for name, micros in fields.items() if name.startswith(b"m:"))
        assert accepted == 20
        assert days == [20_000_000, 20_000_000]
        assert months == ([20_000_000] * 2 if datetime.fromtimestamp(midnight / 1000, UTC).day == 1 else [40_000_000])
        seen.attempts += sum(n for _, n in told)
        seen.acknowledged += accepted
        seen.overspent += max(days[1] - 20_000_000, 0)
    crowd.end()
    figures(seen)
