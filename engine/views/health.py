"""The health of each part and job, for the pages, /readyz and `doctor`. Every part is asked separately, so one that
is away hides no other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, cast

import redis
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from engine.domain.ids import SHARDS
from engine.domain.periods import MINUTE_MS, at_ms, ms_of
from engine.errors import BudgetError, ServerAway, ServerHangs
from engine.job_table import BY_NAME, QUEUES, Job
from engine.ledger import runs
from engine.ledger.cursors import CursorRow, read_cursors
from engine.ledger.database import TAKES_NO_WRITES, WHERE, takes_writes
from engine.live.admin import LiveRedis, LiveShard
from engine.live.hush import HANGS
from engine.views.alarms import State, money_alarms
from engine.views.board import ANSWER_S, Board, Told
from engine.views.workers import workers_of

HEARTBEAT_KEY: Final = "budget:scheduler:heartbeat"
"""In the jobs Redis: epoch ms as a string, written by the scheduler with an expiry."""
HEARTBEAT_LATE_MS: Final = 90_000
REPLICA: Final = "it is a read-only replica; point {} at the primary"
BACKLOG_WAIT: Final = 100_000
"""Journal entries not yet in PostgreSQL above which persist counts as behind."""


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


class HealthBoard:
    """Asks every part concurrently. A server that hangs costs a reader 1.5 s at most, once, and its last answer is
    shown with its age.
    """

    def __init__(
        self,
        db: Engine,
        live: LiveRedis,
        jobs_redis: redis.Redis,
        clock_ms: Callable[[], int],
        answer_s: float = ANSWER_S,
        hot_redis: redis.Redis | None = None,
    ) -> None:
        self._clock_ms = clock_ms
        self._where = {
            "redis": live.wire.where,
            "postgresql": where_in(db),
            "jobs_redis": where_of(jobs_redis),
        }
        self.board = Board(
            {
                "redis": lambda: _hot_redis(live, hot_redis),
                "postgresql": lambda: _postgres(db, clock_ms()),
                "jobs_redis": lambda: _jobs_side(jobs_redis, clock_ms()),
            },
            answer_s,
        )

    def health(self, *, latest: bool = False) -> Health:
        """The present state of each part. latest: the last answer, where the board asks by itself. Raises nothing
        because a part is away.
        """
        now_ms = self._clock_ms()
        told = self.board.look(latest=latest)
        (hot, shards), (postgres, jobs, cursors, alarms), jobs_side = (
            self._of(name, told[name]) for name in ("redis", "postgresql", "jobs_redis")
        )
        backlog = None
        if shards is not None and cursors is not None:
            backlog = sum(max(0, shard.n - cursors.get(shard.shard, 0)) for shard in shards)
        return Health(now_ms, (hot, postgres, *jobs_side, _journal(backlog), *alarms), jobs, backlog)

    def ages(self) -> dict[str, float]:
        """Seconds since each server answered last; without those that never did."""
        return {name: told.good_age_s for name, told in self.board.last().items() if told.good_value is not None}

    def silent(self) -> list[tuple[str, bool]]:
        """The servers that do not answer now, by name, and whether each hangs. Waits for none: the board asks by itself."""
        servers: list[Part] = [self._of(name, told)[0] for name, told in self.board.look(latest=True).items()]
        return [(part.name, " hangs " in part.detail) for part in servers if part.state == "down"]

    def refuse_if_silent(self, name: str) -> None:
        """For callers that would use that part for long. Raises ServerHangs when it does not answer."""
        silent_s = self.board.silent_s(name)
        if silent_s is not None:
            raise self._silence(name, silent_s)

    def _of(self, name: str, told: Told) -> Any:
        """A part's answer; where it is not well, with its last good answer."""
        value = told.value
        if told.silent_s is not None or value is None:
            value = _SILENT[name](str(self._silence(name, told.silent_s or 0.0)))
        if told.good_value is None or value is told.good_value:
            return value
        return _OLD[name](value, told.good_value, f"; {told.good_age_s:.0f} s ago: ")

    def _silence(self, name: str, silent_s: float) -> ServerHangs:
        return ServerHangs(NAMES[name], str(self._where[name]), silent_s, HANGS)


