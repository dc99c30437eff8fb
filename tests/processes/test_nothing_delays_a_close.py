"""Verify and rebuild have no job before or behind them: whatever holds them up, a due check and close run on time, and spends are persisted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import pytest
import redis
from rq import Queue, Worker
from sqlalchemy import text

from engine.doorbell import enqueue_now
from engine.job_table import BY_NAME, QUEUES
from engine.views.health import Part
from engine.wiring import System
from tests.patience import in_time
from tests.processes.conftest import Processes, brand_of, count, ready, rows, until

PATIENCE_S: Final = 60.0
"""For a whole worker to start on a busy machine; how quick a close is, is measured by itself."""


@contextmanager
def verify_waits(system: System, _: int) -> Iterator[Callable[[], bool]]:
    """A verify that cannot go on: a table that it alone reads is locked."""
    with system.db.begin() as conn:
        conn.execute(text("LOCK TABLE dropped_day IN ACCESS EXCLUSIVE MODE"))
        yield lambda: bool(rows(system, "SELECT 1 FROM job_run WHERE job = 'verify' AND outcome = 'running'"))


@contextmanager
def rebuild_waits(system: System, brand: int) -> Iterator[Callable[[], bool]]:
    """A rebuild that cannot go on: it must note a brand as published, whose row is locked."""
    with system.db.begin() as conn:
        conn.execute(text("UPDATE brand SET version = version + 1 WHERE id = :id"), {"id": brand})
    with system.db.begin() as conn:
        conn.execute(text("SELECT 1 FROM brand WHERE id = :id FOR UPDATE"), {"id": brand})
        system.hot_redis.hdel(f"budget:{{{brand % 64}}}:shard", "mark")
        yield lambda: bool(rows(system, "SELECT 1 FROM job_run WHERE job = 'rebuild' AND outcome = 'running'"))


@pytest.mark.parametrize("held_up", [verify_waits, pytest.param(rebuild_waits, marks=pytest.mark.long)])
def test_a_due_check_and_close_run_on_time_while_verify_or_a_rebuild_is_held_up(
    held_up: Callable[[System, int], Iterator[Callable[[], bool]]],
    system: System,
    processes: Processes,
    jobs_redis: redis.Redis,
) -> None:
    system.rebuilder.rebuild_missing()
    brand, (campaign, _) = brand_of(system, "Aurora", daily=5_000_000)
    other, _ = brand_of(system, "Borealis")
    processes.start("worker")
    processes.start("scheduler")
    # What runs at the start has ended: it may need the very row that is locked below.
    until(lambda: rows(system, AT_THE_START) == [(3,)], PATIENCE_S, processes.said)
    with held_up(system, other) as is_held_up:
        jobs_redis.zadd("rq:scheduler:scheduled_jobs", {"schedule-verify": 1})
        until(is_held_up, PATIENCE_S, processes.said)
        # The day before yesterday and yesterday are owed now, and a budget runs out.
        with system.db.begin() as conn:
            conn.execute(
                text("UPDATE brand SET created_at = created_at - interval '2 days' WHERE id = :b"), {"b": brand}
            )
        system.client.record_spend(campaign, "5")
        ((before,),) = rows(system, "SELECT max(id) FROM job_run")
        began = time.monotonic()
        jobs_redis.zadd("rq:scheduler:scheduled_jobs", {"schedule-close_day": 1})
        until(lambda: rows(system, CLOSED, shard=brand % 64) == [(2,)], PATIENCE_S, processes.said)
        # By hand: the check of these five minutes may have run already, and a due time is rung once.
        enqueue_now(jobs_redis, BY_NAME["check"])
        until(lambda: count(system) == 1, PATIENCE_S, processes.said)
        until(lambda: {c.status for c in system.catalog.campaigns(brand)} == {"paused"}, PATIENCE_S, processes.said)
        until(lambda: len(rows(system, ENDED, before=before)) == 2, PATIENCE_S, processes.said)
        assert in_time(time.monotonic() - began, 10)
        assert is_held_up(), "all of it while that was held up"
    until(lambda: ready(system), PATIENCE_S, processes.said)
    until(lambda: not is_held_up(), PATIENCE_S, processes.said)


AT_THE_START = (
    "SELECT count(DISTINCT job) FROM job_run WHERE job IN ('check', 'close_day', 'verify') AND outcome = 'done'"
)
CLOSED = "SELECT count(*) FROM shard_close WHERE shard = :shard AND period = 'day'"
ENDED = "SELECT DISTINCT job FROM job_run WHERE job IN ('check', 'close_day') AND outcome = 'done' AND id > :before"


def test_each_queue_has_a_worker_of_its_own_and_shows_on_the_page_of_jobs(
    system: System, processes: Processes, jobs_redis: redis.Redis
) -> None:
    processes.start("worker")
    until(lambda: rows(system, "SELECT 1 FROM job_run WHERE job = 'verify'"), PATIENCE_S, processes.said)
    # A queue is there with its first job, and its worker may still be starting then.
    until(lambda: len(Worker.all(connection=jobs_redis)) == len(QUEUES), PATIENCE_S, processes.said)
    assert {queue.name for queue in Queue.all(connection=jobs_redis)} == set(QUEUES)
    until(lambda: _worker(system).state == "ok", PATIENCE_S, processes.said)
    assert _worker(system).detail.startswith("3 running")


def _worker(system: System) -> Part:
    (worker,) = [part for part in system.overview.health().parts if part.key == "worker"]
    return worker
