"""Spends that wait for a round trip go together in the next one: each counts once, and each can be repeated by its own id."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from engine.client.sharing import SharedSpends
from engine.client.sync import BudgetClient
from engine.errors import Unavailable
from engine.live.transport.pool import Call, NoAnswer
from engine.wiring import System
from tests.api.test_spends import spent
from tests.patience import PATIENCE_S
from tests.processes.conftest import until
from tests.web.conftest import brand_with


class Held:
    """A client's own transport, whose first round trip waits to be let go. lost: the next one gets no answer, though Redis has it."""

    def __init__(self, wire: Any) -> None:
        self._wire = wire
        self.go = threading.Event()
        self.sizes: list[int] = []
        self.lost = False

    def call_all(self, calls: Sequence[Call], timeout_s: float) -> Any:
        self.sizes.append(len(calls))
        if len(self.sizes) == 1:
            assert self.go.wait(PATIENCE_S)
        replies = self._wire.call_all(calls, timeout_s)
        if self.lost and len(self.sizes) == 2:
            raise NoAnswer("the wire was cut", [None] * len(calls))
        return replies

    def where_of(self, shard_key: str) -> str:
        return str(self._wire.where_of(shard_key))

    def close(self) -> None:
        self._wire.close()


class Crowd:
    """Spends of many threads while the first one's round trip is held."""

    def __init__(self, system: System) -> None:
        self.client = BudgetClient.from_url(system.settings.redis_url, timeout_ms=10_000)
        self.wire = self.client._wire = Held(self.client._wire)  # type: ignore[assignment]
        self.shared = SharedSpends(self.client)
        self.told: dict[int, Any] = {}

    def send(self, spends: Sequence[dict[str, Any]]) -> list[Any]:
        def one(number: int) -> None:
            given = dict(spends[number])
            call = self.shared.try_spend if given.pop("ask", False) else self.shared.record_spend
            try:
                self.told[number] = call(**given)
            except Unavailable as error:
                self.told[number] = error

        threads = [threading.Thread(target=one, args=(number,)) for number in range(len(spends))]
        threads[0].start()
        until(lambda: self.wire.sizes)
        for thread in threads[1:]:
            thread.start()
        until(lambda: sum(len(lane.waiting) for lane in self.shared._lanes.values()) == len(spends) - 1)
        self.wire.go.set()
        for thread in threads:
            thread.join()
        return [self.told[number] for number in range(len(spends))]


@pytest.fixture
def crowd(ready: System) -> Any:
    made = Crowd(ready)
    yield made
    made.client.close()


def test_spends_that_wait_share_one_round_trip_and_those_with_events_one_call(ready: System, crowd: Crowd) -> None:
    brand, (first, second) = brand_with(ready, campaigns=2)
    events: list[dict[str, Any]] = [
        {"campaign_id": (first, second)[n % 2], "amount": "1", "event_id": f"e{n}"} for n in range(20)
    ]
    plain: list[dict[str, Any]] = [{"campaign_id": first, "amount": "1"} for _ in range(9)]
    keyed: list[dict[str, Any]] = [{"campaign_id": first, "amount": "1", "request_id": f"k{n // 2}"} for n in range(18)]
    told = crowd.send([plain[0], *events, events[0], *plain, *keyed])
    assert {each.outcome for each in told[1:21]} <= {"recorded", "duplicate"}
    assert sum(each.outcome == "duplicate" for each in told) == 1, "the event that came twice"
    assert spent(ready, brand) == f"{1 + 20 + 9 + 9}"
    assert crowd.wire.sizes == [1, 1 + 9 + 18]


def test_of_spends_in_one_round_trip_no_more_are_accepted_than_fit(ready: System, crowd: Crowd) -> None:
    brand, (campaign,) = brand_with(ready, daily=12_000_000)
    spends = [{"campaign_id": campaign, "amount": "1", "event_id": f"e{n}", "ask": True} for n in range(30)]
    outcomes = [each.outcome for each in crowd.send(spends)]
    assert (outcomes.count("accepted"), outcomes.count("refused")) == (12, 18)
    assert spent(ready, brand) == "12"


def test_a_lost_answer_of_a_shared_round_trip_is_repeated_by_each_without_counting_twice(
    ready: System, crowd: Crowd
) -> None:
    brand, (campaign,) = brand_with(ready)
    crowd.wire.lost = True
    spends: list[dict[str, Any]] = [{"campaign_id": campaign, "amount": "1"} for _ in range(4)]
    spends += [{"campaign_id": campaign, "amount": "1", "event_id": f"e{n}"} for n in range(12)]
    told = crowd.send(spends)
    assert told[0].outcome == "recorded" and all(isinstance(each, Unavailable) for each in told[1:])
    for given, error in zip(spends[1:], told[1:], strict=True):
        again = ready.client.record_spend(**given, request_id=error.request_id)
        assert again.outcome == ("duplicate" if "event_id" in given else "recorded")
    assert spent(ready, brand) == "16"
