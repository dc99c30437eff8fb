"""Bidders that spend without a pause while something happens to the servers, and the account of it afterwards."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import redis

from engine import BudgetClient, Spend
from engine.domain.ids import SHARDS, brand_of, shard_of
from engine.live.admin import LiveRedis
from engine.live.journal import decode
from engine.live.keys import shard_keys
from tests.cluster.servers import Cluster, Node
from tests.faults.figures import PROPERTY
from tests.live.plant import Plant

BRANDS = range(1, SHARDS + 1)
"""One brand a shard."""
TIMEOUT_MS = 20_000


present: list[list[tuple[str, object]]] = []
"""Where the present test's figures go, which the summary at the end of a run shows."""


def note(line: str) -> None:
    """One line of figures."""
    for properties in present:
        properties.append((PROPERTY, line))


def campaign_of(shard: int) -> int:
    """A campaign whose brand is in a shard."""
    brand = next(b for b in BRANDS if shard_of(b) == shard)
    return brand * 65536 + 1


def plant_all(live: LiveRedis, node: Node | None) -> Plant:
    """Every shard marked, with a brand without limits in each."""
    plant = Plant(live, node.plain if node is not None else redis.Redis())
    for brand_id in BRANDS:
        plant.brand(brand_id=brand_id)
    return plant


@dataclass
class Account:
    """What bidders were told. longest_ms: the longest call, by shard."""

    acknowledged: set[str] = field(default_factory=set)
    longest_ms: dict[int, float] = field(default_factory=dict)
    all_ms: dict[int, list[float]] = field(default_factory=dict)
    errors: list[BaseException] = field(default_factory=list)

    def longest(self, shards: Iterable[int] = range(SHARDS)) -> float:
        return max((self.longest_ms.get(shard, 0.0) for shard in shards), default=0.0)

    def p99(self, shards: Iterable[int] = range(SHARDS)) -> float:
        took = sorted(ms for shard in shards for ms in self.all_ms.get(shard, []))
        return took[int(len(took) * 0.99)] if took else 0.0


class Load:
    """Threads that spend one by one, and one that spends in batches over all shards. Each spend has an event id of its own."""

    def __init__(self, url: str, threads: int = 3, shards: Iterable[int] = range(SHARDS), batches: bool = True) -> None:
        self.account = Account()
        self._shards = list(shards)
        self._stop = threading.Event()
        self._client = BudgetClient.from_url(url, timeout_ms=TIMEOUT_MS)
        self._threads = [threading.Thread(target=self._guarded, args=(self._single, i)) for i in range(threads)]
        if batches:
            self._threads.append(threading.Thread(target=self._guarded, args=(self._batch, threads)))

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._client.close()
        assert not self.account.errors, self.account.errors

    def _guarded(self, work: Callable[[int], None], number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            self.account.errors.append(error)

    def _single(self, number: int) -> None:
        count = 0
        while not self._stop.is_set():
            shard = self._shards[(count + number * 7) % len(self._shards)]
            event = f"e-{number}-{count}"
            began = time.monotonic()
            result = self._client.record_spend(campaign_of(shard), amount_micros=1, event_id=event)
            self._took(shard, began)
            assert result.outcome in ("recorded", "duplicate"), result
            self.account.acknowledged.add(event)
            count += 1

    def _batch(self, number: int) -> None:
        count = 0
        while not self._stop.is_set():
            events = [f"b-{count}-{i}" for i in range(4 * len(self._shards))]
            spends = [
                Spend(campaign_of(self._shards[i % len(self._shards)]), amount_micros=1, event_id=event)
                for i, event in enumerate(events)
            ]
            results = self._client.record_spends(spends)
            assert {r.outcome for r in results} <= {"recorded", "duplicate"}, results
            self.account.acknowledged.update(events)
            count += 1
            self._stop.wait(0.02)

    def _took(self, shard: int, began: float) -> None:
        ms = (time.monotonic() - began) * 1000
        self.account.longest_ms[shard] = max(self.account.longest_ms.get(shard, 0.0), ms)
        self.account.all_ms.setdefault(shard, []).append(ms)


def logged(cluster: Cluster) -> Counter[str]:
    """How often each event stands in the journals."""
    found: Counter[str] = Counter()
    for shard in range(SHARDS):
        raw = cluster.owner(shard).plain.xrange(shard_keys(shard).journal)
        for item in raw:
            found.update(spend.event_id for spend in decode(*item).spends() if spend.event_id)
    return found


def figures(what: str, account: Account, found: Counter[str], **more: object) -> str:
    """One line of the account. Raises AssertionError when an event was lost or counted twice."""
    lost = len(account.acknowledged - found.keys())
    doubled = sum(1 for times in found.values() if times > 1)
    line = f"{what}: {len(account.acknowledged)} acknowledged, {lost} lost, {doubled} doubled, longest call {account.longest():.0f} ms"
    line += "".join(f", {name} {value}" for name, value in more.items())
    note(line)
    assert lost == doubled == 0, line
    return line


def counted(live: LiveRedis) -> int:
    """The sum of all brands' counters of today, in micros."""
    total = 0
    for brand in live.read_brands(BRANDS).values():
        assert brand is not None
        total += brand.daily_spend
    return total


def brand_in(shard: int) -> int:
    return brand_of(campaign_of(shard))
