"""Processes that race for the same money, all at once. Each imports this file, so it imports the client and nothing else."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

from engine import BudgetClient
from engine.live.scripts import swapping
from tests.patience import PATIENCE_S

PROCESSES, TRIES, OWN_TRIES = 8, 400, 40
CROWD_S = 3 * PATIENCE_S
"""For eight processes that begin at once, each loading the client anew, on a machine with other work."""


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


def last_dollar(barrier: Any, answers: Any, over: Any, url: str, rounds: int) -> None:
    client = BudgetClient.from_url(url, timeout_ms=20_000)
    for number in range(rounds):
        campaigns = [(81 + number) * 65536 + 1, (81 + number) * 65536 + 2]
        for tries in (TRIES, 20, OWN_TRIES):
            barrier.wait(CROWD_S)
            outcomes = [client.try_spend(campaigns[i % 2], "1.00").outcome for i in range(tries)]
            answers.put((outcomes.count("accepted"), outcomes.count("refused")))


def midnight(barrier: Any, answers: Any, over: Any, url: str, nights: int, movable_clock: str) -> None:
    with swapping({"lib/clock.lua": movable_clock}):
        client = BudgetClient.from_url(url, timeout_ms=20_000)
        for number in range(nights):
            campaign = (81 + number) * 65536 + 1
            barrier.wait(CROWD_S)
            outcomes: list[str] = []
            while over.value < number:
                outcomes.append(client.try_spend(campaign, "1.00").outcome)
            answers.put((outcomes.count("accepted"), len(outcomes)))


def paced(barrier: Any, answers: Any, over: Any, url: str, movable_clock: str) -> None:
    with swapping({"lib/clock.lua": movable_clock}):
        client = BudgetClient.from_url(url, timeout_ms=20_000)
        barrier.wait(CROWD_S)
        outcomes: list[str] = []
        place = 0
        while over.value < 0:
            place += 1
            outcomes.append(client.try_spend(81 * 65536 + 1 + place % 2, "0.70").outcome)
        answers.put((outcomes.count("accepted"), len(outcomes)))


def rated(
    barrier: Any, answers: Any, over: Any, url: str, movable_clock: str, ticks: int, offers: int, micros: int
) -> None:
    """Offers of each tick: those that the watch says should be bid on are tried."""
    campaign = 81 * 65536 + 1
    with swapping({"lib/clock.lua": movable_clock}):
        client = BudgetClient.from_url(url, timeout_ms=20_000)
        with client.watch(campaigns=[campaign]) as watch:
            assert watch.wait_ready(CROWD_S), watch.why
            tried = accepted = 0
            for _ in range(ticks):
                barrier.wait(CROWD_S)
                for _ in range(offers):
                    if watch.should_bid(campaign):
                        tried += 1
                        accepted += bool(client.try_spend(campaign, amount_micros=micros))
                barrier.wait(CROWD_S)
    answers.put((accepted, tried))
