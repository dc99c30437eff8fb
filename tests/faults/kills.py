"""Kills of the persisting worker, spread over its named points, while spends come in; then what PostgreSQL has against what was answered."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping

from engine.live.client import Spend
from engine.wiring import System
from tests.faults.dying_worker import POINTS
from tests.faults.figures import Figures
from tests.processes.conftest import ROOT, Processes, brand_of, rows, until, verified

BATCH = 100
SHARDS = 5
PATIENCE_S = 30.0


def kill_again_and_again(
    system: System, processes: Processes, kills: int, spends: int, seed: int, environment: Mapping[str, str]
) -> Figures:
    """Reports `spends` in portions; after each a worker starts and dies at the next point. At the end one that does not die drains the rest."""
    chance = random.Random(seed)
    system.rebuilder.rebuild_missing()
    campaigns = [c for i in range(SHARDS) for c in brand_of(system, f"brand {i}")[1]]
    acknowledged: dict[str, int] = {}
    for kill in range(kills):
        portion = spends * (kill + 1) // kills - spends * kill // kills
        for first in range(0, portion, BATCH):
            batch = [Spend(campaigns[(first // BATCH) % len(campaigns)], amount_micros=chance.randint(1, 9999))]
            batch *= min(BATCH, portion - first)
            request = f"kill-{kill}-{first}"
            assert {a.outcome for a in system.client.record_spends(batch, request_id=request)} == {"recorded"}
            acknowledged[request] = sum(spend.amount_micros or 0 for spend in batch)
        point = POINTS[kill % len(POINTS)]
        most = 64 if "trim" in point else SHARDS
        _die(point, chance.randint(1, most), environment)
    worker = processes.start("worker", "--queue", "persist")
    until(
        lambda: rows(system, "SELECT count(*) FROM spend_log")[0][0] >= spends, PATIENCE_S, lambda: worker.said[-2000:]
    )
    worker.stop()
    found = dict(rows(system, "SELECT request_id, sum(amount_micros)::bigint FROM spend_log GROUP BY 1"))
    count = rows(system, "SELECT count(*) FROM spend_log")[0][0]
    seen = Figures(attempts=len(acknowledged), acknowledged=spends, faults=kills, more=f"rows {count:,}  seed {seed}")
    for request, micros in acknowledged.items():
        seen.lost += max(micros - found.get(request, 0), 0)
        seen.doubled += max(found.get(request, 0) - micros, 0)
    assert count == spends, seen
    assert found.keys() == acknowledged.keys()
    assert verified(system) == []
    return seen


def _die(point: str, nth: int, environment: Mapping[str, str]) -> None:
    died = subprocess.run(
        [sys.executable, "-m", "tests.faults.dying_worker", point, str(nth)],
        cwd=ROOT,
        env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE_S,
        text=True,
    )
    assert died.returncode == -signal.SIGKILL, f"{point} {nth}: {died.returncode}\n{died.stdout}"
