"""The health of each part and job, for the pages, /readyz and `doctor`: every part is asked by itself, so one that is away hides no other."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast

import redis
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from engine.domain.ids import SHARDS
from engine.domain.periods import DAY_MS, MINUTE_MS, at_ms, month_of, month_start_ms, ms_of
from engine.errors import BudgetError, ServerAway
from engine.flows.alarms import State, money_alarms
from engine.ledger import runs
from engine.ledger.cursors import read_cursors
from engine.live.admin import LiveRedis, LiveShard

HEARTBEAT_KEY: Final = "budget:scheduler:heartbeat"
"""In the jobs Redis: epoch ms as a string, written by the scheduler with an expiry."""
QUEUES: Final = ("persist", "jobs", "verify")
"""A worker process each: none of them waits for the jobs of another."""
HEARTBEAT_LATE_MS: Final = 90_000
BACKLOG_WAIT: Final = 100_000
"""Journal entries not yet in PostgreSQL above which persist counts as behind."""

DUE: Final[Mapping[str, str]] = {
    "persist": "each minute",
    "publish": "each minute",
    "check": "every 5 minutes",
    "close_day": "00:00 UTC",
    "close_month": "00:00 UTC on the 1st",
    "sweep": "each minute",
    "verify": "every 15 minutes",
}
"""The jobs, and how often each is due."""
_LATE_MS: Final[Mapping[str, int]] = {
    "persist": 12 * MINUTE_MS,
    "publish": 4 * MINUTE_MS,
    "check": 11 * MINUTE_MS,
    "sweep": 4 * MINUTE_MS,
    "verify": 31 * MINUTE_MS,
}
"""How long after its last start a job counts as overdue. A persist job goes on for up to ten minutes when nobody rings."""
_CLOSE_GRACE_MS: Final = 15 * MINUTE_MS


@dataclass(frozen=True, slots=True)
class Part:
    """One part: "ok", "wait" (works, or will by itself) or "down", with one line that says what, where and what to do."""

    key: str
    name: str
    state: State
    detail: str
    serves: bool = True
    """False for an alarm: something for a person to look at, while every part answers."""


@dataclass(frozen=True, slots=True)
class JobHealth:
    """A job's last run. outcome: "never" before its first."""

    job: str
    due: str
    last_started_ms: int | None
    last_finished_ms: int | None
    outcome: str
    detail: str
    overdue: bool


@dataclass(frozen=True, slots=True)
class Health:
    """Everything at one instant. backlog: journal entries not yet in PostgreSQL, None where that cannot be known."""

    now_ms: int
    parts: tuple[Part, ...]
    jobs: tuple[JobHealth, ...]
    backlog: int | None

    @property
    def state(self) -> State:
        """The worst of all; an overdue or failed job counts as waiting, since the next run may set it right."""
        states = {part.state for part in self.parts}
        if any(job.overdue or job.outcome == "failed" for job in self.jobs):
            states.add("wait")
        return "down" if "down" in states else "wait" if "wait" in states else "ok"


def read_health(db: Engine, live: LiveRedis, jobs_redis: redis.Redis, now_ms: int) -> Health:
    """Asks every part; raises nothing that a part's being away could cause."""
    hot, shards = _hot_redis(live)
    postgres, jobs, cursors = _postgres(db, now_ms)
    backlog = None
    if shards is not None and cursors is not None:
        backlog = sum(max(0, shard.n - cursors.get(shard.shard, 0)) for shard in shards)
    alarms = money_alarms(db, now_ms) if postgres.state != "down" else ()
    parts = (
        hot,
        postgres,
        *_jobs_side(jobs_redis, now_ms),
        _journal(backlog),
        *(Part(*alarm, serves=False) for alarm in alarms),
    )
    return Health(now_ms, parts, jobs, backlog)


def _hot_redis(live: LiveRedis) -> tuple[Part, list[LiveShard] | None]:
    try:
        shards = live.read_shards()
    except ServerAway as away:
        return Part("redis", "Redis", "down", str(away)), None
    except BudgetError as error:
        return Part("redis", "Redis", "down", str(error)), None
    missing = [shard for shard in shards if not shard.ready]
    if not missing:
        return Part("redis", "Redis", "ok", f"all {SHARDS} shards ready"), shards
    why = ", ".join(sorted({shard.why for shard in missing})[:3])
    detail = f"{len(missing)} of {SHARDS} shards not ready ({why}): rebuilt within seconds while a worker runs"
    return Part("redis", "Redis", "wait", detail), shards


def _postgres(db: Engine, now_ms: int) -> tuple[Part, tuple[JobHealth, ...], dict[int, int] | None]:
    try:
        jobs = read_jobs(db, now_ms)
        with db.connect() as conn:
            cursors = read_cursors(conn)
    except ServerAway as away:
        return Part("postgresql", "PostgreSQL", "down", str(away)), (), None
    except SQLAlchemyError as error:  # a missing table is a part that needs care, not a page that breaks
        detail = f"{_first_line(error)}: run `budget-engine migrate`"
        return Part("postgresql", "PostgreSQL", "down", detail), (), None
    numbers = {shard: cursor.n for shard, cursor in cursors.items()}
    stopped = [f"shard {cursor.shard}: {cursor.stopped}" for cursor in cursors.values() if cursor.stopped]
    if stopped:
        detail = f"answers, but persist has stopped on {len(stopped)} shards ({'; '.join(stopped[:3])}): run `budget-engine rebuild`"
        return Part("postgresql", "PostgreSQL", "wait", detail), jobs, numbers
    return Part("postgresql", "PostgreSQL", "ok", "answers"), jobs, numbers


