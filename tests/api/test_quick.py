"""The event loop answers spends as a thread does: the same words, the same money, whichever way a repeat takes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from flask_openapi.openapi import OpenAPI

from engine.client.aio.lanes import Lane
from engine.ledger import tokens
from engine.wiring import System
from tests.api.conftest import Caller, Calls, Loop, Told, known
from tests.api.test_spends import spent
from tests.patience import PATIENCE_S
from tests.processes.conftest import until
from tests.web.conftest import brand_with


class Both:
    """A program that can take either way."""

    def __init__(self, loop: Loop, by_thread: Caller) -> None:
        self.way = loop
        self.by_thread = by_thread
        self.by_loop = Caller(loop, by_thread.secret)

    def quickly(self, path: str, body: Any, **headers: str) -> Told:
        """The answer of the loop itself."""
        taken = self.way.taken
        told = self.by_loop.post(path, body, **headers)
        assert self.way.taken == taken + 1, "a thread answered"
        return told


@pytest.fixture
def both(loop: Loop, calls: Calls) -> Both:
    made = Both(loop, calls("spend"))
    made.by_thread.post("/spend", None)  # from now on the process knows the token
    return made


def of_each_shape(campaigns: Sequence[int]) -> dict[str, list[dict[str, Any]]]:
    """Batches as callers send them: packed ones, ones of text, and ones that need several calls."""
    plain = [{"campaign_id": campaigns[n % len(campaigns)], "amount": "0.25"} for n in range(40)]
    events = [one | {"event_id": f"all-{n}"} for n, one in enumerate(plain)]
    return {
        "few": plain[:3],
        "many": plain,
        "with events": [*events, events[0]],
        "some with events": [one | ({"event_id": f"some-{n}"} if n % 2 else {}) for n, one in enumerate(plain)],
        "of an hour ago": [one | {"occurred_at": "2026-11-23T10:00:00Z"} for one in plain[:12]],
        "all fields": [one | {"occurred_at": None, "event_id": f"a-{n}"} for n, one in enumerate(plain)],
    }


@pytest.mark.parametrize("first", ["by_loop", "by_thread"])
def test_a_batch_that_is_repeated_by_the_other_way_counts_once(ready: System, both: Both, first: str) -> None:
    brands = [brand_with(ready, name, campaigns=3) for name in ("One", "Two", "Three")]
    campaigns = [campaign for _, some in brands for campaign in some]
    counted = 0.0
    for name, spends in of_each_shape(campaigns).items():
        ways = (both.by_loop, both.by_thread) if first == "by_loop" else (both.by_thread, both.by_loop)
        said = [way.post("/spends", {"spends": spends}, Idempotency_Key=f"k-{name.replace(' ', '-')}") for way in ways]
        assert [one.status for one in said] == [200, 200], (name, said)
        outcomes = [[one["outcome"] for one in each.document["results"]] for each in said]
        assert outcomes[0] == outcomes[1], name
        counted += 0.25 * sum(outcome == "recorded" for outcome in outcomes[0])
    assert both.way.taken == len(of_each_shape(campaigns))
    assert sum(float(spent(ready, brand)) for brand, _ in brands) == counted > 40


def test_both_ways_say_the_same(ready: System, both: Both) -> None:
    brand, (campaign, other) = brand_with(ready, daily=50_000_000, campaigns=2)
    spend = {"campaign_id": campaign, "amount": "1.5"}
    asked: list[tuple[str, Any, dict[str, str]]] = [
        ("/spend", spend, {"Idempotency_Key": "k-1"}),
        ("/spend", spend | {"amount": "2"}, {"Idempotency_Key": "k-1"}),
        ("/spend", spend | {"mode": "try", "amount": "90"}, {}),
        ("/spend", spend | {"campaign_id": campaign + 99}, {}),
        ("/spend", spend | {"campaign_id": 65536 * 9}, {}),
        ("/spend", spend, {"Idempotency_Key": "not an id"}),
        ("/spend", spend | {"occurred_at": "2026-11-23T10:00:00"}, {}),
        ("/spends", {"spends": [spend, spend | {"campaign_id": other}], "mode": "try"}, {"Idempotency_Key": "b-1"}),
        ("/spends", {"spends": [spend, spend | {"amount": "0"}]}, {}),
        ("/spends", {"spends": []}, {}),
    ]
    for path, body, headers in asked:
        quick, slow = (way.post(path, body, X_Request_Id="r-1", **headers) for way in (both.by_loop, both.by_thread))
        assert (quick.status, quick.document) == (slow.status, slow.document), body
        assert quick.headers == slow.headers
    assert spent(ready, brand) == "4.5"


def test_spends_take_no_thread_and_no_postgresql(ready: System, both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    brand, (campaign,) = brand_with(ready)

    def away(*_: Any) -> Any:
        raise AssertionError("PostgreSQL was asked")

    monkeypatch.setattr(known_of(both), "_db", away)
    spend = {"campaign_id": campaign, "amount": "1"}
    assert both.quickly("/spend", spend).document["outcome"] == "recorded"
    assert both.quickly("/spends", {"spends": [spend] * 20}).document["results"][19]["outcome"] == "recorded"
    assert spent(ready, brand) == "21"


def known_of(both: Both) -> Any:
    return both.way.quick._known


def test_the_loop_refuses_a_revoked_token_too(ready: System, app: OpenAPI, both: Both) -> None:
    brand, (campaign,) = brand_with(ready)
    tokens.revoke(ready.db, "test", tokens.all_tokens(ready.db)[0].id)
    known(app).refresh()
    assert both.by_loop.post("/spend", {"campaign_id": campaign, "amount": "1"}).status == 401
    assert spent(ready, brand) == "0"


def held(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> tuple[Callable[[], None], list[int]]:
    """Holds round trips to Redis up until the function is called; and the number of calls of each after that."""
    attempt, go, sizes = Lane._attempt, threading.Event(), []

    async def waits(lane: Lane) -> None:
        while not go.is_set():
            await asyncio.sleep(0.01)
        sizes.append(len(lane.flight))
        await attempt(lane)

    monkeypatch.setattr(Lane, "_attempt", waits)
    return go.set, sizes


def test_spends_that_wait_share_one_round_trip_and_those_with_events_one_call(
    ready: System, both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    brand, (first, second) = brand_with(ready, campaigns=2)
    go, sizes = held(both.way, monkeypatch)
    plain = {"campaign_id": first, "amount": "1"}
    asked: list[tuple[dict[str, Any], dict[str, str]]] = [(plain, {})] * 5
    asked += [
        ({"campaign_id": (first, second)[n % 2], "amount": "1", "event_id": f"e{n // 2}"}, {}) for n in range(2, 22)
    ]
    asked += [(plain, {"Idempotency_Key": f"k{n // 2}"}) for n in range(6)]
    told: list[Told] = []
    threads = [threading.Thread(target=lambda b=body, h=given: told.append(both.by_loop.post("/spend", b, **h))) for body, given in asked]  # fmt: skip
    for thread in threads:
        thread.start()
    until(lambda: both.way.client._sender.waiting == len(asked))
    go()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert sorted(one.document["outcome"] for one in told) == ["conflict"] * 10 + ["recorded"] * 21
    assert spent(ready, brand) == f"{5 + 10 + 3}"
    assert sum(sizes) < 5 + 6 + 20, sizes


def test_a_token_that_sends_more_than_its_rate_gets_429_and_nothing_counts(
    ready: System, app: OpenAPI, both: Both
) -> None:
    brand, (campaign,) = brand_with(ready)
    app.extensions["rates"].rate = 4
    now = [1000.0]
    app.extensions["rates"]._clock = lambda: now[0]
    spend = {"campaign_id": campaign, "amount": "1"}
    said = [way.post("/spend", spend) for way in (both.by_loop, both.by_thread) * 3]
    assert [one.status for one in said] == [200] * 4 + [429] * 2
    assert said[4].headers["Retry-After"] == "1" and "4 requests a second" in said[4].document["detail"]
    assert both.by_thread.get("/brands").status == 429, "one bucket for all routes"
    now[0] += 0.25
    assert [both.by_loop.post("/spend", spend).status for _ in range(2)] == [200, 429]
    assert spent(ready, brand) == "5"
