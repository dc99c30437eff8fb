"""Worker and scheduler as processes: spends arrive within about a second, signals end them soon, kill -9 loses and doubles nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from rq import Queue, Worker
from rq.job import Job
from rq.registry import FailedJobRegistry, FinishedJobRegistry
from sqlalchemy import text

from engine.client.sync import Spend
from engine.doorbell import FAILURE_TTL_S
from engine.job_table import BY_NAME, QUEUES, RESULT_TTL_S
from engine.processes import NICENESS
from engine.wiring import System
from tests.conftest import SUITE_MARK
from tests.patience import in_time
from tests.processes.conftest import Load, Processes, brand_of, count, lost_and_doubled, ready, rows, until, verified

SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN NULL; END';
CREATE TRIGGER slow AFTER INSERT ON spend_log FOR EACH STATEMENT EXECUTE FUNCTION slow();
"""


def test_a_worker_makes_redis_ready_carries_spends_and_pauses_what_ran_out_within_about_a_second(
    system: System, processes: Processes
) -> None:
    worker = processes.start("worker", "--queue", "persist")
    until(lambda: ready(system), why=processes.said)
    brand, campaigns = brand_of(system, "Aurora", 3, daily=5_000_000)
    system.client.record_spend(campaigns[0], "1")
    assert in_time(until(lambda: count(system) == 1), 2)
    system.client.record_spend(campaigns[1], "4")
    took = until(lambda: {c.reasons for c in system.catalog.campaigns(brand)} == {("daily_budget",)})
    assert in_time(took, 2), f"paused after {took:.2f} s"
    system.catalog.update_brand(brand, "anna", daily_budget_micros=9_000_000)  # as with Redis away: kept, not published
    took = until(lambda: {c.status for c in system.catalog.campaigns(brand)} == {"active"})
    assert in_time(took, 3), f"published after {took:.2f} s"
    assert in_time(worker.stop(), 3)
    assert "Traceback" not in worker.said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("queue", ["persist", "jobs"])
def test_a_signal_ends_a_worker_within_three_seconds_and_leaves_no_run_running(
    queue: str, number: signal.Signals, system: System, processes: Processes, jobs_redis: redis.Redis
) -> None:
    worker = processes.start("worker", "--queue", queue)
    job = "persist" if queue == "persist" else "check"
    until(lambda: rows(system, "SELECT 1 FROM job_run WHERE job = :job", job=job), why=processes.said)
    assert in_time(worker.stop(number), 3)
    assert worker.process.returncode == 0
    assert "Traceback" not in worker.said, worker.said
    assert rows(system, "SELECT job, outcome, detail FROM job_run WHERE outcome IN ('running', 'failed')") == []
    assert FailedJobRegistry(queue, connection=jobs_redis).get_job_ids() == []
    assert Worker.all(connection=jobs_redis) == []


def test_checks_and_closes_give_way_to_spends_on_a_busy_machine_and_persist_does_not(
    processes: Processes, system: System
) -> None:
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    checks, persist = (processes.start("worker", "--queue", queue) for queue in ("jobs", "persist"))
    until(lambda: ready(system) and rows(system, "SELECT 1 FROM job_run WHERE job = 'check'"), why=processes.said)
    assert os.getpriority(os.PRIO_PROCESS, checks.process.pid) == max(ours, NICENESS)
    assert os.getpriority(os.PRIO_PROCESS, persist.process.pid) == ours


