"""Fault 3: the wire is cut at every byte of a request and of its reply. The call is repeated by the client, and counts once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from engine import BudgetClient
from engine.live.keys import keys_of_brand
from tests.faults.figures import Figures
from tests.live.plant import BRAND, CAMPAIGN, Plant
from tests.proxy import Proxy

WORKS = {
    "record": "recorded",
    "try": "accepted",
    "reserve": "accepted",
    "settle": "settled",
    "refund": "refunded",
    "ask the log for a refund": "pending",
}
SHORT = ("record", "refund")
"""The others are long tests."""


@pytest.fixture
def proxy(hot_port: int) -> Iterator[Proxy]:
    made = Proxy(hot_port)
    yield made
    made.close()


@pytest.fixture
def through(proxy: Proxy, hot_url: str, hot_port: int) -> Iterator[BudgetClient]:
    client = BudgetClient.from_url(hot_url.replace(f":{hot_port}", f":{proxy.port}"), timeout_ms=10_000)
    yield client
    client.close()


def call(client: BudgetClient, what: str, i: int) -> Any:
    """One call of a kind, the same length each time, so that each offset is the same byte."""
    if what == "record":
        return client.record_spend(CAMPAIGN, "1", event_id=f"e{i:06}", request_id=f"r{i:06}")
    if what == "try":
        return client.try_spend(CAMPAIGN, "1", event_id=f"t{i:06}", request_id=f"q{i:06}")
    if what == "reserve":
        return client.reserve(CAMPAIGN, "1", 3600, f"h{i:06}")
    if what == "settle":
        return client.settle(f"{CAMPAIGN}:h{i:06}", "1")
    if what == "refund":
        return client.refund(CAMPAIGN, "1", f"e{i:06}")
    # Of an event that Redis does not know: no money moves, and the journal has one line.
    return client.refund(CAMPAIGN, "1", f"p{i:06}", spent_on=datetime.now(UTC).date(), refund_id="part-1")


@pytest.mark.parametrize(
    "what", [name if name in SHORT else pytest.param(name, marks=pytest.mark.long) for name in WORKS]
)
def test_fault_03_the_wire_cut_at_each_byte_of_a_call_counts_it_once(
    plant: Plant,
    client: BudgetClient,
    proxy: Proxy,
    through: BudgetClient,
    what: str,
    figures: Callable[[Figures], None],
) -> None:
    plant.brand(daily="1000000")
    sizes = _sizes(client, through, proxy, what)
    seen, i = Figures(), 10
    for side, size in sizes.items():
        for after in range(size + 1):
            i += 1
            _before(client, what, i)
            counted, entries = _counted(plant), _entries(plant)
            proxy.cut(side, after)
            answer = call(through, what, i)
            assert answer.outcome == WORKS[what]
            added, appended = _counted(plant) - counted, _entries(plant) - entries
            wanted = -1_000_000 if what == "refund" else 1_000_000
            if what == "ask the log for a refund":
                wanted = 0
            if what == "settle":
                wanted = 0  # out of the hold, into the spend
            seen.attempts += 1
            seen.acknowledged += 1
            difference = added - wanted if wanted >= 0 else wanted - added
            seen.lost += max(-difference, 0) + 1_000_000 * max(1 - appended, 0)
            seen.doubled += max(difference, 0) + 1_000_000 * max(appended - 1, 0)
    seen.faults = proxy.cuts
    seen.more = f"request of {sizes['request']} bytes, reply of {sizes['reply']}"
    assert proxy.cuts >= sum(sizes.values()) - 1
    figures(seen)


def _sizes(client: BudgetClient, through: BudgetClient, proxy: Proxy, what: str) -> dict[str, int]:
    """How long a request and a reply of this kind are, on a connection that stands."""
    for i in (0, 1):
        _before(client, what, i)
        proxy.passed = {"request": 0, "reply": 0}
        call(through, what, i)
    return dict(proxy.passed)


def _before(client: BudgetClient, what: str, i: int) -> None:
    """What must be there for a settle or a refund."""
    if what == "settle":
        assert client.reserve(CAMPAIGN, "1", 3600, f"h{i:06}").outcome == "accepted"
    if what in ("refund", "ask the log for a refund"):
        assert client.record_spend(CAMPAIGN, "1", event_id=f"e{i:06}").outcome == "recorded"


def _counted(plant: Plant) -> int:
    """Spend and holds of the brand, today."""
    fields = plant.plain.hgetall(plant.key(BRAND))
    return sum(int(micros) for name, micros in fields.items() if name == b"held" or name.startswith(b"d:"))


def _entries(plant: Plant) -> int:
    return int(plant.plain.xlen(keys_of_brand(BRAND).journal))
