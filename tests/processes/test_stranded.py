"""A job that a worker popped and never began is not lost: it is queued again, and runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from rq import Queue, Worker
from rq.job import Job
from rq.registry import FinishedJobRegistry, StartedJobRegistry

from engine import stranded
from engine.doorbell import FAILURE_TTL_S, HealingScheduler
from engine.job_table import RESULT_TTL_S
from engine.stranded import StrandedJobs, popped, requeue
from engine.wiring import System
from tests.patience import PATIENCE_S
from tests.processes.conftest import Process, Processes, rows, until

POPPED = "rq:queue:jobs:intermediate"


def rung_by_a_person(connection: redis.Redis, name: str = "publish-by-a-person") -> None:
    """A run that no schedule rings again: what is lost of it stays lost."""
    Queue("jobs", connection=connection).enqueue_call(
        "engine.jobs.publish", job_id=name, result_ttl=RESULT_TTL_S, failure_ttl=FAILURE_TTL_S
    )


def pop(connection: redis.Redis) -> None:
    """What a worker's pop does in Redis."""
    connection.lmove("rq:queue:jobs", POPPED)


def waits_for_a_job(connection: redis.Redis, processes: Processes) -> Process:
    """A worker that has worked off what it rang at its start, and waits in its blocking pop."""
    worker = processes.start("worker", "--queue", "jobs")
    # It registers when it has rung.
    until(lambda: any(f"-{worker.process.pid}-" in each.name for each in Worker.all(connection)), why=processes.said)
    until(lambda: idle(connection), why=processes.said)
    return worker


def idle(connection: redis.Redis) -> bool:
    nothing_left = not connection.exists("rq:queue:jobs", POPPED)
    return (
        nothing_left and StartedJobRegistry("jobs", connection=connection).count == 0 and waiting_pops(connection) == 1
    )


def waiting_pops(connection: redis.Redis) -> int:
    clients: list[Any] = connection.client_list()
    return sum(each["cmd"] == "blmove" for each in clients)


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


def strand(connection: redis.Redis, worker: Process, number: signal.Signals) -> None:
    """The worker is frozen in its blocking pop, so that Redis has moved the job and the worker does not have it yet, and then ended."""
    os.kill(worker.process.pid, signal.SIGSTOP)
    until(lambda: stopped(worker.process.pid))
    rung_by_a_person(connection)
    until(lambda: popped(connection, "jobs") == [b"publish-by-a-person"])
    os.kill(worker.process.pid, number)
    os.kill(worker.process.pid, signal.SIGCONT)
    worker.process.wait(PATIENCE_S)
    until(lambda: not waiting_pops(connection))


def finished(connection: redis.Redis) -> Callable[[], bool]:
    registry = FinishedJobRegistry("jobs", connection=connection)
    return lambda: "publish-by-a-person" in registry.get_job_ids()


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.long), signal.SIGKILL])
def test_a_job_whose_worker_ended_between_taking_and_beginning_it_is_run_by_the_next_worker(
    number: signal.Signals, system: System, processes: Processes, jobs_redis: redis.Redis
) -> None:
    system.rebuilder.rebuild_missing()
    strand(jobs_redis, waits_for_a_job(jobs_redis, processes), number)
    assert popped(jobs_redis, "jobs") == [b"publish-by-a-person"], "nobody has it, and nobody was told"
    runs = len(rows(system, "SELECT 1 FROM job_run WHERE job = 'publish'"))
    worker = processes.start("worker", "--queue", "jobs")
    until(finished(jobs_redis), why=processes.said)
    until(lambda: idle(jobs_redis), why=processes.said)
    job = Job.fetch("publish-by-a-person", connection=jobs_redis)
    assert "brands published" in str(job.return_value())
    # The new worker's own one stood in the queue already, or is one more.
    assert len(rows(system, "SELECT 1 FROM job_run WHERE job = 'publish'")) in (runs + 1, runs + 2)
    assert worker.said.count("publish-by-a-person was taken from queue jobs by a worker that ended") == 1
    assert "Traceback" not in worker.said, worker.said


