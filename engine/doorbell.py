"""The doorbell: RQ and rq-scheduler ring the jobs. They remember nothing that is owed; losing all of Redis' job data loses no money.

The schedule heals itself. rq-scheduler drops a job for good when it is killed between two commands, doubles jobs that have no id, and dies of
one that it cannot read; here every pass writes what is wanted under fixed ids, throws out what is not, and rings each job under a fresh id.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, NoReturn

import redis
from rq import Queue, SimpleWorker
from rq.exceptions import DuplicateJobError, StopRequested
from rq.job import Job
from rq.utils import now as rq_now
from rq.worker import WorkerStatus
from rq_scheduler import Scheduler

from engine import jobs
from engine.domain.periods import at_ms
from engine.errors import BudgetError, shown
from engine.job_table import JOBS, JOBS_QUEUE, MONTHLY, QUEUES
from engine.job_table import Job as Row
from engine.rq_gate import refusal
from engine.stranded import StrandedJobs, popped, requeue
from engine.views.board import ANSWER_S
from engine.views.health import HEARTBEAT_KEY, jobs_away
from engine.wiring import JOBS_ANSWER_S

log = logging.getLogger(__name__)

TICK_S: Final = 2
"""How often the scheduler looks; a killed one's lock is in the way for this + 10 s."""
HEARTBEAT_S: Final = 30
FAILURE_TTL_S: Final = 86400
"""With a job that fails each minute this is at most some thousand runs."""
REMIND_S: Final = 30.0
STOP_S: Final = 2.0
"""A job that has not ended by itself this long after SIGTERM is interrupted: its transaction is taken back, and the next run does it."""
DEQUEUE_S: Final = 1
"""For how long a worker's wait for its next job stays with Redis."""


def schedule_id(ring: Row) -> str:
    """The fixed id under which a line stands in the schedule (rq-scheduler allows no colon)."""
    return f"schedule-{ring.name}"


def ring_now(connection: redis.Redis, ring: Row, due_s: int | None = None) -> bool:
    """Queues one run under a fresh id, unless one is waiting already. True when it was queued."""
    queue = Queue(ring.queue, connection=connection)
    # Read raw: a foreign entry that is no text must not keep ours from being rung.
    waiting: Any = connection.lrange(queue.key, 0, -1)
    if any(name.startswith(f"{ring.name}-".encode()) for name in waiting):
        return False
    at = at_ms((int(time.time()) if due_s is None else due_s) * 1000)
    run_id = f"{ring.name}-{at:%Y%m%dT%H%M%S}" + (f"-{uuid.uuid4().hex[:8]}" if due_s is None else "")
    try:
        queue.enqueue_call(
            jobs.FUNCTIONS[ring.name],
            timeout=ring.timeout_s,
            job_id=run_id,
            unique=True,
            result_ttl=ring.result_ttl_s,
            failure_ttl=FAILURE_TTL_S,
            description=f"engine.jobs.{ring.name}",
        )
    except DuplicateJobError:
        return False
    return True


