"""Persist workers side by side: even shares of the shards, and a dead worker's go to the others."""

from __future__ import annotations

import os
import signal
import time

import pytest
from sqlalchemy import text

from engine.ledger import persist_workers
from engine.wiring import System
from tests.patience import in_time
from tests.processes.conftest import Load, Processes, brand_of, count, lost_and_doubled, ready, rows, until, verified

TAKEN_OVER_S = 10


@pytest.mark.long
def test_three_workers_share_the_shards_and_a_killed_ones_are_taken_over(
    system: System, processes: Processes, hot_url: str
) -> None:
    def there() -> list[str]:
        with system.db.connect() as conn:
            return persist_workers.there(conn)

    workers = []
    for _ in range(3):
        # Each finds the queue empty at its start and enqueues its job: there is no scheduler here.
        workers.append(processes.start("worker", "--queue", "persist"))
        until(lambda: len(there()) == len(workers), why=processes.said)
    until(lambda: ready(system), why=processes.said)
    campaigns = []
    for shard in (1, 22, 43):
        # Brands of three shards of each worker.
        with system.db.begin() as conn:
            conn.execute(text("SELECT setval(pg_get_serial_sequence('brand', 'id'), :last, false)"), {"last": shard})
        campaigns += [brand_of(system, f"brand {shard + i}", 1)[1][0] for i in range(3)]
    with Load(hot_url, campaigns) as load:
        until(lambda: count(system, "spend") > 300, why=processes.said)
        dead = workers[1]
        os.kill(dead.process.pid, signal.SIGKILL)
        dead.process.wait()
        killed = time.monotonic()
        for campaign in campaigns:
            system.client.record_spend(campaign, "1", event_id=f"after-{campaign}")
        until(
            lambda: rows(system, "SELECT count(*) FROM spend WHERE event_id LIKE 'after-%'") == [(len(campaigns),)],
            why=processes.said,
        )
        took = time.monotonic() - killed
        load.stop()
    assert in_time(took, TAKEN_OVER_S), f"every shard was persisted again after {took:.1f} s"
    assert len(there()) == 2
    until(lambda: count(system, "spend") >= load.spends + len(campaigns), why=processes.said)
    for worker in (workers[0], workers[2]):
        assert in_time(worker.stop(), 3)
    assert there() == [], "a worker that ends leaves its shards to the others at once"
    details = [
        detail
        for (detail,) in rows(
            system, "SELECT detail FROM job_run WHERE job = 'persist' AND outcome IN ('done', 'waiting')"
        )
    ]
    assert sum(not detail.startswith("0 spends") for detail in details) >= 2, details
    found = rows(
        system, "SELECT event_id, count(*) FROM spend WHERE event_id LIKE 'after-%' GROUP BY 1 HAVING count(*) > 1"
    )
    assert found == []
    assert verified(system) == []
    assert lost_and_doubled(system, load) == (set(), [])
