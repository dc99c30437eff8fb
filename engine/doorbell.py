"""The doorbell: enqueues the periodic jobs with RQ and rq-scheduler. It stores no pending work, so losing all job
data in Redis loses no money.

The schedule repairs itself. rq-scheduler loses a job when it is killed between two commands, duplicates jobs without
an id, and dies of a job that it cannot read. So every pass writes the wanted schedule under fixed ids, removes
everything else, and enqueues each job under a new id.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, Final, NoReturn

import redis
from rq import Queue, SimpleWorker
from rq.exceptions import DequeueTimeout, DuplicateJobError, StopRequested
from rq.job import Job
from rq.utils import now as rq_now
from rq.worker import WorkerStatus
from rq_scheduler import Scheduler

from engine import jobs
from engine.domain.periods import at_ms
from engine.domain.seldom import Seldom
from engine.errors import BudgetError, shown
from engine.job_table import JOBS, JOBS_QUEUE, MONTHLY, QUEUES
from engine.job_table import Job as Row
from engine.ledger.locks import LOCKED_OUT, is_held
from engine.rq_gate import refusal
from engine.stranded import StrandedJobs, drop_unreadable, popped, requeue, set_aside
from engine.views.board import ANSWER_S
from engine.views.health import HEARTBEAT_KEY, jobs_away
from engine.wiring import JOBS_ANSWER_S

log = logging.getLogger(__name__)

TICK_S: Final = 2
"""Seconds between two passes of the scheduler. After a kill its lock stays for TICK_S + 10 s."""
HEARTBEAT_S: Final = 30
FAILURE_TTL_S: Final = 86400
"""Seconds for which RQ keeps a failed run. A job that fails every minute leaves at most some thousand of them."""
REMIND_S: Final = 30.0
STOP_S: Final = 2.0
"""Seconds from SIGTERM until a running job is interrupted. Its transaction rolls back, and the next run repeats it."""
DEQUEUE_S: Final = 1
"""Seconds for which a worker blocks in Redis for its next job."""


def schedule_id(row: Row) -> str:
    """The fixed id of a job in the schedule (rq-scheduler allows no colon)."""
    return f"schedule-{row.name}"


def enqueue_now(connection: redis.Redis, row: Row, due_s: int | None = None) -> bool:
    """Enqueues one run under a new id, unless one is already in the queue. True when it was enqueued."""
    queue = Queue(row.queue, connection=connection)
    # Read raw: RQ would fail on an entry that is not text.
    waiting: Any = connection.lrange(queue.key, 0, -1)
    if any(name.startswith(f"{row.name}-".encode()) for name in waiting):
        return False
    at = at_ms((int(time.time()) if due_s is None else due_s) * 1000)
    run_id = f"{row.name}-{at:%Y%m%dT%H%M%S}" + (f"-{uuid.uuid4().hex[:8]}" if due_s is None else "")
    try:
        queue.enqueue_call(
            jobs.FUNCTIONS[row.name],
            timeout=row.timeout_s,
            job_id=run_id,
            unique=True,
            result_ttl=row.result_ttl_s,
            failure_ttl=FAILURE_TTL_S,
            description=f"engine.jobs.{row.name}",
        )
    except DuplicateJobError:
        return False
    return True


class HealingScheduler(Scheduler):  # type: ignore[misc]  # rq-scheduler has no types
    """rq-scheduler with a schedule that is rewritten on each pass, and a new id for every run."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._stranded = StrandedJobs(self.connection, QUEUES)
        self._seldom = Seldom()

    def enqueue_jobs(self) -> list[str]:
        """One pass: repair the schedule, enqueue again what a dead worker had popped, then enqueue what is due. Holds
        rq-scheduler's lock.
        """
        self.connection.set(HEARTBEAT_KEY, int(time.time() * 1000), ex=HEARTBEAT_S)
        begun = self.connection.exists(self.scheduled_jobs_key)
        if (repaired := self.heal()) and begun:
            self._seldom.say(log.warning, f"the schedule was repaired: {', '.join(repaired)}")
        self._stranded.look()
        now = time.time()
        enqueued = []
        for row in JOBS:
            due = self.connection.zscore(self.scheduled_jobs_key, schedule_id(row))
            if due is None or due > now:
                continue
            try:
                if enqueue_now(self.connection, row, row.due_before(now)):
                    enqueued.append(row.name)
            except redis.ResponseError as error:
                # Its queue is not a list. The other jobs are enqueued all the same.
                log.error("%s cannot be enqueued: %s", row.name, error)
            # One command sets the next time, so the job is never missing from the schedule.
            self.connection.zadd(self.scheduled_jobs_key, {schedule_id(row): row.due_after(now)})
        return enqueued

    def remove_lock(self) -> None:
        """Releases the lock for the next pass. Skipped where Redis is away: the lock then expires by itself."""
        if not isinstance(sys.exc_info()[1], redis.ConnectionError | redis.TimeoutError):
            super().remove_lock()

    def register_death(self) -> None:
        """Removes the entry of a running scheduler. Skipped where Redis is away."""
        if not isinstance(sys.exc_info()[1], redis.ConnectionError | redis.TimeoutError):
            super().register_death()

    def heal(self) -> list[str]:
        """Restores jobs that are missing or scheduled too late, and removes foreign ones. Returns what it repaired."""
        repaired = []
        if self.connection.type(self.scheduled_jobs_key) not in (b"zset", b"none"):
            self.connection.delete(self.scheduled_jobs_key)
            repaired.append("removed a schedule that was none")
        now = time.time()
        wanted = {schedule_id(row): row for row in JOBS}
        for raw, due in self.connection.zrange(self.scheduled_jobs_key, 0, -1, withscores=True):
            name = raw.decode(errors="backslashreplace")
            if name not in wanted:
                self.connection.zrem(self.scheduled_jobs_key, raw)
                repaired.append(f"removed {name!r:.80}")
            elif due > wanted[name].due_after(now):
                self.connection.zadd(self.scheduled_jobs_key, {name: wanted[name].due_after(now)})
                repaired.append(f"moved {name}")
        for name, row in wanted.items():
            if not self._job_reads(name):
                self._create_job(
                    jobs.FUNCTIONS[row.name],
                    id=name,
                    queue_name=row.queue,
                    timeout=row.timeout_s,
                    result_ttl=-1,
                    description=f"every {row.every_s} s" if row.every_s != MONTHLY else "on the 1st",
                    meta={"interval": row.every_s},
                )
                repaired.append(f"wrote {name}")
            if self.connection.zscore(self.scheduled_jobs_key, name) is None:
                self.connection.zadd(self.scheduled_jobs_key, {name: row.due_after(now)})
                repaired.append(f"scheduled {name}")
        return repaired

    def _job_reads(self, name: str) -> bool:
        try:
            job = Job.fetch(name, connection=self.connection)
            return bool(job.func_name)
        except (redis.ConnectionError, redis.TimeoutError):
            raise
        except Exception:  # noqa: BLE001  # a job that cannot be read for any reason is written again
            self.connection.delete(f"rq:job:{name}")
            return False

    def _install_signal_handlers(self) -> None:
        """Keeps our handlers: those of rq-scheduler call Redis before they end the process, and Redis may be away."""


