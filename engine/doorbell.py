"""The doorbell: RQ and rq-scheduler ring the jobs. They remember nothing that is owed; losing all of Redis' job data loses no money.

The schedule heals itself. rq-scheduler drops a job for good when it is killed between two commands, doubles jobs that have no id, and dies of
one that it cannot read; here every pass writes what is wanted under fixed ids, throws out what is not, and rings each job under a fresh id.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final

import redis
from rq import Queue, SimpleWorker
from rq.exceptions import DuplicateJobError
from rq.job import Job
from rq_scheduler import Scheduler

from engine import jobs
from engine.domain.periods import at_ms, month_of, month_start_ms, next_month_ms
from engine.jobs import JOBS_QUEUE, PERSIST_QUEUE

log = logging.getLogger(__name__)

QUEUES: Final = (PERSIST_QUEUE, JOBS_QUEUE)
TICK_S: Final = 2
"""How often the scheduler looks; a killed one's lock is in the way for this + 10 s."""
HEARTBEAT_KEY: Final = "budget:scheduler:heartbeat"
HEARTBEAT_S: Final = 30
RESULT_TTL_S: Final = 3600
FAILURE_TTL_S: Final = 7 * 86400
MONTHLY: Final = -1


@dataclass(frozen=True, slots=True)
class Ring:
    """One wanted line of the schedule: ring `job` every `every_s` seconds, counted from 00:00 UTC (MONTHLY: on the 1st at 00:00 UTC)."""

    job: str
    queue: str
    every_s: int
    timeout_s: int

    def due_after(self, now_s: float) -> int:
        """The first due time (epoch seconds) after an instant."""
        if self.every_s == MONTHLY:
            return next_month_ms(int(now_s * 1000)) // 1000
        return (int(now_s) // self.every_s + 1) * self.every_s

    def due_before(self, now_s: float) -> int:
        """The last due time up to an instant."""
        if self.every_s == MONTHLY:
            return month_start_ms(month_of(int(now_s * 1000))) // 1000
        return int(now_s) // self.every_s * self.every_s


SCHEDULE: Final = (
    Ring("persist", PERSIST_QUEUE, 60, jobs.PERSIST_LONGEST_S + 60),
    Ring("publish", JOBS_QUEUE, 60, 120),
    Ring("check", JOBS_QUEUE, 300, 600),
    Ring("close_day", JOBS_QUEUE, 86400, 1800),
    Ring("close_month", JOBS_QUEUE, MONTHLY, 1800),
)


def schedule_id(ring: Ring) -> str:
    """The fixed id under which a line stands in the schedule (rq-scheduler allows no colon)."""
    return f"schedule-{ring.job}"


def ring_now(connection: redis.Redis, ring: Ring, due_s: int | None = None) -> bool:
    """Queues one run under a fresh id, unless one is waiting already. True when it was queued."""
    queue = Queue(ring.queue, connection=connection)
    if any(waiting.startswith(f"{ring.job}-") for waiting in queue.job_ids):
        return False
    run_id = f"{ring.job}-{at_ms((due_s or int(time.time())) * 1000):%Y%m%dT%H%M%S}" + (
        "" if due_s else f"-{os.getpid()}"
    )
    try:
        queue.enqueue_call(
            jobs.BY_NAME[ring.job],
            timeout=ring.timeout_s,
            job_id=run_id,
            unique=True,
            result_ttl=RESULT_TTL_S,
            failure_ttl=FAILURE_TTL_S,
            description=f"engine.jobs.{ring.job}",
        )
    except DuplicateJobError:
        return False
    return True


class HealingScheduler(Scheduler):  # type: ignore[misc]  # rq-scheduler has no types
    """rq-scheduler with a schedule that is written anew on each pass and rings under fresh ids."""

    def enqueue_jobs(self) -> list[str]:
        """One pass: heal the schedule, then ring what is due. Holds rq-scheduler's lock."""
        self.connection.set(HEARTBEAT_KEY, int(time.time() * 1000), ex=HEARTBEAT_S)
        self.heal()
        now = time.time()
        rung = []
        for ring in SCHEDULE:
            due = self.connection.zscore(self.scheduled_jobs_key, schedule_id(ring))
            if due is not None and due <= now:
                if ring_now(self.connection, ring, ring.due_before(now)):
                    rung.append(ring.job)
                # One command moves the line on: there is no moment in which it is gone.
                self.connection.zadd(self.scheduled_jobs_key, {schedule_id(ring): ring.due_after(now)})
        return rung

    def heal(self) -> list[str]:
        """Puts back what is missing or stands too late, and throws out what is not ours; answers what it mended."""
        mended = []
        now = time.time()
        wanted = {schedule_id(ring): ring for ring in SCHEDULE}
        for raw, due in self.connection.zrange(self.scheduled_jobs_key, 0, -1, withscores=True):
            name = raw.decode()
            if name not in wanted:
                self.connection.zrem(self.scheduled_jobs_key, raw)
                mended.append(f"removed {name}")
            elif due > wanted[name].due_after(now):
                self.connection.zadd(self.scheduled_jobs_key, {name: wanted[name].due_after(now)})
                mended.append(f"moved {name}")
        for name, ring in wanted.items():
            if not self._job_reads(name):
                self._create_job(
                    jobs.BY_NAME[ring.job],
                    id=name,
                    queue_name=ring.queue,
                    timeout=ring.timeout_s,
                    result_ttl=-1,
                    description=f"every {ring.every_s} s" if ring.every_s != MONTHLY else "on the 1st",
                    meta={"interval": ring.every_s},
                )
                mended.append(f"wrote {name}")
            if self.connection.zscore(self.scheduled_jobs_key, name) is None:
                self.connection.zadd(self.scheduled_jobs_key, {name: ring.due_after(now)})
                mended.append(f"scheduled {name}")
        return mended

    def _job_reads(self, name: str) -> bool:
        try:
            job = Job.fetch(name, connection=self.connection)
            return bool(job.func_name)
        except Exception:
            # Whatever is wrong with it, it is written anew: that is what healing means here.
            self.connection.delete(f"rq:job:{name}")
            return False


def missing_from_schedule(connection: redis.Redis) -> list[str]:
    """The wanted lines that do not stand in the schedule, for doctor."""
    return [ring.job for ring in SCHEDULE if connection.zscore(Scheduler.scheduled_jobs_key, schedule_id(ring)) is None]


class StoppableWorker(SimpleWorker):
    """An RQ worker that works in its own process and tells a long job to end when it is asked to stop."""

    def handle_warm_shutdown_request(self) -> None:
        jobs.STOPPING.set()
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]  # RQ leaves it untyped


