"""Measures throughput by batch size, number of brands and number of processes, and Redis' CPU time a spend."""

from __future__ import annotations

import multiprocessing
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import redis

from benchmarks.peers import rate
from benchmarks.rows import BATCH, Bench
from engine.client.sync import BudgetClient, Spend
from engine.live.transport.busy_poll import MOST_US
from engine.wiring import System

BATCH_SIZES: Final = (1, 10, 100, 500, 1000)
BRANDS: Final = (1, 16, 64, 256)
PROCESSES: Final = (1, 2, 4)
CROWDS: Final = (1, 2, 4, 8)
_SPENDS_A_POINT: Final = 40_000


@dataclass(frozen=True, slots=True)
class Curve:
    """Spends a second by size: points of (size, spends a second)."""

    what: str
    points: Sequence[tuple[int, float]]


def curves(system: System, bench: Bench) -> list[Curve]:
    """Measures all curves. Single spends by processes twice: by clients that busy-poll, and by clients that block."""
    return [
        Curve("batch size", [(size, _by_batch_size(system, bench, size)) for size in BATCH_SIZES]),
        Curve("brands in a batch of 1,000", [(brands, _by_brands(system, bench, brands)) for brands in BRANDS]),
        Curve("processes with batches of 1,000", [(count, _by_processes(system, bench, count)) for count in PROCESSES]),
        *_by_single_spends(system, bench),
    ]


def _by_single_spends(system: System, bench: Bench) -> list[Curve]:
    """Single spends by number of processes: medians of three rounds, the two kinds of clients in turn."""
    waits = {"processes, single spends": MOST_US, "processes, single spends, asleep": 0}
    points: dict[str, list[tuple[int, float]]] = {what: [] for what in waits}
    for count in CROWDS:
        rounds = [{what: _by_processes(system, bench, count, 1, us) for what, us in waits.items()} for _ in range(3)]
        for what, drawn in points.items():
            drawn.append((count, statistics.median(seen[what] for seen in rounds)))
    return [Curve(what, drawn) for what, drawn in points.items()]


def _by_batch_size(system: System, bench: Bench, size: int) -> float:
    calls = max(_SPENDS_A_POINT // size, 10) if size > 1 else 3000
    return _rate_of(system, [_amounts(bench, bench.campaigns, size) for _ in range(calls)])


def _by_brands(system: System, bench: Bench, brands: int) -> float:
    campaigns = []
    for number in range(brands):
        brand = system.manage.create_brand(f"Bench {brands}-{number}", None, None, None, "bench").row
        campaigns.append(system.manage.create_campaigns(brand.id, ["c"], "bench")[0].id)
    return _rate_of(system, [_amounts(bench, campaigns, BATCH) for _ in range(20)])


def _amounts(bench: Bench, campaigns: Sequence[int], size: int) -> list[tuple[int, int]]:
    """Pairs of campaign and micros, campaigns in turn."""
    return [(campaigns[i % len(campaigns)], bench.next_amount()) for i in range(size)]


def _rate_of(system: System, batches: Sequence[list[tuple[int, int]]]) -> float:
    """Spends a second of batches of `Spend`; making the objects is part of the time."""

    def call(facts: list[tuple[int, int]]) -> object:
        return system.client.record_spends([Spend(campaign, None, None, micros) for campaign, micros in facts])

    return rate(sum(map(len, batches)), lambda: [call(facts) for facts in batches])


def _by_processes(system: System, bench: Bench, count: int, size: int = BATCH, busy_poll_us: int = MOST_US) -> float:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(count + 1)
    url, calls = system.settings.redis_url, 60 if size == BATCH else 4000
    given = (url, bench.campaigns, size, calls, busy_poll_us, start)
    crowd = [context.Process(target=_spend, args=given) for _ in range(count)]
    for one in crowd:
        one.start()
    start.wait()

    def work() -> None:
        for one in crowd:
            one.join()

    return rate(count * calls * size, work)


def _spend(url: str, campaigns: list[int], size: int, calls: int, busy_poll_us: int, start: Any) -> None:
    client = BudgetClient.from_url(url, timeout_ms=20_000, busy_poll_us=busy_poll_us)
    facts = [(campaigns[i % len(campaigns)], 1000 + i) for i in range(size)]
    client.record_spends([Spend(campaign, None, None, micros) for campaign, micros in facts])
    start.wait()
    for _ in range(calls):
        client.record_spends([Spend(campaign, None, None, micros) for campaign, micros in facts])


def processor_time(plain: redis.Redis, spends: int, work: Callable[[], object]) -> float:
    """Redis' CPU time a spend during the work, in microseconds."""
    before: Any = plain.info("cpu")
    work()
    after: Any = plain.info("cpu")
    fields = ("used_cpu_user", "used_cpu_sys")
    return float(sum(after[name] - before[name] for name in fields)) / spends * 1e6