class HealingScheduler(Scheduler):  # type: ignore[misc]  # rq-scheduler has no types
    """rq-scheduler with a schedule that is written anew on each pass and rings under fresh ids."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._stranded = StrandedJobs(self.connection, QUEUES)

    def enqueue_jobs(self) -> list[str]:
        """One pass: heal the schedule, queue again what a dead worker had popped, then ring what is due. Holds rq-scheduler's lock."""
        self.connection.set(HEARTBEAT_KEY, int(time.time() * 1000), ex=HEARTBEAT_S)
        begun = self.connection.exists(self.scheduled_jobs_key)
        if (mended := self.heal()) and begun:
            log.warning("the schedule was mended: %s", ", ".join(mended))
        self._stranded.look()
        now = time.time()
        rung = []
        for ring in JOBS:
            due = self.connection.zscore(self.scheduled_jobs_key, schedule_id(ring))
            if due is None or due > now:
                continue
            try:
                if ring_now(self.connection, ring, ring.due_before(now)):
                    rung.append(ring.name)
            except redis.ResponseError as error:
                # Its queue is not a list. The other jobs are rung all the same.
                log.error("%s cannot be rung: %s", ring.name, error)
            # One command moves the line on: there is no moment in which it is gone.
            self.connection.zadd(self.scheduled_jobs_key, {schedule_id(ring): ring.due_after(now)})
        return rung

    def remove_lock(self) -> None:
        """Lets the next pass begin; where Redis hangs nobody waits to tell it so, and the lock ends by itself."""
        if not isinstance(sys.exc_info()[1], redis.ConnectionError | redis.TimeoutError):
            super().remove_lock()

    def register_death(self) -> None:
        """The same of the note that a scheduler is at work."""
        if not isinstance(sys.exc_info()[1], redis.ConnectionError | redis.TimeoutError):
            super().register_death()

    def heal(self) -> list[str]:
        """Puts back what is missing or stands too late, and throws out what is not ours; answers what it mended."""
        mended = []
        if self.connection.type(self.scheduled_jobs_key) not in (b"zset", b"none"):
            self.connection.delete(self.scheduled_jobs_key)
            mended.append("removed a schedule that was none")
        now = time.time()
        wanted = {schedule_id(ring): ring for ring in JOBS}
        for raw, due in self.connection.zrange(self.scheduled_jobs_key, 0, -1, withscores=True):
            name = raw.decode(errors="backslashreplace")
            if name not in wanted:
                self.connection.zrem(self.scheduled_jobs_key, raw)
                mended.append(f"removed {name!r:.80}")
            elif due > wanted[name].due_after(now):
                self.connection.zadd(self.scheduled_jobs_key, {name: wanted[name].due_after(now)})
                mended.append(f"moved {name}")
        for name, ring in wanted.items():
            if not self._job_reads(name):
                self._create_job(
                    jobs.FUNCTIONS[ring.name],
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
        except (redis.ConnectionError, redis.TimeoutError):
            raise
        except Exception:  # noqa: BLE001  # whatever is wrong with it, it is written anew: that is what healing means here
            self.connection.delete(f"rq:job:{name}")
            return False

    def _install_signal_handlers(self) -> None:
        """Ours stay: rq-scheduler's talk to Redis before they end the process, and Redis may be away."""


def missing_from_schedule(connection: redis.Redis) -> list[str]:
    """The wanted lines that do not stand in the schedule, for doctor."""
    return [ring.name for ring in JOBS if connection.zscore(Scheduler.scheduled_jobs_key, schedule_id(ring)) is None]


class _Lost(StopRequested):
    """Redis is away or hangs."""


class _LosingQueue(Queue):
    """A queue whose first loss of Redis ends the worker's loop; RQ's own loop would try for minutes, without a word."""

    @classmethod
    def dequeue_any(cls, *args: Any, **options: Any) -> Any:
        """The next job and its queue. Raises _Lost."""
        try:
            return super().dequeue_any(*args, **options)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise _Lost from error


class StoppableWorker(SimpleWorker):
    """An RQ worker that works in its own process, ends a job soon when it is asked to stop, and leaves without a word when Redis is away.

    lost: what said that Redis is away or hangs.
    """

    queue_class = _LosingQueue
    lost: BaseException | None = None
    dequeue_timeout = DEQUEUE_S
    connection_timeout = JOBS_ANSWER_S
    """RQ's own waits are minutes long, and so would be that for a Redis that hangs."""

    def dequeue_job_and_maintain_ttl(self, *args: Any, **options: Any) -> tuple[Job, Queue] | None:
        """The next job. A Redis that is away or hangs ends the loop."""
        try:
            return super().dequeue_job_and_maintain_ttl(*args, **options)
        except _Lost as loss:
            self._lose(loss.__cause__)

    def teardown(self) -> None:
        """Tells RQ that this worker is gone, where Redis can be told."""
        if self.lost is None:
            super().teardown()  # type: ignore[no-untyped-call]  # RQ leaves it untyped

    def _lose(self, error: BaseException | None) -> NoReturn:
        self.lost = error
        raise StopRequested from None

    def handle_warm_shutdown_request(self) -> None:
        """SIGTERM or Ctrl-C: the job ends after its transaction, and is interrupted when that takes too long."""
        jobs.STOPPING.set()
        if self.get_state() == WorkerStatus.BUSY:
            signal.signal(signal.SIGALRM, _interrupt)
            signal.setitimer(signal.ITIMER_REAL, STOP_S)

    def set_shutdown_requested_date(self) -> None:
        """A note for RQ's pages. With Redis away it is left out: the stop itself matters."""
        try:
            super().set_shutdown_requested_date()  # type: ignore[no-untyped-call]  # RQ leaves it untyped
        except redis.RedisError:
            pass

    def execute_job(self, job: Job, queue: Queue) -> None:
        """A job whose end cannot be written down ends the loop: the run stands in job_run, and run_worker waits for Redis."""
        try:
            super().execute_job(job, queue)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            log.warning("RQ was not told the end of %s: %s", job.id, error)
            self._lose(error)

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """What was raised on purpose is one line; anything else is told with its traceback."""
        if isinstance(why := refusal(exc_info[1]), BudgetError):
            log.error("%s failed: %s", job.id, why)
        elif not isinstance(exc_info[1], redis.ConnectionError | redis.TimeoutError):
            super().handle_exception(job, *exc_info)

    def run_maintenance_tasks(self) -> None:
        """RQ's own housekeeping, each quarter of an hour. A foreign entry in its lists ends a part of it, and not the worker."""
        self.last_cleaned_at = rq_now()  # type: ignore[assignment]  # RQ begins it with None
        for part in (self.clean_registries, self.clean_group_registries):
            try:
                part()  # type: ignore[no-untyped-call]  # RQ leaves it untyped
            except (redis.ConnectionError, redis.TimeoutError):
                raise
            except Exception as error:  # noqa: BLE001  # whatever stands there, our jobs go on
                log.error("RQ's lists were not tidied: %s: %s", type(error).__name__, shown(str(error)))

    def subscribe(self) -> None:
        """RQ's remote commands are not used: signals stop a worker. So there is no thread that could fail beside the work."""

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Each round of RQ's own waiting for Redis begins with it, and would wait for up to minutes: here the first loss ends the loop, and run_worker waits."""
        try:
            super().heartbeat(timeout, pipeline)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            self._lose(error)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if jobs.WORKING.is_set():
        raise jobs.Stopped


class _Reminder:
    """Says why something waits: at once, when the reason changes, and every half minute."""

    def __init__(self, what: str, connection: redis.Redis) -> None:
        self._what = what
        self._connection = connection
        self._said = ("", 0.0)

    def waits(self, error: Exception) -> None:
        why = type(error).__name__
        if why != self._said[0] or time.monotonic() - self._said[1] >= REMIND_S:
            log.warning("%s waits for the jobs Redis: %s", self._what, jobs_away(self._connection, error))
            self._said = (why, time.monotonic())

    def goes_on(self) -> None:
        if self._said[0]:
            log.warning("%s goes on: the jobs Redis answers again", self._what)
            self._said = ("", 0.0)


def run_scheduler(connection: redis.Redis) -> None:
    """Rings until SIGTERM or Ctrl-C. Waits for a Redis that is away."""
    # A second scheduler that stands by is no news each two seconds.
    logging.getLogger("rq_scheduler").setLevel(logging.ERROR)
    _until_stopped(
        "scheduler", lambda: HealingScheduler(JOBS_QUEUE, interval=TICK_S, connection=connection).run(), connection
    )


def run_worker(connection: redis.Redis, queue: str) -> None:
    """Works one queue until SIGTERM or Ctrl-C. At the start it queues again what an earlier worker popped and never began, and rings the
    queue's jobs once. Waits for a Redis that is away."""
    logging.getLogger("rq.worker").addFilter(lambda record: "could not connect to Redis" not in record.msg)

    def work() -> None:
        requeue(connection, queue, popped(connection, queue))
        for ring in JOBS:
            if ring.queue == queue:
                ring_now(connection, ring)
        name = f"{queue}-{os.uname().nodename}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        made = StoppableWorker([queue], connection=connection, name=name)
        made.work(logging_level="WARNING")
        if made.lost is not None:
            raise made.lost

    _until_stopped(f"worker {queue}", work, connection)


def _answers(connection: redis.Redis) -> None:
    """Raises redis-py's errors where it does not, also where it hangs: RQ's own connection waits for minutes."""
    pool = connection.connection_pool
    kwargs = {**pool.connection_kwargs, "socket_timeout": ANSWER_S, "socket_connect_timeout": ANSWER_S, "retry": None}
    with redis.Redis(
        connection_pool=redis.ConnectionPool(connection_class=pool.connection_class, **kwargs)
    ) as impatient:
        impatient.ping()
        impatient.connection_pool.disconnect()


def _until_stopped(what: str, run: Callable[[], Any], connection: redis.Redis) -> None:
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
                _answers(connection)
                reminder.goes_on()
                run()
            except (redis.RedisError, OSError) as error:
                if not jobs.STOPPING.is_set():
                    reminder.waits(error)
            jobs.STOPPING.wait(1)
    except StopRequested:
        # RQ's own handler, while its loop was on the way out.
        jobs.STOPPING.set()