def missing_from_schedule(connection: redis.Redis) -> list[str]:
    """The jobs that are not in the schedule, for doctor."""
    return [row.name for row in JOBS if connection.zscore(Scheduler.scheduled_jobs_key, schedule_id(row)) is None]


class _RedisLost(StopRequested):
    """Redis is away or hangs. It ends the worker's loop."""


class _EndOnLossQueue(Queue):
    """A queue that ends the worker's loop when Redis is lost: RQ's own loop would retry silently for minutes. What is no job that can be read
    is set aside: RQ's own loop would end.
    """

    @classmethod
    def dequeue_any(cls, queues: Iterable[Queue], *args: Any, **options: Any) -> Any:
        """Returns the next job and its queue. Raises _RedisLost."""
        while True:
            try:
                return super().dequeue_any(queues, *args, **options)
            except (redis.ConnectionError, redis.TimeoutError) as error:
                raise _RedisLost from error
            except DequeueTimeout:
                raise
            except Exception:
                if not sum(drop_unreadable(queue.connection, queue.name) for queue in queues):
                    raise


class StoppableWorker(SimpleWorker):
    """An RQ worker that runs jobs in its own process, stops a job soon after SIGTERM, and ends without a message when
    Redis is away.

    lost: the error that showed that Redis is away or hangs.
    """

    queue_class = _EndOnLossQueue
    lost: BaseException | None = None
    dequeue_timeout = DEQUEUE_S
    connection_timeout = JOBS_ANSWER_S
    """Replaces RQ's own timeouts, which are minutes long."""

    def dequeue_job_and_maintain_ttl(self, *args: Any, **options: Any) -> tuple[Job, Queue] | None:
        """Returns the next job. Ends the loop when Redis is away or hangs."""
        try:
            return super().dequeue_job_and_maintain_ttl(*args, **options)
        except _RedisLost as loss:
            self._lose(loss.__cause__)

    def teardown(self) -> None:
        """Unregisters this worker with RQ, unless Redis is away."""
        if self.lost is None:
            super().teardown()  # type: ignore[no-untyped-call]  # RQ leaves it untyped

    def _lose(self, error: BaseException | None) -> NoReturn:
        self.lost = error
        raise StopRequested from None

    def handle_warm_shutdown_request(self) -> None:
        """On SIGTERM or Ctrl-C: lets the job end after its transaction, and interrupts it after STOP_S."""
        jobs.STOPPING.set()
        if self.get_state() == WorkerStatus.BUSY:
            signal.signal(signal.SIGALRM, _interrupt)
            signal.setitimer(signal.ITIMER_REAL, STOP_S)

    def set_shutdown_requested_date(self) -> None:
        """Stores the time of the stop for RQ's pages. Skipped where Redis is away, because the stop matters more."""
        try:
            super().set_shutdown_requested_date()  # type: ignore[no-untyped-call]  # RQ leaves it untyped
        except redis.RedisError:
            pass

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Runs a job. Ends the loop when RQ cannot store the job's end: the run is in job_run, and run_worker waits
        for Redis.
        """
        try:
            super().execute_job(job, queue)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            log.warning("RQ was not told the end of %s: %s", job.id, error)
            self._lose(error)
        except StopRequested:
            raise
        except Exception as error:  # noqa: BLE001  # RQ cannot begin or end what somebody planted; our jobs go on
            log.error("%s is no job that RQ can run: %s: %s", job.id, type(error).__name__, shown(str(error)))
            set_aside(self.connection, queue.name, job.id.encode(), "RQ could not begin it")

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """Logs an error that was raised on purpose in one line, any other with its traceback."""
        if isinstance(why := refusal(exc_info[1]), BudgetError) or (why is not None and is_held(why)):
            log.error("%s failed: %s", job.id, why if isinstance(why, BudgetError) else LOCKED_OUT)
        elif not isinstance(exc_info[1], redis.ConnectionError | redis.TimeoutError):
            super().handle_exception(job, *exc_info)

    def run_maintenance_tasks(self) -> None:
        """RQ's own housekeeping, each quarter of an hour. A foreign entry in its lists ends one part of it, and never
        the worker.
        """
        self.last_cleaned_at = rq_now()  # type: ignore[assignment]  # RQ begins it with None
        for part in (self.clean_registries, self.clean_group_registries):
            try:
                part()  # type: ignore[no-untyped-call]  # RQ leaves it untyped
            except (redis.ConnectionError, redis.TimeoutError):
                raise
            except Exception as error:  # noqa: BLE001  # our jobs must run whatever is in those lists
                log.error("RQ's lists were not tidied: %s: %s", type(error).__name__, shown(str(error)))

    def subscribe(self) -> None:
        """Disabled: signals stop a worker, not RQ's remote commands. So no further thread can fail."""

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """RQ calls it before each wait for Redis, which may take minutes. It ends the loop instead, and run_worker
        waits.
        """
        try:
            super().heartbeat(timeout, pipeline)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            self._lose(error)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if jobs.WORKING.is_set():
        raise jobs.Stopped


