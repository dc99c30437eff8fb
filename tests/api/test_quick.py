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


def of_holds(campaign: int, other: int) -> list[tuple[str, Any, dict[str, str]]]:
    """A hold's life and a refund's, right ones and wrong ones; each is asked for more than once."""
    hold = {"campaign_id": campaign, "amount": "2", "ttl": 60, "hold_id": "h/1"}
    price, refund = (
        {"campaign_id": campaign, "amount": "1.5"},
        {"campaign_id": campaign, "amount": "1", "event_id": "e1"},
    )
    return [
        ("/holds", hold, {}),
        ("/holds", hold | {"amount": "3"}, {}),
        ("/holds", {"campaign_id": campaign, "amount": "2", "ttl": 60}, {"Idempotency_Key": "k-h"}),
        ("/holds", {"campaign_id": campaign, "amount": "2", "ttl": 60}, {}),
        ("/holds", hold | {"amount": "99", "hold_id": "large"}, {}),
        ("/holds", hold | {"amount": "0", "hold_id": "none"}, {}),
        ("/holds", hold | {"hold_id": f"{other}:x"}, {}),
        ("/holds", hold | {"campaign_id": 3, "hold_id": "y"}, {}),
        ("/holds/h/1/settle", price, {}),
        (f"/holds/{campaign}:h/1/settle", price, {"Idempotency_Key": "not an id"}),
        ("/holds/h/1/release", {"campaign_id": campaign}, {}),
        ("/holds/never/release", {"campaign_id": campaign}, {}),
        (f"/holds/{other}:h/1/settle", price, {}),
        ("/holds/h/1/steal", price, {}),
        ("/spend", price | {"event_id": "e1"}, {}),
        ("/refunds", refund, {}),
        ("/refunds", refund | {"amount": "0.5"}, {}),
        ("/refunds", refund | {"refund_id": "part", "amount": "9"}, {}),
        ("/refunds", refund | {"event_id": "gone", "spent_on": "1999-01-01"}, {}),
        ("/refunds", refund | {"event_id": "gone"}, {}),
        ("/refunds", refund | {"campaign_id": campaign + 99}, {}),
        ("/refunds", {"campaign_id": campaign}, {}),
    ]


@pytest.mark.parametrize("first", ["by_loop", "by_thread"])
def test_holds_and_refunds_say_the_same_both_ways_and_a_repeat_by_the_other_way_counts_once(
    ready: System, both: Both, first: str
) -> None:
    brand, (campaign, other) = brand_with(ready, daily=50_000_000, campaigns=2)
    ways = (both.by_loop, both.by_thread) if first == "by_loop" else (both.by_thread, both.by_loop)
    for path, body, headers in of_holds(campaign, other):
        said = [way.post(path, body, X_Request_Id="r-1", **headers) for way in ways]
        if path == "/spend":  # what is refunded afterwards
            assert [one.document["outcome"] for one in said] == ["recorded", "duplicate"]
        else:
            assert said[0] == said[1], (path, body)
    assert both.way.taken >= 15
    odd = [way.post("/holds//h/1/settle", {"campaign_id": campaign, "amount": "7"}) for way in ways]
    assert [one.status for one in odd] == [404, 404], "an address with an empty part is not there"
    assert spent(ready, brand) == "3.5", "two prices and a spend of 1.5 each, of which 1 came back"


def test_holds_and_refunds_take_no_thread_and_no_postgresql(
    ready: System, both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    brand, (campaign,) = brand_with(ready)

    def away(*_: Any) -> Any:
        raise AssertionError("PostgreSQL was asked")

    monkeypatch.setattr(known_of(both), "_db", away)
    of = {"campaign_id": campaign}
    hold = both.quickly("/holds", {**of, "amount": "5", "ttl": 60, "hold_id": "h"}).document["hold_id"]
    assert both.quickly(f"/holds/{hold}/settle", {**of, "amount": "3"}).document["outcome"] == "settled"
    assert (
        both.quickly("/holds", {**of, "amount": "5", "ttl": 60}, Idempotency_Key="k").document["outcome"] == "accepted"
    )
    assert both.quickly("/holds/k/release", of).document["outcome"] == "released"
    both.quickly("/spend", {**of, "amount": "2", "event_id": "e"})
    assert both.quickly("/refunds", {**of, "amount": "2", "event_id": "e"}).document["outcome"] == "refunded"
    assert spent(ready, brand) == "3"


def test_a_hold_of_a_brand_that_the_token_does_not_see_is_refused_by_either_way(
    ready: System, app: OpenAPI, loop: Loop, calls: Calls
) -> None:
    mine, _ = brand_with(ready, "Mine")
    other, (theirs,) = brand_with(ready, "Theirs")
    by_thread = calls("spend", brands=[mine])
    by_loop = Caller(loop, by_thread.secret)
    assert by_thread.post("/spend", None).status == 415
    for path in ("/holds", "/holds/h/settle", "/holds/h/release", "/refunds"):
        body = {"campaign_id": theirs}
        body |= {} if path.endswith("release") else {"amount": "1"}
        body |= {"ttl": 60, "hold_id": "h"} if path == "/holds" else {"event_id": "e"} if path == "/refunds" else {}
        assert [way.post(path, body).status for way in (by_loop, by_thread)] == [403, 403], path
    assert spent(ready, other) == "0"


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
