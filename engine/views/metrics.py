"""The measurements for /metrics, read on request: Redis in one pipelined round trip and PostgreSQL in a few
statements.

Each server is asked separately: with one away its figures are missing, never zero.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import redis
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from engine.domain.causes import reasons_of
from engine.domain.ids import SHARDS
from engine.errors import ServerAway
from engine.flows.verify.findings import failed_in
from engine.job_table import QUEUES
from engine.ledger import breakers, late, limit_changes, quarantine, runs
from engine.ledger.cursors import CursorRow, read_cursors
from engine.live.grammar import whole
from engine.live.keys import shard_keys
from engine.live.scripts import serves
from engine.live.transport.plain import PlainRedis
from engine.views.board import BAD_NEWS_S
from engine.views.health import HEARTBEAT_KEY, JobHealth, read_jobs
from engine.views.workers import workers_of

_COUNTED: Final = {
    "recorded": "recorded",
    "accepted": "accepted",
    "d": "duplicate",
    "c": "conflict",
    "u": "unknown_campaign",
    "p": "repeated",
}
_GROWTH_S: Final = 600.0
"""Memory's growth is measured over this many seconds, so that a short burst is no alarm."""
_GROWTH_LEAST_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class HotFigures:
    """The hot Redis. spends: {(outcome, causes joined by commas or ''): how many}; limit_bytes: maxmemory, else the machine's memory."""

    spends: Mapping[tuple[str, str], int]
    holds_refused: Mapping[str, int]
    not_ready: int
    journal_numbers: Mapping[int, int]
    oldest_ms: int | None
    now_ms: int
    used_bytes: int
    limit_bytes: int
    full_in_s: float
    evicted: int


@dataclass(frozen=True, slots=True)
class ColdFigures:
    """PostgreSQL."""

    stopped: int
    breakers_open: int
    quarantined: int
    corrections: int
    corrected_micros: int
    limit_changes: limit_changes.Counts
    late: Mapping[bool, tuple[int, int]]
    """Late spends and their micros, by whether they are booked to the previous day."""
    verified: runs.RunRecord | None
    failed_checks: tuple[str, ...]
    jobs: tuple[JobHealth, ...]
    successes: Mapping[str, runs.RunRecord]


class Queue(NamedTuple):
    """Workers that work a queue, and jobs that wait in it."""

    workers: int
    waiting: int


