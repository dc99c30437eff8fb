"""What is measured: each row ours against a peer, and the ratio that it must reach (the floors of the design)."""

from __future__ import annotations

import io
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis
from sqlalchemy import text

from engine.live.client import Spend
from engine.wiring import System

PIPELINE = 100


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison. ours and peer answer operations a second of one round; needed is the floor of ours / peer."""

    what: str
    against: str
    needed: float
    ours: Callable[[], float]
    peer: Callable[[], float]


def rate(operations: int, work: Callable[[], Any]) -> float:
    """Operations a second of one round of work."""
    began = time.perf_counter()
    work()
    return operations / (time.perf_counter() - began)


def incrby(plain: redis.Redis, times: int) -> float:
    """redis-py, one command a round trip."""
    return rate(times, lambda: [plain.incrby("bench:counter", 1000 + i) for i in range(times)])


def incrby_pipelined(plain: redis.Redis, times: int) -> float:
    """redis-py, so many commands a round trip."""

    def work() -> None:
        for start in range(0, times, PIPELINE):
            pipe = plain.pipeline(transaction=False)
            for i in range(start, start + PIPELINE):
                pipe.incrby("bench:counter", 1000 + i)
            pipe.execute()

    return rate(times, work)


class Bench:
    """A system with a brand of twenty campaigns, and the rounds on it."""

    def __init__(self, system: System) -> None:
        self._system = system
        system.rebuilder.rebuild_missing()
        brand = system.manage.create_brand("Bench", None, None, None, "bench").row
        names = [f"campaign {i}" for i in range(20)]
        self._campaigns = [c.id for c in system.manage.create_campaigns(brand.id, names, "bench")]
        self._amount = 0

    def rows(self) -> list[Row]:
        """Every comparison, in the order of the table."""
        plain = self._system.hot_redis
        return [
            Row("one record_spend a round trip", "redis-py incrby", 0.8, self.singles, lambda: incrby(plain, 3000)),
            Row(
                "record_spends of 1,000, amount_micros", "incrby pipelined by 100", 10,
                lambda: self.batches(lambda c, i: Spend(c, None, None, i)), lambda: incrby_pipelined(plain, 20_000),
            ),
            Row(
                "the same, distinct decimal strings", "incrby pipelined by 100", 4,
                lambda: self.batches(lambda c, i: Spend(c, f"{i // 1_000_000}.{i % 1_000_000:06d}")),
                lambda: incrby_pipelined(plain, 20_000),
            ),
            Row(
                "the same, a 32-hex event id each", "incrby pipelined by 100", 1.5,
                lambda: self.batches(lambda c, i: Spend(c, None, uuid.uuid4().hex, i)),
                lambda: incrby_pipelined(plain, 20_000),
            ),
            Row("persisting the journal", "COPY of the same rows", 0.7, self.persist, self.copy),
        ]  # fmt: skip

    def singles(self, times: int = 3000) -> float:
        """One spend a call."""
        client, campaigns = self._system.client, self._campaigns
        return rate(
            times, lambda: [client.record_spend(campaigns[i % 20], amount_micros=self._next()) for i in range(times)]
        )

    def batches(self, make: Callable[[int, int], Spend], times: int = 20) -> float:
        """A thousand spends a call, over twenty campaigns; making the Spends is not counted, as filling a pipeline's arguments is not."""
        batches = [[make(self._campaigns[i % 20], self._next()) for i in range(1000)] for _ in range(times)]
        return rate(times * 1000, lambda: [self._system.client.record_spends(batch) for batch in batches])

    def persist(self, batches: int = 50) -> float:
        """The journal of so many thousand spends into the log."""
        self._system.persister.drain_all()
        for _ in range(batches):
            self._system.client.record_spends([Spend(self._campaigns[i % 20], None, None, i + 1) for i in range(1000)])
        return rate(batches * 1000, self._system.persister.drain_all)

    def copy(self) -> float:
        """The rows that are in the log, by COPY into a table like it."""
        with self._system.db.begin() as conn:
            raw: Any = conn.connection.driver_connection
            conn.execute(text("DROP TABLE IF EXISTS bench_copy"))
            conn.execute(text("CREATE TABLE bench_copy (LIKE spend_log INCLUDING ALL)"))
            rows = io.BytesIO()
            with raw.cursor() as cursor:
                cursor.copy_expert("COPY (SELECT * FROM spend_log ORDER BY n DESC LIMIT 50000) TO STDOUT", rows)
        rows.seek(0)

        def work() -> None:
            with self._system.db.begin() as conn:
                raw: Any = conn.connection.driver_connection
                with raw.cursor() as cursor:
                    cursor.copy_expert("COPY bench_copy FROM STDIN", rows)

        return rate(50_000, work)

    def _next(self) -> int:
        """Amounts that differ: repeating one text would measure a memo."""
        self._amount = self._amount % 999_999 + 1
        return self._amount
