"""The rows of the benchmark: each compares the engine with a peer, and has the ratio that it must reach."""

from __future__ import annotations

import asyncio
import io
import os
import tempfile
import threading
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NamedTuple

from sqlalchemy import text

from benchmarks import peers
from benchmarks.peers import Django, rate
from engine.client.aio.client import AsyncBudgetClient
from engine.client.sync import BudgetClient, Spend
from engine.speedups import speedups
from engine.wiring import System

BATCH: Final = 1000
CAMPAIGNS: Final = 20
ROWS_PERSISTED: Final = 100_000


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison. ours, peer: run one round and return operations a second. needed: the floor of ours / peer, or
    None.
    """

    what: str
    against: str
    needed: float | None
    ours: Callable[[], float]
    peer: Callable[[], float]


class PythonSpend(Spend):
    """A Spend that Python makes: the compiled speedups make Spends themselves only, none of a class below."""

    __slots__ = ()


class Facts(NamedTuple):
    """A thousand spends in the forms that a caller may have them in before a call."""

    micros: list[tuple[int, int]]
    texts: list[tuple[int, str]]
    events: list[str]
    arrays: tuple[array[int], array[int]]


class Bench:
    """The rounds of the rows, on one brand with twenty campaigns. quick: shorter rounds, for CI."""

    def __init__(self, system: System, *, quick: bool = False) -> None:
        self._system = system
        self._quick = quick
        system.rebuilder.rebuild_missing()
        brand = system.manage.create_brand("Bench", None, None, None, "bench").row
        names = [f"campaign {i}" for i in range(CAMPAIGNS)]
        self.campaigns = [c.id for c in system.manage.create_campaigns(brand.id, names, "bench")]
        self._amount = 0
        self._django: Django | None = None

    def rows(self) -> list[Row]:
        """Every comparison, in the order of the table."""
        plain, url = self._system.hot_redis, self._system.settings.redis_url
        scale = 1 if self._quick else 3
        pipelined = "incrby pipelined by 100"

        def incrby_pipelined() -> float:
            return peers.incrby_pipelined(plain, 20_000 * scale)

        by_python = [
            Row("record_spend_columns of 1,000, pure Python", pipelined, None, lambda: self.by_python(self.by_columns), incrby_pipelined),
            Row("record_spends of 1,000 Spends, pure Python", pipelined, None, lambda: self.by_python(self.by_python_spends), incrby_pipelined),
        ]  # fmt: skip
        return [
            Row("one record_spend a round trip", "redis-py incrby", 0.8, self.singles, lambda: peers.incrby(plain, 2000 * scale)),
            Row("the same, asleep while it waits", "redis-py incrby", None, self.asleep, lambda: peers.incrby(plain, 2000 * scale)),
            Row("one try_spend a round trip", "redis-py incrby", None, self.tries, lambda: peers.incrby(plain, 2000 * scale)),
            Row("one record_spend a round trip", "limits, fixed window with cost", None, self.singles, lambda: peers.fixed_window(url, 1000 * scale)),
            Row("record_spend_columns of 1,000", pipelined, 10, lambda: self.batches(self.by_columns, 300), incrby_pipelined),
            Row("the same, from int64 arrays", pipelined, None, lambda: self.batches(self.by_arrays, 300), incrby_pipelined),
            Row("record_spends of 1,000 Spends, amount_micros", pipelined, 8, lambda: self.batches(self.by_spends, 300), incrby_pipelined),
            Row("the same, distinct decimal strings", pipelined, 4, lambda: self.batches(self.by_texts, 150), incrby_pipelined),
            Row("the same strings in plain tuples", pipelined, None, lambda: self.batches(self.by_tuples, 150), incrby_pipelined),
            Row("the same, a 32-hex event id each", pipelined, 1.5, lambda: self.batches(self.by_named), incrby_pipelined),
            Row("record_spend_columns, a 32-hex event id each", pipelined, None, lambda: self.batches(self.by_named_columns), incrby_pipelined),
            *(by_python if speedups.pack is not None else ()),
            Row("asyncio, 1,000 callers with a spend each", "redis.asyncio incrby, pool of 50", 8, self.awaited, lambda: peers.incrby_asyncio(url, scale)),
            Row("the same, each in a coroutine of its own", "redis.asyncio incrby, pool of 50", None, lambda: self.awaited(wrapped=True), lambda: peers.incrby_asyncio(url, scale)),
            Row("try_spend of a lease, spool included", "redis-py incrby", None, self.leased, lambda: peers.incrby(plain, 2000 * scale)),
            Row("persisting the journal", "COPY of the same rows", 0.7, self.persist, self.copy),
            Row("acknowledged spends, batches", "Django: F() updates and a row", 1000, lambda: self.batches(self.by_spends, 300), self.django),
            Row("acknowledged spends, alone", "Django: F() updates and a row", 15, self.singles, self.django),
            Row("sustained into spend_log", "Django: F() updates and a row", 300, self.sustained, self.django),
        ]  # fmt: skip

    def by_columns(self, facts: Facts) -> object:
        """A call with two columns, which the caller fills."""
        return self._system.client.record_spend_columns([c for c, _ in facts.micros], [m for _, m in facts.micros])

    def by_arrays(self, facts: Facts) -> object:
        """The same for a program that has its columns as arrays already."""
        return self._system.client.record_spend_columns(*facts.arrays)

    def by_spends(self, facts: Facts) -> object:
        """A call with `Spend` objects. The caller makes them, as in all following calls."""
        return self._system.client.record_spends([Spend(c, None, None, m) for c, m in facts.micros])

    def by_python_spends(self, facts: Facts) -> object:
        return self._system.client.record_spends([PythonSpend(c, None, None, m) for c, m in facts.micros])

    def by_python(self, call: Callable[[Facts], object]) -> float:
        """A round of batches without the compiled speedups, which are in use otherwise."""
        pack, speedups.pack = speedups.pack, None
        try:
            return self.batches(call, 300)
        finally:
            speedups.pack = pack

    def by_texts(self, facts: Facts) -> object:
        return self._system.client.record_spends([Spend(c, text) for c, text in facts.texts])

    def by_tuples(self, facts: Facts) -> object:
        return self._system.client.record_spends([(c, text) for c, text in facts.texts])

    def by_named(self, facts: Facts) -> object:
        return self._system.client.record_spends(
            [Spend(c, None, event, m) for (c, m), event in zip(facts.micros, facts.events, strict=True)]
        )

    def by_named_columns(self, facts: Facts) -> object:
        return self._system.client.record_spend_columns(
            [c for c, _ in facts.micros], [m for _, m in facts.micros], event_ids=facts.events
        )

    def singles(self) -> float:
        """One record call a spend."""
        return self._facts(self._system.client)

    def asleep(self) -> float:
        """The same with a client that blocks instead of busy-polling."""
        with BudgetClient.from_url(self._system.settings.redis_url, timeout_ms=5000, busy_poll_us=0) as client:
            client.record_spend(self.campaigns[0], amount_micros=1)
            return self._facts(client)

    def _facts(self, client: BudgetClient) -> float:
        times, campaigns = 2000 if self._quick else 6000, self.campaigns
        return rate(
            times,
            lambda: [client.record_spend(campaigns[i % 20], amount_micros=self.next_amount()) for i in range(times)],
        )

    def tries(self) -> float:
        """One try call a spend."""
        times = 2000 if self._quick else 6000
        client, campaigns = self._system.client, self.campaigns
        return rate(
            times, lambda: [client.try_spend(campaigns[i % 20], amount_micros=self.next_amount()) for i in range(times)]
        )

    def batches(self, call: Callable[[Facts], object], times: int = 60) -> float:
        """Makes `times` calls of a thousand spends over twenty campaigns.

        Campaign, amount and event id exist before. The time includes what the caller makes of them for the call, as it
        includes the filling of the peer's pipeline. A round should last about as long as its peer's, because both start
        with cold CPU caches.
        """
        times = 20 if self._quick else times
        made = [self.facts() for _ in range(times)]
        return rate(times * BATCH, lambda: [call(facts) for facts in made])

    def facts(self) -> Facts:
        """Makes a thousand spends with distinct amounts."""
        micros = [(self.campaigns[i % CAMPAIGNS], self.next_amount()) for i in range(BATCH)]
        drawn = os.urandom(16 * BATCH).hex()
        return Facts(
            micros,
            [(campaign, f"{m // 1_000_000}.{m % 1_000_000:06d}") for campaign, m in micros],
            [drawn[i : i + 32] for i in range(0, len(drawn), 32)],
            (array("q", [campaign for campaign, _ in micros]), array("q", [m for _, m in micros])),
        )

    def awaited(self, *, wrapped: bool = False) -> float:
        """Awaits a thousand spends at once. wrapped: each in a coroutine of its own, and so in a task."""
        rounds = 5 if self._quick else 15

        async def work() -> float:
            async with AsyncBudgetClient.from_url(self._system.settings.redis_url, timeout_ms=20_000) as client:

                async def waits(campaign: int, *, amount_micros: int) -> object:
                    return await client.record_spend(campaign, amount_micros=amount_micros)

                spend: Callable[..., Any] = waits if wrapped else client.record_spend
                await client.record_spend(self.campaigns[0], amount_micros=1)
                began = time.perf_counter()
                for _ in range(rounds):
                    calls = (
                        spend(self.campaigns[i % CAMPAIGNS], amount_micros=self.next_amount())
                        for i in range(peers.CALLERS)
                    )
                    await asyncio.gather(*calls)
                return rounds * peers.CALLERS / (time.perf_counter() - began)

        with peers.only_its_own_garbage():
            return asyncio.run(work())

    def leased(self) -> float:
        """Spends from a lease in memory, in one thread. Closing the lease counts them in Redis; that is not timed."""
        times = 50_000
        with tempfile.TemporaryDirectory() as folder:
            lease = self._system.client.lease(self.campaigns[0], "1000", spool=folder)
            spend = lease.try_spend
            speed = rate(times, lambda: [spend(amount_micros=5) for _ in range(times)])
            spent = lease.spent
            lease.close()
        assert spent == Decimal("0.25"), f"the lease gave out {spent} of 0.25"
        return speed

    def persist(self) -> float:
        """Persists a journal of ROWS_PERSISTED spends; returns rows a second."""
        self._system.persister.drain_all()
        for _ in range(ROWS_PERSISTED // BATCH):
            self.by_columns(self.facts())
        return rate(ROWS_PERSISTED, self._system.persister.drain_all)

    def copy(self) -> float:
        """Copies as many rows by one COPY into a table with the same constraints and indexes; returns rows a second."""
        with self._system.db.begin() as conn:
            raw: Any = conn.connection.driver_connection
            conn.execute(text("DROP TABLE IF EXISTS bench_copy"))
            conn.execute(text("CREATE TABLE bench_copy (LIKE spend_log INCLUDING ALL)"))
            rows = io.BytesIO()
            with raw.cursor() as cursor:
                cursor.copy_expert(
                    f"COPY (SELECT * FROM spend_log ORDER BY n DESC LIMIT {ROWS_PERSISTED}) TO STDOUT", rows
                )
        rows.seek(0)

        def work() -> None:
            with self._system.db.begin() as conn:
                raw: Any = conn.connection.driver_connection
                with raw.cursor() as cursor:
                    cursor.copy_expert("COPY bench_copy FROM STDIN", rows)

        return rate(ROWS_PERSISTED, work)

    def sustained(self) -> float:
        """Records and persists at the same time, until the last spend is in spend_log; returns spends a second."""
        batches = 50 if self._quick else 150
        made = [self.facts() for _ in range(batches)]
        self._system.persister.drain_all()
        over = threading.Event()

        def drain() -> None:
            while not over.is_set():
                self._system.persister.drain_all()

        def work() -> None:
            thread = threading.Thread(target=drain)
            thread.start()
            for facts in made:
                self.by_spends(facts)
            over.set()
            thread.join()
            self._system.persister.drain_all()

        return rate(batches * BATCH, work)

    def django(self) -> float:
        """Spends a second of the Django design."""
        if self._django is None:
            self._django = Django(self._system.settings.database_url)
        return self._django.spends(100 if self._quick else 300)

    def close(self) -> None:
        """Closes the peers' connections."""
        if self._django is not None:
            self._django.close()

    def next_amount(self) -> int:
        """The next amount in micros. Amounts differ, because a repeated one would only measure a cache."""
        self._amount = self._amount % 999_999 + 1
        return self._amount