class _Reminder:
    """Logs why something waits: at once, when the reason changes, and every half minute."""

    def __init__(self, what: str, connection: redis.Redis) -> None:
        self._what = what
        self._connection = connection
        self._last_logged = ("", 0.0)

    def waits(self, error: Exception) -> None:
        why = type(error).__name__
        if why != self._last_logged[0] or time.monotonic() - self._last_logged[1] >= REMIND_S:
            log.warning("%s waits for the jobs Redis: %s", self._what, jobs_away(self._connection, error))
            self._last_logged = (why, time.monotonic())

    def goes_on(self) -> None:
        if self._last_logged[0]:
            log.warning("%s goes on: the jobs Redis answers again", self._what)
            self._last_logged = ("", 0.0)


def run_scheduler(connection: redis.Redis) -> None:
    """Enqueues jobs until SIGTERM or Ctrl-C. Waits for a Redis that is away."""
    # Otherwise a second scheduler that waits for the lock would log every two seconds.
    logging.getLogger("rq_scheduler").setLevel(logging.ERROR)
    _run_until_stopped(
        "scheduler", lambda: HealingScheduler(JOBS_QUEUE, interval=TICK_S, connection=connection).run(), connection
    )


def run_worker(connection: redis.Redis, queue: str) -> None:
    """Works one queue until SIGTERM or Ctrl-C. At the start it enqueues again what an earlier worker popped and never
    began, and enqueues the queue's jobs once. Waits for a Redis that is away.
    """
    logging.getLogger("rq.worker").addFilter(lambda record: "could not connect to Redis" not in record.msg)

    def work() -> None:
        requeue(connection, queue, popped(connection, queue))
        for row in JOBS:
            if row.queue == queue:
                enqueue_now(connection, row)
        name = f"{queue}-{os.uname().nodename}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        made = StoppableWorker([queue], connection=connection, name=name)
        made.work(logging_level="WARNING")
        if made.lost is not None:
            raise made.lost

    _run_until_stopped(f"worker {queue}", work, connection)


