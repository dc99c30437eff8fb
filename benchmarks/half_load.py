"""Measures the latency of single spends at half the highest rate of one process, and who waited for a CPU meanwhile.

At such a load no call queues. A spend is late when another process has the CPU. The kernel counts how long a runnable
thread waited for a CPU (`/proc/<pid>/schedstat`). The figures of client and Redis are printed, so that a run on a busy
machine can be recognised.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.rows import CAMPAIGNS, Bench
from engine.wiring import System

_RUNS: Final = 3
_SECONDS: Final = 3.0
_NAP_S: Final = 0.0002
"""The last seconds before a spend is due, in which the loop polls the clock instead of sleeping.

A process that polls all the time uses up its share of a CPU, and the kernel prefers others.
"""


@dataclass(frozen=True, slots=True)
class HalfLoad:
    """Latency of single spends in milliseconds. load: spends a second.

    client_waited, redis_waited: the share of the time for which the process was runnable without a CPU. None where the
    system does not report it.
    """

    load: float
    p50: float
    p99: float
    p999: float
    client_waited: float | None
    redis_waited: float | None

    def __str__(self) -> str:
        waited = ""
        if self.client_waited is not None and self.redis_waited is not None:
            waited = (
                f"; meanwhile the client waited for a processor for {self.client_waited:.1%} of the time,"
                f" Redis for {self.redis_waited:.1%}"
            )
        return (
            f"Single spends at half the highest load ({self.load:,.0f}/s): p50 {self.p50:.2f} ms, p99 {self.p99:.2f} ms,"
            f" p99.9 {self.p999:.2f} ms{waited}."
        )


def latency(system: System, bench: Bench) -> HalfLoad:
    """Measures spends that are due at fixed instants, from the instant at which each was due.

    Returns the run with the middle p99 of three: a machine that pauses for a moment delays every spend that was due.
    """
    load = bench.singles() / 2
    return sorted((_run(system, bench, load) for _ in range(_RUNS)), key=lambda run: run.p99)[_RUNS // 2]


def _run(system: System, bench: Bench, load: float) -> HalfLoad:
    client, taken, slot = system.client, [], 1 / load
    server: Any = system.hot_redis.info("server")
    processes = ("self", str(server["process_id"]))
    before = [_waited_s(process) for process in processes]
    began = time.perf_counter()
    for i in range(int(_SECONDS * load)):
        due = began + i * slot
        while (left := due - time.perf_counter()) > 0:
            if left > _NAP_S:
                time.sleep(left - _NAP_S / 2)
        client.record_spend(bench.campaigns[i % CAMPAIGNS], amount_micros=bench.next_amount())
        taken.append(time.perf_counter() - due)
    seconds = time.perf_counter() - began
    after = [_waited_s(process) for process in processes]
    waited = [None if a is None or b is None else (a - b) / seconds for a, b in zip(after, before, strict=True)]
    taken.sort()
    p50, p99, p999 = (taken[int(len(taken) * share)] * 1000 for share in (0.5, 0.99, 0.999))
    return HalfLoad(load, p50, p99, p999, *waited)


def _waited_s(process: str) -> float | None:
    """Seconds for which a process's first thread was runnable without a CPU; None for a Redis on another machine."""
    try:
        with open(f"/proc/{process}/schedstat", encoding="ascii") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return None