def test_a_worker_that_waits_for_postgresql_ends_at_once(processes: Processes, system: System) -> None:
    processes.environment = {**processes.environment, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    worker = processes.start("worker", "--queue", "persist")
    until(lambda: "PostgreSQL cannot be reached" in worker.said)
    assert in_time(worker.stop(), 3)
    assert worker.process.returncode == 0
    assert worker.said.count("\n") < 6 and "Traceback" not in worker.said, worker.said


@pytest.mark.long
def test_a_signal_in_the_middle_of_a_large_backlog_ends_the_job_after_its_transaction(
    system: System, processes: Processes, jobs_redis: redis.Redis
) -> None:
    system.rebuilder.rebuild_missing()
    _, (campaign, _) = brand_of(system, "Aurora")
    for _ in range(400):
        system.client.record_spends([Spend(campaign, "0.001")] * 1000)
    # Each of the four transactions takes a second more, or a quick PostgreSQL would be through before the signal.
    with system.db.begin() as conn:
        conn.execute(text(SLOW))
    worker = processes.start("worker", "--queue", "persist")
    until(lambda: rows(system, "SELECT 1 FROM job_run WHERE job = 'persist'"), why=processes.said)
    assert in_time(worker.stop(), 3)
    assert count(system) < 400_000, "the signal came in the middle of it"
    assert rows(system, "SELECT outcome FROM job_run WHERE job = 'persist'") in ([("done",)], [("waiting",)])
    assert FailedJobRegistry("persist", connection=jobs_redis).get_job_ids() == []
    assert "Traceback" not in worker.said, worker.said
    with system.db.begin() as conn:
        conn.execute(text("DROP TRIGGER slow ON spend_log"))
    processes.start("worker", "--queue", "persist")
    until(lambda: count(system) == 400_000, why=processes.said)
    assert verified(system) == []


@pytest.mark.long
def test_workers_that_are_killed_again_and_again_under_load_lose_and_double_nothing(
    system: System, processes: Processes, hot_url: str
) -> None:
    worker = processes.start("worker", "--queue", "persist")
    until(lambda: ready(system), why=processes.said)
    campaigns = [c for i in range(4) for c in brand_of(system, f"brand {i}")[1]]
    with Load(hot_url, campaigns) as load:
        for _ in range(4):
            before = count(system)
            until(lambda before=before: count(system) > before + 50, why=processes.said)  # type: ignore[misc]
            os.kill(worker.process.pid, signal.SIGKILL)
            worker.process.wait()
            worker = processes.start("worker", "--queue", "persist")
        load.stop()
    until(lambda: count(system) >= load.spends, why=processes.said)
    assert lost_and_doubled(system, load) == (set(), [])
    assert verified(system) == []


@pytest.mark.long
def test_two_persist_workers_and_two_schedulers_at_once_double_nothing(
    system: System, processes: Processes, hot_url: str, jobs_redis: redis.Redis
) -> None:
    for _ in range(2):
        processes.start("worker", "--queue", "persist")
        processes.start("scheduler")
    until(lambda: ready(system), why=processes.said)
    campaigns = [c for i in range(4) for c in brand_of(system, f"brand {i}")[1]]
    with Load(hot_url, campaigns) as load:
        until(lambda: len(load.acknowledged) > 300)
        for run in range(3):
            Queue("persist", connection=jobs_redis).enqueue_call("engine.jobs.persist", job_id=f"again-{run}")
        load.stop()
    until(lambda: count(system) >= load.spends, why=processes.said)
    assert lost_and_doubled(system, load) == (set(), [])
    assert verified(system) == []


def test_the_scheduler_rings_shows_its_runs_and_ends_at_a_signal(
    system: System, processes: Processes, jobs_redis: redis.Redis
) -> None:
    scheduler = processes.start("scheduler")
    until(lambda: jobs_redis.zcard("rq:scheduler:scheduled_jobs") == len(BY_NAME), why=processes.said)
    jobs_redis.zadd("rq:scheduler:scheduled_jobs", {"schedule-check": 1, "schedule-close_day": 1})
    until(lambda: Queue("jobs", connection=jobs_redis).count >= 2, why=processes.said)
    worker = processes.start("worker", "--queue", "jobs")
    finished = FinishedJobRegistry("jobs", connection=jobs_redis)
    until(lambda: {run.split("-")[0] for run in finished.get_job_ids()} >= {"check", "close_day"}, why=processes.said)
    until(
        lambda: (
            {"check", "close_day", "close_month", "publish"}
            <= {j for (j,) in rows(system, "SELECT job FROM job_run WHERE outcome = 'done'")}
        )
    )
    job = Job.fetch(next(run for run in finished.get_job_ids() if run.startswith("check-")), connection=jobs_redis)
    assert "closed" in str(job.return_value())
    assert 0 < jobs_redis.ttl(f"rq:job:{job.id}") <= 3600
    assert in_time(scheduler.stop(), 3)
    assert (scheduler.process.returncode, jobs_redis.exists("rq:scheduler_lock")) == (0, 0)
    assert "Traceback" not in scheduler.said
    assert in_time(worker.stop(), 3)


@pytest.mark.long
def test_nothing_that_a_run_leaves_in_rqs_redis_stays_for_ever(
    system: System, processes: Processes, jobs_redis: redis.Redis
) -> None:
    """Done and failed runs alike: whatever is not one of a handful of fixed keys expires by itself."""
    queue = Queue("jobs", connection=jobs_redis)
    workers = [processes.start("worker", "--queue", name) for name in ("jobs", "persist")]
    until(lambda: ready(system), why=processes.said)
    with system.db.begin() as conn:
        conn.execute(text("ALTER TABLE brand RENAME TO brand_away"))
    for i in range(20):
        queue.enqueue_call(
            "engine.jobs.publish", job_id=f"publish-{i}", result_ttl=RESULT_TTL_S, failure_ttl=FAILURE_TTL_S
        )
    until(lambda: FailedJobRegistry("jobs", connection=jobs_redis).count >= 20, why=processes.said)
    with system.db.begin() as conn:
        conn.execute(text("ALTER TABLE brand_away RENAME TO brand"))
    for i in range(20, 40):
        queue.enqueue_call(
            "engine.jobs.publish", job_id=f"publish-{i}", result_ttl=RESULT_TTL_S, failure_ttl=FAILURE_TTL_S
        )
    # Popped is not done: only what is in no queue and not at work was worked off.
    done = FinishedJobRegistry("jobs", connection=jobs_redis)
    until(
        lambda: (
            {f"publish-{i}" for i in range(20, 40)} <= set(done.get_job_ids())
            and not jobs_redis.exists(queue.key, queue.intermediate_queue_key, queue.started_job_registry.key)
        ),
        why=processes.said,
    )
    for worker in workers:
        assert in_time(worker.stop(), 3)
    fixed = {b"rq:queues", b"rq:finished:jobs", b"rq:finished:persist", b"rq:failed:jobs", SUITE_MARK.encode()}
    staying = {key for key in jobs_redis.scan_iter() if jobs_redis.ttl(key) < 0} - fixed
    assert staying == set()
    for registry in ("rq:finished:jobs", "rq:failed:jobs"):
        assert all(score > 0 for _, score in jobs_redis.zrange(registry, 0, -1, withscores=True)), (
            "RQ drops them by this time"
        )


def test_a_job_that_fails_is_one_line_in_the_log_and_in_job_run(
    system: System, processes: Processes, jobs_redis: redis.Redis
) -> None:
    system.rebuilder.rebuild_missing()
    brand, _ = brand_of(system, "Aurora")
    # Somebody pointed us at another instance's Redis.
    for state in system.live.read_shards():
        system.hot_redis.hset(
            f"budget:{{{state.shard}}}:shard", mapping={"mark": "somebody-else:1", "owner": "somebody-else"}
        )
    system.catalog.update_brand(brand, "anna", name="Borealis")
    worker = processes.start("worker", "--queue", "jobs")
    until(
        lambda: rows(system, "SELECT 1 FROM job_run WHERE job = 'publish' AND outcome = 'failed'"), why=processes.said
    )
    # RQ may have begun another by now.
    ((detail,),) = rows(
        system, "SELECT detail FROM job_run WHERE job = 'publish' AND outcome = 'failed' ORDER BY id LIMIT 1"
    )
    assert f"brand {brand}" in detail and "another instance" in detail and "\n" not in detail
    until(lambda: FailedJobRegistry("jobs", connection=jobs_redis).count > 0)
    (failed, *_) = FailedJobRegistry("jobs", connection=jobs_redis).get_job_ids()
    assert 0 < jobs_redis.ttl(f"rq:job:{failed}") <= 86400
    assert "Traceback" not in worker.said, worker.said


def test_all_queues_in_one_command_end_together_and_leave_no_orphan(processes: Processes, system: System) -> None:
    every = processes.start("worker")
    until(lambda: len(children(every.process.pid)) == 3 and ready(system), why=processes.said)
    kids = children(every.process.pid)
    assert in_time(every.stop(), 3)
    assert every.process.returncode == 0
    until(lambda: not any(map(running, kids)))
    assert rows(system, "SELECT job FROM job_run WHERE outcome = 'running'") == []


@pytest.mark.long
@pytest.mark.parametrize("whom", ["a worker", "the parent"])
def test_when_one_of_them_is_killed_all_end(whom: str, processes: Processes, system: System) -> None:
    every = processes.start("worker")
    until(lambda: len(children(every.process.pid)) == 3 and ready(system), why=processes.said)
    kids = children(every.process.pid)
    os.kill(kids[0] if whom == "a worker" else every.process.pid, signal.SIGKILL)
    until(lambda: not every.alive and not any(map(running, kids)))
    assert every.process.returncode == (1 if whom == "a worker" else -signal.SIGKILL)


@pytest.mark.parametrize("file", ["worker.py", "scheduler.py"])
def test_the_files_at_the_root_run_the_same_processes_and_say_what_is_wrong_in_one_line(
    file: str, processes: Processes, system: System
) -> None:
    started = processes.start(file)
    # As in the tests of the commands: while it still starts, a busy machine takes longer to end it.
    begun: dict[str, Callable[[], object]] = {
        "worker.py": lambda: len(Worker.all(connection=system.jobs_redis)) == len(QUEUES) and ready(system),
        "scheduler.py": lambda: system.jobs_redis.exists("rq:scheduler:scheduled_jobs"),
    }
    until(begun[file], why=processes.said)
    assert in_time(started.stop(), 3)
    processes.environment = {**processes.environment, "REDIS_URL": "nonsense"}
    wrong = processes.start(file)
    until(lambda: not wrong.alive)
    assert wrong.process.returncode == 1
    assert "REDIS_URL" in wrong.said and wrong.said.count("\n") == 1, wrong.said


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