def _check_answers(connection: redis.Redis) -> None:
    """Sends a PING with a short timeout. Raises redis-py's errors where Redis is away or hangs; RQ's own connection
    would wait for minutes.
    """
    pool = connection.connection_pool
    kwargs = {**pool.connection_kwargs, "socket_timeout": ANSWER_S, "socket_connect_timeout": ANSWER_S, "retry": None}
    with redis.Redis(
        connection_pool=redis.ConnectionPool(connection_class=pool.connection_class, **kwargs)
    ) as impatient:
        impatient.ping()
        impatient.connection_pool.disconnect()


def _run_until_stopped(what: str, run: Callable[[], Any], connection: redis.Redis) -> None:
    """Runs a loop that redis-py's errors end, again and again, until a signal ends it for good."""

    def stop(number: int, frame: FrameType | None) -> None:
        jobs.STOPPING.set()
        raise SystemExit(0)

    reminder = _Reminder(what, connection)
    try:
        while not jobs.STOPPING.is_set():
            signal.signal(signal.SIGTERM, stop)
            signal.signal(signal.SIGINT, stop)
            try:
                _check_answers(connection)
                reminder.goes_on()
                run()
            except (redis.RedisError, OSError) as error:
                if not jobs.STOPPING.is_set():
                    reminder.waits(error)
            jobs.STOPPING.wait(1)
    except StopRequested:
        # RQ's own handler raised it while its loop was ending.
        jobs.STOPPING.set()
