"""How long single spends take at half the rate that one process reaches, and for how much of it who waits for what.

At such a load nothing of ours queues. What makes a spend late is a processor that another process has.
The kernel counts how long a thread that could run has waited for one (`/proc/<pid>/schedstat`).
The figures of client and Redis are printed, so that a run on a busy machine is seen to be one.
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
"""Seconds of sleep that are left before a spend is due.

A process that only looks at the clock has used up its share of a processor, and others go first."""


@dataclass(frozen=True, slots=True)
class HalfLoad:
    """Of single spends, in milliseconds.

    client_waited, redis_waited: the share of the time for which each could run and had no processor.
    None where the system does not tell.
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
    """Of spends on a fixed timetable: a late one is late for its slot.

    Of three runs the one with the p99 in the middle: a machine that stops for a moment makes all late that were due.
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
    """For how long a process' first thread could run and had no processor, since it began; Redis on another machine has none here."""
    try:
        with open(f"/proc/{process}/schedstat", encoding="ascii") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return None