Hot = tuple[Part, list[LiveShard] | None]
Cold = tuple[Part, tuple[JobHealth, ...], dict[int, int] | None, tuple[Part, ...]]


def _hot_redis(live: LiveRedis, plain: redis.Redis | None) -> tuple[Hot, bool]:
    try:
        # First: a replica refuses scripts, and each call to it is tried again for its whole time.
        if plain is not None and is_replica(plain):
            return _no_hot(str(ServerAway("Redis", live.wire.where, REPLICA.format("REDIS_URL")))), False
        shards = live.read_shards()
        return _shards(shards), not any(shard.away for shard in shards)
    except BudgetError as error:
        return _no_hot(str(error)), False


def _no_hot(why: str) -> Hot:
    return Part("redis", "Redis", "down", why), None


def _shards(shards: list[LiveShard]) -> Hot:
    gone = [shard for shard in shards if shard.away]
    if gone:
        whys = "; ".join(dict.fromkeys(shard.away for shard in gone))
        return Part("redis", "Redis", "down", f"{len(gone)} of {SHARDS} shards away: {whys}"), shards
    missing = [shard for shard in shards if not shard.ready]
    if not missing:
        return Part("redis", "Redis", "ok", f"all {SHARDS} shards ready"), shards
    why = ", ".join(sorted({shard.why for shard in missing})[:3])
    detail = f"{len(missing)} of {SHARDS} shards not ready ({why}): rebuilt within seconds while a worker runs"
    return Part("redis", "Redis", "wait", detail), shards


def _postgres(db: Engine, now_ms: int) -> tuple[Cold, bool]:
    try:
        jobs = read_jobs(db, now_ms)
        with db.connect() as conn:
            cursors = read_cursors(conn)
            if not takes_writes(conn):
                return _no_postgres(str(ServerAway("PostgreSQL", where_in(db), TAKES_NO_WRITES))), False
    except ServerAway as away:
        return _no_postgres(str(away)), False
    except SQLAlchemyError as error:  # a missing table is a part that needs care, not an error of the page
        return _no_postgres(f"{_first_line(error)}: run `budget-engine migrate`"), False
    part, numbers = _cursors(cursors)
    return (part, jobs, numbers, tuple(Part(*alarm, serves=False) for alarm in money_alarms(db, now_ms))), True


def _no_postgres(why: str) -> Cold:
    return Part("postgresql", "PostgreSQL", "down", why), (), None, ()


def _cursors(cursors: Mapping[int, CursorRow]) -> tuple[Part, dict[int, int]]:
    numbers = {shard: cursor.n for shard, cursor in cursors.items()}
    stopped = [f"shard {cursor.shard}: {cursor.stopped}" for cursor in cursors.values() if cursor.stopped]
    if stopped:
        detail = f"answers, but persist has stopped on {len(stopped)} shards ({'; '.join(stopped[:3])}): run `budget-engine rebuild`"
        return Part("postgresql", "PostgreSQL", "wait", detail), numbers
    return Part("postgresql", "PostgreSQL", "ok", "answers"), numbers


def read_jobs(db: Engine, now_ms: int) -> tuple[JobHealth, ...]:
    last, good = runs.last_runs(db), runs.last_successes(db)
    others = [name for name in sorted(last) if name not in BY_NAME]
    return tuple(_job(name, last.get(name), good.get(name), now_ms) for name in (*BY_NAME, *others))


def _job(name: str, last: runs.RunRecord | None, good: runs.RunRecord | None, now_ms: int) -> JobHealth:
    row = BY_NAME.get(name)
    due = "when needed" if row is None else row.due
    if last is None:
        return JobHealth(name, due, None, "never", "", False)
    started = ms_of(last.started_at)
    overdue = row is not None and _is_late(row, started, good, now_ms)
    return JobHealth(name, due, started, last.outcome, last.detail or "", overdue)


