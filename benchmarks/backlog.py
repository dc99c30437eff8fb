"""`python -m benchmarks.backlog [SPENDS ...]`: how long the journal's backlog takes to drain into the spend log, how
steadily, and with how much memory.

For each size the benchmark fills a journal on servers of its own. One spend in a hundred is a single call, the others
are packed batches of a thousand over twenty campaigns of four brands. Then a process of its own drains the journal; the
operating system reports its peak memory.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks import size
from engine.client.sync import Spend
from engine.flows.persist.persister import DrainStats
from engine.local.servers import Urls
from engine.settings import Settings
from engine.wiring import System

SIZES: Final = (100_000, 1_000_000, 10_000_000)
HEAD: Final = (
    "| spends | filled in | drained in | rows a second | slowest and quickest tenth | memory at most |\n"
    "| ---: | ---: | ---: | ---: | --- | ---: |"
)
_BRANDS, _EACH, _BATCH = 4, 5, 1000
_ALONE_IN: Final = 100


@dataclass(frozen=True, slots=True)
class Drain:
    """The figures of one backlog. tenths: rows a second of each tenth. memory_mb: the draining process's peak."""

    spends: int
    filled_s: float
    drained_s: float
    tenths: Sequence[float]
    memory_mb: float

    @property
    def rate(self) -> float:
        """Drained rows a second."""
        return self.spends / self.drained_s

    def line(self) -> str:
        """The figures as a line of the table."""
        return (
            f"| {self.spends:,} | {self.filled_s:.0f} s | {self.drained_s:.1f} s | {self.rate:,.0f}"
            f" | {min(self.tenths):,.0f} to {max(self.tenths):,.0f} | {self.memory_mb:.0f} MB |"
        )


def measure(urls: Urls, sizes: Sequence[int], say: Callable[[str], None]) -> list[Drain]:
    """Measures every size. say: gets each line of the table under HEAD."""
    drains = []
    for spends in sizes:
        with size.fresh(urls) as system:
            filled_s = _fill(system, spends)
            drains.append(_drain(system, spends, filled_s))
        say(drains[-1].line())
    return drains


def _fill(system: System, spends: int) -> float:
    campaigns = []
    for number in range(_BRANDS):
        brand = system.manage.create_brand(f"Backlog {number}", None, None, None, "bench").row
        made = system.manage.create_campaigns(brand.id, [f"c{i}" for i in range(_EACH)], "bench")
        campaigns.append([campaign.id for campaign in made])
    alone = spends // _ALONE_IN
    began, left, batch_number = time.perf_counter(), spends - alone, 0
    batches = [[Spend(of_brand[i % _EACH], None, None, 1000 + 7 * i) for i in range(_BATCH)] for of_brand in campaigns]
    while left:
        batch = batches[batch_number % _BRANDS][:left]
        system.client.record_spends(batch)
        left, batch_number = left - len(batch), batch_number + 1
    for i in range(alone):
        system.client.record_spend(campaigns[i % _BRANDS][i % _EACH], amount_micros=1 + i)
    return time.perf_counter() - began


def _drain(system: System, spends: int, filled_s: float) -> Drain:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_drain_in_process, args=(system.settings.as_environment(), theirs))
    process.start()
    steps, memory_mb = ours.recv()
    process.join()
    assert steps[-1][1] == spends, f"{steps[-1][1]} rows of {spends}"
    tenths, before = [], (0.0, 0)
    for tenth in range(1, 11):
        now = next(step for step in steps if step[1] >= spends * tenth // 10)
        if now != before:
            tenths.append((now[1] - before[1]) / (now[0] - before[0]))
        before = now
    return Drain(spends, filled_s, steps[-1][0], tenths, memory_mb)


def _drain_in_process(environment: dict[str, str], answer: Any) -> None:
    system = System(Settings.load(environment, None))
    steps: list[tuple[float, int]] = []
    began = time.perf_counter()

    def note(so_far: DrainStats) -> None:
        steps.append((time.perf_counter() - began, so_far.rows))

    done = system.persister.drain_all(note)
    note(done)
    answer.send((steps, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
    system.close()


if __name__ == "__main__":
    from benchmarks.embedded import servers

    with servers() as embedded:
        print(HEAD, flush=True)
        measure(embedded, [int(word) for word in sys.argv[1:]] or SIZES, lambda line: print(line, flush=True))
