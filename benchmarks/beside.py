"""Measures single spends while a job that reads all campaigns runs, with the priority that its worker has."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import text

from benchmarks.catalog_of_size import Sized, spend_once_each
from engine.client.sync import BudgetClient
from engine.flows.catalog.check import check_all
from engine.flows.persist.persister import DrainStats
from engine.flows.upkeep.close import WAIT_S
from engine.jobs import persist_loop
from engine.processes import give_way
from engine.wiring import System

QUIET: Final = "nothing"
BUSY: Final = "a busy processor"
_Job = Callable[[Callable[[], bool]], object]
"""One run of a job. Its argument returns whether the time is over."""
_PART_S: Final = 3
_PARTS: Final = 3


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency of single spends in microseconds, one round trip each, from a process of their own."""

    beside: str
    spends: int
    p50_us: float
    p99_us: float
    worst_us: float


def measure(system: System, sized: Sized, say: Callable[[str], None]) -> list[Latency]:
    """Measures single spends alone and beside each job, in turn, so that load on the machine affects all alike."""
    jobs: dict[str, _Job] = {
        QUIET: lambda _: time.sleep(0.1),
        BUSY: lambda _: sum(range(100_000)),
        "check": lambda _: check_all(system.publisher, system.status),
        "close": lambda _: _close_again(system),
        "persist": lambda over: persist_loop(system).run(over, DrainStats()),
    }
    spender = Spender(system.settings.redis_url, sized.campaigns)
    times: dict[str, list[float]] = {}
    for _ in range(_PARTS):
        for name, work in jobs.items():
            system.persister.drain_all()
            if name == "persist":
                spend_once_each(system, sized)
            spender.begin()
            _for_seconds(_PART_S, work, gives_way=name in ("check", "close"))
            times.setdefault(name, []).extend(spender.end())
    spender.close()
    rows = []
    for name, taken in times.items():
        taken.sort()
        at = [taken[int(len(taken) * q)] * 1e6 for q in (0.5, 0.99)]
        row = Latency(name, len(taken), at[0], at[1], taken[-1] * 1e6)
        rows.append(row)
        say(
            f"| spends beside {name} | {row.spends} | p50 {row.p50_us:.0f} us | p99 {row.p99_us:.0f} us | worst {row.worst_us:.0f} us |"
        )
    return rows


def _for_seconds(seconds: float, work: _Job, *, gives_way: bool) -> None:
    """Repeats a job for some seconds in a thread. gives_way: at the low priority of the worker of the queue `jobs`."""

    def run() -> None:
        if gives_way:
            give_way()
        ends = time.monotonic() + seconds

        def over() -> bool:
            return time.monotonic() >= ends

        while not over():
            work(over)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(run).result()


def _close_again(system: System) -> None:
    """Closes two days anew, with all reads of the log and the hashes that a day needs. Persist runs beside it, because
    a shard can close only when PostgreSQL has every entry that existed at the beginning.
    """
    with system.db.begin() as conn:
        conn.execute(text("DELETE FROM shard_close"))
        conn.execute(text("DELETE FROM period_total"))
        conn.execute(text("UPDATE brand SET created_at = now() - interval '2 days'"))
    over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        persist = pool.submit(persist_loop(system).run, over.is_set, DrainStats())
        try:
            closed = system.closer.close_ended(WAIT_S)
        finally:
            over.set()
        persist.result()
    assert closed.days and not closed.waiting, f"the close did not close: {closed}"


class Spender:
    """A process that sends single spends and times each. In its own process no job delays it by Python's GIL."""

    def __init__(self, url: str, campaigns: Sequence[int]) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_spend, args=(theirs, url, list(campaigns)), daemon=True)
        self._process.start()
        self._ours.recv()

    def begin(self) -> None:
        """Starts spending, until end()."""
        self._ours.send(True)

    def end(self) -> list[float]:
        """The seconds of each spend since begin()."""
        self._ours.send(True)
        taken: list[float] = self._ours.recv()
        return taken

    def close(self) -> None:
        """Ends the process."""
        self._ours.send(False)
        self._process.join(10)


def _spend(pipe: Any, url: str, campaigns: list[int]) -> None:
    client = BudgetClient.from_url(url, timeout_ms=5000)
    at = 0

    def one() -> float:
        nonlocal at
        at += 7919
        began = time.perf_counter()
        client.record_spend(campaigns[at % len(campaigns)], amount_micros=1000)
        return time.perf_counter() - began

    for _ in range(500):
        one()
    pipe.send("ready")
    while pipe.recv():
        taken: list[float] = []
        while not pipe.poll():
            taken.append(one())
        pipe.recv()
        pipe.send(taken)
