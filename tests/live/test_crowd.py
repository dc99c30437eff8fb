"""Many at once: real processes on one Redis."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import Counter
from decimal import Decimal

import pytest

from engine import BudgetClient
from tests.live.plant import CAMPAIGN, Plant
from tests.patience import PATIENCE_S

PROCESSES, TRIES = 8, 400


def _storm(url: str, campaign_ids: list[int], tries: int, start: object, answers: object) -> None:
    client = BudgetClient.from_url(url, timeout_ms=20_000)
    start.wait()  # type: ignore[attr-defined]
    outcomes = Counter(client.try_spend(campaign_ids[i % len(campaign_ids)], "1.00").outcome for i in range(tries))
    answers.put(outcomes)  # type: ignore[attr-defined]


def storm(url: str, campaign_ids: list[int], tries: int = TRIES) -> Counter[str]:
    """What 8 processes were answered who each asked for 1.00 so many times."""
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(PROCESSES), context.Queue()
    crowd = [context.Process(target=_storm, args=(url, campaign_ids, tries, start, answers)) for _ in range(PROCESSES)]
    for one in crowd:
        one.start()
    total = sum((answers.get(timeout=3 * PATIENCE_S) for _ in crowd), Counter[str]())
    for one in crowd:
        one.join(timeout=3 * PATIENCE_S)
        assert one.exitcode == 0
    return total


@pytest.mark.long
def test_fault_1_last_dollar_storm_accepts_exactly_the_budget(plant: Plant, client: BudgetClient, hot_url: str) -> None:
    plant.brand(daily="100")
    plant.campaign(CAMPAIGN + 1)
    both = [CAMPAIGN, CAMPAIGN + 1]
    assert storm(hot_url, both) == {"accepted": 100, "refused": PROCESSES * TRIES - 100}
    plant.brand(daily="110", version=2)
    assert storm(hot_url, both, tries=20) == {"accepted": 10, "refused": PROCESSES * 20 - 10}
    assert plant.spent() == 110_000_000


def test_a_client_is_shared_by_threads_and_each_gets_its_own_answer(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily="50")
    answers: list[str] = []

    def bid() -> None:
        for _ in range(25):
            answers.append(client.try_spend(CAMPAIGN, "1").outcome)

    threads = [threading.Thread(target=bid) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=3 * PATIENCE_S)
    assert Counter(answers) == {"accepted": 50, "refused": 150}


def test_a_client_works_on_in_a_forked_child_and_in_its_parent(plant: Plant, client: BudgetClient) -> None:
    plant.brand()
    client.record_spend(CAMPAIGN, "1")
    child = os.fork()
    if child == 0:
        ok = all(client.record_spend(CAMPAIGN, "1").outcome == "recorded" for _ in range(50))
        os._exit(0 if ok else 1)
    outcomes = {client.record_spend(CAMPAIGN, "1").outcome for _ in range(50)}
    assert (os.waitpid(child, 0)[1], outcomes) == (0, {"recorded"})
    assert client.record_spend(CAMPAIGN, "1").daily_spend == Decimal(102)