_Jobs = tuple[int | None, Mapping[str, Queue], int | None]
_NO_JOBS: Final[_Jobs] = (None, {}, None)


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one scrape; None for a server that is away. backlog: journal entries that PostgreSQL does not
    have, by the last known cursors.
    """

    hot: HotFigures | None
    cold: ColdFigures | None
    backlog: int | None
    workers: int | None
    queues: Mapping[str, Queue]
    heartbeat_ms: int | None


@dataclass(slots=True)
class _Growth:
    """How fast the hot Redis fills, from earlier scrapes."""

    clock: Callable[[], float]
    seen: deque[tuple[float, int]] = field(default_factory=deque)

    def full_in_s(self, used: int, limit: int) -> float:
        """Seconds until `limit` at the pace of the last ten minutes; infinite while it does not grow or is not known yet."""
        now = self.clock()
        self.seen.append((now, used))
        while now - self.seen[0][0] > _GROWTH_S:
            self.seen.popleft()
        since, before = self.seen[0]
        if not limit:
            return math.inf
        if used >= limit:
            return 0.0
        if now - since < _GROWTH_LEAST_S or used <= before:
            return math.inf
        return (limit - used) * (now - since) / (used - before)


class _Server(NamedTuple):
    """What one server says. states: shard -> its hash; waiting: the first entry without a row of each shard that has one; memory: used bytes and their limit."""

    states: dict[int, dict[bytes, bytes]]
    waiting: list[bytes]
    now_ms: int
    memory: tuple[int, int]
    evicted: int


class Metrics:
    """Reads the figures. Keeps the last cursors, so that the backlog is known while PostgreSQL is away and they do
    not move.
    """

    def __init__(
        self,
        db: Engine,
        hot: PlainRedis,
        jobs: redis.Redis,
        clock: Callable[[], float] = time.monotonic,
        hangs: Callable[[str], bool] = lambda name: False,
        lacking: Callable[[], Collection[str]] = tuple,
    ) -> None:
        """hangs: whether `redis` or `jobs_redis` is known to hang; it is then not waited for. lacking: servers, of
        several, that did not answer a moment ago; they are waited for briefly.
        """
        self._lacking = lacking
        self._db = db
        self._hangs = hangs
        self._hot = hot
        self._jobs = jobs
        self._growth = _Growth(clock)
        self._states: dict[int, dict[bytes, bytes]] = {}
        self._cursors: dict[int, CursorRow] = {}

    def read(self) -> Figures:
        """Reads everything once. Raises nothing because a server is away."""
        cold = self._read_cold()
        hot = None if self._hangs("redis") else self._read_hot()
        backlog = None
        if hot is not None and self._cursors:
            numbers = hot.journal_numbers.items()
            backlog = sum(max(0, n - self._cursors[shard].n) for shard, n in numbers if shard in self._cursors)
        workers = _NO_JOBS if self._hangs("jobs_redis") else self._read_jobs()
        return Figures(hot, cold, backlog, *workers)

    def _read_hot(self) -> HotFigures | None:
        servers = self._read_servers()
        if not servers:
            return None
        here = {shard: state for server in servers for shard, state in server.states.items()}
        # Counts never go back: those of a server that is away, of several, stay as they were.
        self._states |= here
        counts = _counts(list(self._states.values()))
        states = list(here.values())
        waiting = [name for server in servers for name in server.waiting]
        # Of several servers the fullest one.
        used, limit = max((server.memory for server in servers), key=lambda of: of[0] / of[1] if of[1] else 0)
        return HotFigures(
            spends={key: n for key, n in counts.items() if key[0] != "hold"},
            holds_refused={cause: n for (what, cause), n in counts.items() if what == "hold"},
            not_ready=SHARDS
            - len(states)
            + sum(
                1
                for s in states
                if not s.get(b"mark") or not serves((s.get(b"layout") or b"").decode("ascii", "replace"))
            ),
            journal_numbers={shard: whole(s.get(b"n")) or 0 for shard, s in here.items()},
            oldest_ms=min((int(name.partition(b"-")[0]) for name in waiting), default=None) if self._cursors else None,
            now_ms=max(server.now_ms for server in servers),
            used_bytes=used,
            limit_bytes=limit,
            full_in_s=self._growth.full_in_s(used, limit),
            evicted=sum(server.evicted for server in servers),
        )

    def _read_servers(self) -> list[_Server]:
        """What each server says, side by side: one that hangs does not put off the others."""
        try:
            clients = self._hot.each()
            shards: dict[str, list[int]] = {where: [] for where in clients}
            for shard in range(SHARDS):
                shards.setdefault(self._hot.where_of(shard), []).append(shard)
        except (redis.RedisError, OSError):
            return []
        if len(clients) == 1:
            found = [self._read_server(client, shards[where]) for where, client in clients.items()]
        else:
            lacking, threads = set(self._lacking()), ThreadPoolExecutor(len(clients))
            asked = {at: threads.submit(self._read_server, client, shards[at]) for at, client in clients.items()}
            threads.shutdown(wait=False)  # who hangs is left to its own timeout
            wait([each for at, each in asked.items() if at not in lacking])
            done, late = wait(asked.values(), BAD_NEWS_S)
            if not any(each.result() for each in done):
                wait(late)  # a busy machine: better late than nothing
            found = [each.result() if each.done() else None for each in asked.values()]
        return [server for server in found if server is not None]

    def _read_server(self, client: redis.Redis, shards: Sequence[int]) -> _Server | None:
        pipe = client.pipeline(transaction=False)
        pipe.info()
        pipe.time()
        for shard in shards:
            keys, cursor = shard_keys(shard), self._cursors.get(shard)
            pipe.hgetall(keys.shard)
            pipe.xrange(keys.journal, min=f"({cursor.entry_id}" if cursor else "+", count=1)
        try:
            info, now, *answers = pipe.execute(raise_on_error=False)
        except (redis.RedisError, OSError):
            return None
        if isinstance(info, Exception) or isinstance(now, Exception):
            info, now = ({} if isinstance(info, Exception) else info), (time.time_ns() // 10**9, 0)
        states = {
            shard: state if isinstance(state, dict) else {} for shard, state in zip(shards, answers[::2], strict=True)
        }
        if self._hot.several:
            states = {shard: state for shard, state in states.items() if state}
        return _Server(
            states=states,
            waiting=[entries[0][0] for entries in answers[1::2] if isinstance(entries, list) and entries],
            now_ms=now[0] * 1000 + now[1] // 1000,
            memory=(
                int(info.get("used_memory", 0)),
                int(info.get("maxmemory", 0)) or int(info.get("total_system_memory", 0)),
            ),
            evicted=int(info.get("evicted_keys", 0)),
        )

    def _read_cold(self) -> ColdFigures | None:
        try:
            with self._db.connect() as conn:
                self._cursors = read_cursors(conn)
                waiting = quarantine.count_waiting(conn)
                broken = breakers.stopped(conn)
                corrections, micros = conn.execute(
                    text("SELECT count(*), coalesce(sum(abs(difference_micros)), 0) FROM counter_correction")
                ).one()
                late_sums = late.totals(conn)
                scheduled = limit_changes.counts(conn)
                now_ms = int(conn.execute(text("SELECT extract(epoch FROM now()) * 1000")).scalar_one())
            verified = runs.last_ended(self._db, "verify")
            return ColdFigures(
                stopped=sum(1 for cursor in self._cursors.values() if cursor.stopped),
                breakers_open=len(broken),
                quarantined=waiting,
                corrections=int(corrections),
                corrected_micros=int(micros),
                limit_changes=scheduled,
                late=late_sums,
                verified=verified,
                failed_checks=tuple(failed_in(verified.detail)) if verified and verified.outcome == "failed" else (),
                jobs=read_jobs(self._db, now_ms),
                successes=runs.last_successes(self._db),
            )
        except (ServerAway, SQLAlchemyError):
            return None

    def _read_jobs(self) -> _Jobs:
        from rq import Queue as RqQueue  # as in workers

        try:
            beat: Any = self._jobs.get(HEARTBEAT_KEY)
            workers = workers_of(self._jobs)
            worked = [name for worker in workers for name in worker.queue_names()]
            queues = {name: Queue(worked.count(name), RqQueue(name, connection=self._jobs).count) for name in QUEUES}
            return len(workers), queues, int(beat) if beat and beat.isdigit() else 0
        except (redis.RedisError, OSError):
            return _NO_JOBS


def _counts(states: list[dict[bytes, bytes]]) -> dict[tuple[str, str], int]:
    """The tallies of all shards: {(outcome, causes): how many}, refused holds under `hold`. Every plain outcome is there, also as 0."""
    found = {(outcome, ""): 0 for outcome in _COUNTED.values()}
    for state in states:
        for name, value in state.items():
            what = name.removeprefix(b"count:").decode(errors="replace")
            if not name.startswith(b"count:") or (number := whole(value)) is None:
                continue
            if what in _COUNTED:
                key = (_COUNTED[what], "")
            elif "x" in what and (mask := whole(what.removeprefix("h").removeprefix("x"))) is not None:
                key = ("hold" if what.startswith("h") else "refused", ",".join(reasons_of(mask)))
            else:
                continue
            found[key] = found.get(key, 0) + number
    return found