def _is_late(row: Job, started_ms: int, good: runs.RunRecord | None, now_ms: int) -> bool:
    if not row.by_calendar:
        return now_ms - started_ms > row.late_ms
    begin = row.due_before(now_ms / 1000) * 1000
    return now_ms - begin > row.late_ms and (good is None or ms_of(good.started_at) < begin)


def _jobs_side(jobs_redis: redis.Redis, now_ms: int) -> tuple[tuple[Part, ...], bool]:
    """The jobs Redis, the workers and the scheduler."""
    try:
        beat = cast("bytes | None", jobs_redis.get(HEARTBEAT_KEY))
        if is_replica(jobs_redis):
            return _no_jobs(
                str(ServerAway("jobs Redis", where_of(jobs_redis), REPLICA.format("JOBS_REDIS_URL")))
            ), False
        workers = workers_of(jobs_redis)
        beats = [worker.last_heartbeat for worker in workers]
        worked = {queue for worker in workers for queue in worker.queue_names()}
    except (redis.RedisError, OSError) as error:
        return _no_jobs(str(jobs_away(jobs_redis, error))), False
    well = Part("jobs_redis", "Jobs Redis", "ok", "answers")
    return (well, _worker(beats, worked, now_ms), _scheduler(beat, now_ms)), True


def _no_jobs(why: str) -> tuple[Part, ...]:
    unknown = "not known while the jobs Redis is away"
    return (
        Part("jobs_redis", "Jobs Redis", "down", why),
        Part("worker", "Worker", "wait", unknown),
        Part("scheduler", "Scheduler", "wait", unknown),
    )


def jobs_away(jobs_redis: redis.Redis, error: Exception) -> ServerAway:
    """The state of a jobs Redis that did not answer."""
    if isinstance(error, redis.TimeoutError | TimeoutError):
        waited = jobs_redis.connection_pool.connection_kwargs.get("socket_timeout") or 0.0
        return ServerHangs(NAMES["jobs_redis"], where_of(jobs_redis), float(waited), HANGS)
    return ServerAway("jobs Redis", where_of(jobs_redis), f"{_first_line(error)}; start it, or correct JOBS_REDIS_URL")


def _old_hot(now: Hot, before: Hot, when: str) -> Hot:
    return _beside(now[0], before[0], when), None


def _old_cold(now: Cold, before: Cold, when: str) -> Cold:
    """The last known jobs and alarms."""
    return (
        _beside(now[0], before[0], when),
        before[1],
        None,
        tuple(replace(alarm, detail=f"not known now{when}{alarm.detail}") for alarm in before[3]),
    )


def _old_jobs(now: tuple[Part, ...], before: tuple[Part, ...], when: str) -> tuple[Part, ...]:
    return tuple(_beside(part, old, when) for part, old in zip(now, before, strict=True))


def _beside(part: Part, old: Part, when: str) -> Part:
    return replace(part, detail=f"{part.detail}{when}{old.detail}")


NAMES: Final = {"redis": "Redis", "postgresql": "PostgreSQL", "jobs_redis": "jobs Redis"}
_SILENT: Final[Mapping[str, Callable[[str], Any]]] = {
    "redis": _no_hot,
    "postgresql": _no_postgres,
    "jobs_redis": _no_jobs,
}
_OLD: Final[Mapping[str, Callable[[Any, Any, str], Any]]] = {
    "redis": _old_hot,
    "postgresql": _old_cold,
    "jobs_redis": _old_jobs,
}


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


def is_replica(plain: redis.Redis) -> bool:
    """Whether a Redis is a replica that takes no writes; False where it does not say: what it is asked next tells why."""
    try:
        info = plain.info("replication")
    except redis.RedisError:
        return False
    return info.get("role") == "slave" and bool(info.get("slave_read_only", 1))


def where_in(db: Engine) -> str:
    return str(db.get_execution_options().get(WHERE))


def where_of(client: redis.Redis) -> str:
    options = client.connection_pool.connection_kwargs
    if "primary" in options:
        return str(options["primary"].where)
    return str(
        options.get("path")
        or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}/{options.get('db') or 0}"
    )


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
