"""Kills of the persisting worker, spread over its named points, while spends come in; then what PostgreSQL has against what was answered."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Mapping

from engine import jobs
from engine.client.sync import Spend
from engine.wiring import System
from tests.faults.dying_worker import POINTS, die_at
from tests.faults.figures import Figures
from tests.patience import PATIENCE_S
from tests.processes.conftest import Processes, brand_of, rows, until, verified

BATCH = 100
SHARDS = 5
FORMS = ("rows", "packed")
"""Of the log, in turn; in twice as many kills as there are points each point is died at in both."""


def kill_again_and_again(
    system: System, processes: Processes, kills: int, spends: int, seed: int, environment: Mapping[str, str]
) -> Figures:
    """Reports `spends` in portions; after each a worker starts and dies at the next point, in the next form of the log.

    At the end one that does not die drains the rest.
    """
    chance = random.Random(seed)
    system.rebuilder.rebuild_missing()
    campaigns = [c for i in range(SHARDS) for c in brand_of(system, f"brand {i}")[1]]
    acknowledged: dict[str, int] = {}
    for kill in range(kills):
        portion = spends * (kill + 1) // kills - spends * kill // kills
        for first in range(0, portion, BATCH):
            batch = [Spend(campaigns[(first // BATCH) % len(campaigns)], amount_micros=chance.randint(1, 9999))]
            batch *= min(BATCH, portion - first)
            # The last batch of each portion goes spend by spend.
            calls = [batch] if first + BATCH < portion else [[spend] for spend in batch]
            for number, call in enumerate(calls):
                request = f"kill-{kill}-{first}-{number}"
                assert {a.outcome for a in system.client.record_spends(call, request_id=request)} == {"recorded"}
                acknowledged[request] = sum(spend.amount_micros or 0 for spend in call)
        point = POINTS[kill % len(POINTS)]
        most = 64 if "trim" in point else SHARDS
        form = FORMS[(kill + kill // len(POINTS)) % len(FORMS)]
        _die(point, chance.randint(1, most), {**environment, "SPEND_LOG": form})
    worker = processes.start("worker", "--queue", "persist")
    until(lambda: rows(system, "SELECT count(*) FROM spend")[0][0] >= spends, why=lambda: worker.said[-2000:])
    worker.stop()
    found = dict(rows(system, "SELECT request_id, sum(amount_micros)::bigint FROM spend GROUP BY 1"))
    count = rows(system, "SELECT count(*) FROM spend")[0][0]
    seen = Figures(attempts=len(acknowledged), acknowledged=spends, faults=kills, more=f"rows {count:,}  seed {seed}")
    for request, micros in acknowledged.items():
        seen.lost += max(micros - found.get(request, 0), 0)
        seen.doubled += max(found.get(request, 0) - micros, 0)
    assert count == spends, seen
    assert found.keys() == acknowledged.keys()
    assert verified(system) == []
    return seen


def _die(point: str, nth: int, environment: Mapping[str, str]) -> None:
    """A worker in a process of its own, forked so that it need not load everything anew, until its end."""
    child = os.fork()
    if child == 0:
        try:
            os.environ.update(environment)
            jobs.services.cache_clear()
            die_at(point, nth)
            jobs.persist()
        finally:
            os._exit(1)
    give_up = time.monotonic() + PATIENCE_S
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > give_up:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError(f"{point} {nth} was not reached within {PATIENCE_S:g} s")
        time.sleep(0.005)
    assert os.waitstatus_to_exitcode(ended[1]) == -signal.SIGKILL, f"{point} {nth}: it ended by itself"