@pytest.mark.long
def test_a_job_whose_worker_was_killed_is_run_by_a_worker_that_lives_once_the_scheduler_finds_it(
    system: System, processes: Processes, jobs_redis: redis.Redis
) -> None:
    system.rebuilder.rebuild_missing()
    strand(jobs_redis, waits_for_a_job(jobs_redis, processes), signal.SIGKILL)
    # A worker that was there all the time: it took nothing over at its start.
    jobs_redis.rename(POPPED, "away")
    waits_for_a_job(jobs_redis, processes)
    jobs_redis.rename("away", POPPED)
    scheduler = processes.start("scheduler")
    until(finished(jobs_redis), why=processes.said)
    assert "publish-by-a-person was taken from queue jobs by a worker that ended" in scheduler.said
    until(lambda: popped(jobs_redis, "jobs") == [])


def test_an_entry_of_the_queue_that_is_no_job_does_not_keep_a_worker_from_its_work(
    system: System, processes: Processes, jobs_redis: redis.Redis
) -> None:
    """RQ's own worker ends over such an entry, leaves it popped, and ends over it again at each start."""
    jobs_redis.rpush("rq:queue:jobs", b"\xff\xfe")
    jobs_redis.set("rq:job:broken", "no hash")
    jobs_redis.rpush("rq:queue:jobs", "broken")
    rung_by_a_person(jobs_redis)
    worker = processes.start("worker", "--queue", "jobs")
    until(finished(jobs_redis), why=processes.said)
    assert worker.said.count("no job that can be read") == 2, worker.said
    assert worker.said.count("unhandled exception") == 0, "its loop went on"
    until(lambda: popped(jobs_redis, "jobs") == [])


class Clock:
    """Time, moved by the test."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(stranded, "time", made)
    return made


def test_a_job_that_a_worker_is_about_to_begin_is_left_to_it_and_one_that_stays_popped_is_queued_again_once(
    jobs_redis: redis.Redis, clock: Clock
) -> None:
    rung_by_a_person(jobs_redis)
    pop(jobs_redis)
    schedulers = [HealingScheduler("jobs", interval=2, connection=jobs_redis) for _ in range(2)]
    for scheduler in schedulers:
        scheduler.enqueue_jobs()
    clock.now += stranded.GRACE_S - 0.1
    for scheduler in schedulers:
        scheduler.enqueue_jobs()
    assert Queue("jobs", connection=jobs_redis).job_ids == []
    clock.now += 0.2
    for scheduler in schedulers:
        scheduler.enqueue_jobs()
    assert Queue("jobs", connection=jobs_redis).job_ids == ["publish-by-a-person"]
    assert popped(jobs_redis, "jobs") == []
    # Stranded a second time, it has its whole time again.
    pop(jobs_redis)
    schedulers[0].enqueue_jobs()
    assert popped(jobs_redis, "jobs") == [b"publish-by-a-person"]


@pytest.mark.parametrize("status", ["started", "finished", "failed", "canceled", "stopped"])
def test_a_job_that_was_begun_is_never_queued_again(status: str, jobs_redis: redis.Redis) -> None:
    rung_by_a_person(jobs_redis)
    pop(jobs_redis)
    jobs_redis.hset("rq:job:publish-by-a-person", "status", status)
    assert requeue(jobs_redis, "jobs", popped(jobs_redis, "jobs")) == []
    assert popped(jobs_redis, "jobs") == [] and Queue("jobs", connection=jobs_redis).job_ids == []


def test_a_popped_job_that_expired_or_was_deleted_leaves_nothing(jobs_redis: redis.Redis) -> None:
    rung_by_a_person(jobs_redis)
    pop(jobs_redis)
    jobs_redis.delete("rq:job:publish-by-a-person")
    assert requeue(jobs_redis, "jobs", popped(jobs_redis, "jobs")) == []
    assert not jobs_redis.exists(POPPED, "rq:queue:jobs")


def test_an_intermediate_queue_of_another_type_does_not_keep_the_other_from_being_looked_after(
    jobs_redis: redis.Redis, clock: Clock
) -> None:
    jobs_redis.set("rq:queue:persist:intermediate", "x")
    rung_by_a_person(jobs_redis)
    pop(jobs_redis)
    lookout = StrandedJobs(jobs_redis, ("persist", "jobs"))
    assert lookout.look() == []
    clock.now += stranded.GRACE_S
    assert lookout.look() == ["publish-by-a-person"]