def run_scheduler(connection: redis.Redis) -> None:
    """Rings until SIGTERM or Ctrl-C. Waits for a Redis that is away."""
    _until_stopped(
        "scheduler", lambda: HealingScheduler(JOBS_QUEUE, interval=TICK_S, connection=connection).run(), connection
    )


def run_worker(connection: redis.Redis, queue: str) -> None:
    """Works one queue until SIGTERM or Ctrl-C, and rings its jobs once at the start. Waits for a Redis that is away."""

    def work() -> None:
        for ring in SCHEDULE:
            if ring.queue == queue:
                ring_now(connection, ring)
        worker = StoppableWorker(
            [queue], connection=connection, name=f"{queue}-{os.uname().nodename}-{os.getpid()}-{int(time.time())}"
        )
        worker.work(logging_level="WARNING")

    _until_stopped(f"worker {queue}", work, connection)


def _until_stopped(what: str, run: Callable[[], Any], connection: redis.Redis) -> None:
    """Runs a loop that redis-py's errors end, again and again, until a signal ends it for good."""

    def stop(number: int, frame: FrameType | None) -> None:
        jobs.STOPPING.set()
        raise SystemExit(0)

    while not jobs.STOPPING.is_set():
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        try:
            connection.ping()
            run()
            return
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            log.warning("%s waits for the jobs Redis: %s", what, error)
            jobs.STOPPING.wait(1)