def read_jobs(db: Engine, now_ms: int) -> tuple[JobHealth, ...]:
    last, good = runs.last_runs(db), runs.last_successes(db)
    return tuple(
        _job(name, due, last.get(name), good.get(name), now_ms)
        for name, due in {**DUE, **{name: "when needed" for name in sorted(last) if name not in DUE}}.items()
    )


def _job(name: str, due: str, last: runs.RunRecord | None, good: runs.RunRecord | None, now_ms: int) -> JobHealth:
    if last is None:
        return JobHealth(name, due, None, None, "never", "", False)
    started = ms_of(last.started_at)
    finished = None if last.finished_at is None else ms_of(last.finished_at)
    overdue = False
    if name in _LATE_MS:
        overdue = now_ms - started > _LATE_MS[name]
    elif name in ("close_day", "close_month"):
        begin = now_ms - now_ms % DAY_MS if name == "close_day" else month_start_ms(month_of(now_ms))
        overdue = now_ms - begin > _CLOSE_GRACE_MS and (good is None or ms_of(good.started_at) < begin)
    return JobHealth(name, due, started, finished, last.outcome, last.detail or "", overdue)


def _jobs_side(jobs_redis: redis.Redis, now_ms: int) -> tuple[Part, ...]:
    """The jobs Redis, the workers and the scheduler."""
    from rq import Worker  # here, since commands that ask for no health need not wait for it

    try:
        beat = cast("bytes | None", jobs_redis.get(HEARTBEAT_KEY))
        workers = Worker.all(connection=jobs_redis)
        beats = [worker.last_heartbeat for worker in workers]
        worked = {queue for worker in workers for queue in worker.queue_names()}
    except (redis.RedisError, OSError) as error:
        where = _where(jobs_redis)
        away = ServerAway("jobs Redis", where, f"{_first_line(error)}; start it, or correct JOBS_REDIS_URL")
        unknown = "not known while the jobs Redis is away"
        return (
            Part("jobs_redis", "Jobs Redis", "down", str(away)),
            Part("worker", "Worker", "down", unknown),
            Part("scheduler", "Scheduler", "down", unknown),
        )
    return Part("jobs_redis", "Jobs Redis", "ok", "answers"), _worker(beats, worked, now_ms), _scheduler(beat, now_ms)


def _worker(beats: list[datetime | None], worked: Collection[str], now_ms: int) -> Part:
    if not beats:
        return Part(
            "worker",
            "Worker",
            "down",
            "none runs: start `budget-engine worker`; spend is kept in the journal meanwhile",
        )
    last = max((_utc(beat) for beat in beats if beat is not None), default=None)
    said = f"{len(beats)} running" if len(beats) > 1 else "running"
    if idle := [queue for queue in QUEUES if queue not in worked]:
        todo = " and ".join(f"`budget-engine worker --queue {queue}`" for queue in idle)
        return Part("worker", "Worker", "wait", f"{said}, none for the queue {' and '.join(idle)}: start {todo}")
    if last is None:
        return Part("worker", "Worker", "wait", f"{said}, no heartbeat yet")
    # rq beats at least every 90 s or so while idle, and its key goes after 480 s
    if now_ms - ms_of(last) > 8 * MINUTE_MS:
        return Part("worker", "Worker", "wait", f"silent since {last:%H:%M:%S} UTC: it may hang, or have been killed")
    return Part("worker", "Worker", "ok", f"{said}, last heard at {last:%H:%M:%S} UTC")


def _scheduler(beat: bytes | None, now_ms: int) -> Part:
    text = (beat or b"").decode("ascii", "replace")
    if not text.isdigit():
        return Part(
            "scheduler",
            "Scheduler",
            "down",
            "none runs: start `budget-engine scheduler`; what is owed is caught up on then",
        )
    at = int(text)
    state: State = "ok" if now_ms - at <= HEARTBEAT_LATE_MS else "wait"
    said = "last heard" if state == "ok" else "silent since"
    return Part("scheduler", "Scheduler", state, f"{said} at {at_ms(at):%H:%M:%S} UTC".replace("since at", "since"))


def _journal(backlog: int | None) -> Part:
    if backlog is None:
        return Part("journal", "Journal", "wait", "not known while Redis or PostgreSQL is away")
    if not backlog:
        return Part("journal", "Journal", "ok", "all written to PostgreSQL")
    state: State = "wait" if backlog > BACKLOG_WAIT else "ok"
    return Part(
        "journal", "Journal", state, f"{backlog:,} {'entry' if backlog == 1 else 'entries'} to be written to PostgreSQL"
    )


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _where(client: redis.Redis) -> str:
    options = client.connection_pool.connection_kwargs
    return str(
        options.get("path")
        or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}/{options.get('db') or 0}"
    )


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
