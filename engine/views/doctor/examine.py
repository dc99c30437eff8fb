"""The checks, in the order in which a person would make them: servers, durability, clocks, tables, shards, jobs.

Every check is bounded and independent: a server that is away costs its own findings only. `unknown` is what a server
does not let us see; it fails nothing.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import metadata
from typing import Any, Final

import redis
from sqlalchemy import Engine, text

from engine.domain.ids import SHARDS
from engine.flows.rebuild.salvage import ms_of_entry
from engine.ledger import revision
from engine.ledger.catalog import Catalog
from engine.ledger.cursors import read_cursors
from engine.ledger.database import make_engine, takes_writes, where
from engine.live.admin import LiveRedis, LiveShard
from engine.live.journal import START
from engine.live.transport.plain import PlainRedis
from engine.live.transport.routed import open_transport
from engine.settings import Settings
from engine.speedups import DISTRIBUTION, speedups
from engine.views.board import ANSWER_S
from engine.views.doctor.agreement import agreement
from engine.views.doctor.breakers import look_at_breakers
from engine.views.doctor.capacity import capacity
from engine.views.doctor.finding import Finding, State, guarded
from engine.views.doctor.flights import look_at_flights
from engine.views.doctor.names import look_at_names
from engine.views.doctor.servers import CLOCK_WARN_MS, Servers, clock, keeping, look_at_servers, major
from engine.views.doctor.waits import look_at_held, look_at_waits

LEAST_POSTGRESQL: Final = 14
_TIMEOUT_S: Final = ANSWER_S
_RUN_S: Final = 60.0
"""Longer than one examination."""
_LIMITS: Final = f" -c lock_timeout={int(ANSWER_S * 1000)} -c statement_timeout=30000"
"""A lock of others costs a check its finding, and delays no other."""


def examine(settings: Settings, look_at_jobs: Callable[[redis.Redis], Iterable[Finding]]) -> Iterator[Finding]:
    """Every finding, in the order in which a person would check. Raises nothing that a server caused.

    look_at_jobs: checks RQ's Redis, which the doorbell knows and this room does not.
    """
    yield from _versions()
    db = make_engine(settings.database_url, patience_s=ANSWER_S, options=_LIMITS)
    try:
        hot, jobs, cold = _side_by_side(
            lambda: look_at_servers("hot Redis", "REDIS_URL", settings.redis_url),
            lambda: look_at_servers("jobs Redis", "JOBS_REDIS_URL", settings.jobs_redis_url),
            lambda: list(guarded("PostgreSQL", lambda: _postgresql(db, settings))),
        )
        yield from (finding for of in (hot, jobs) for finding in of.findings)
        yield from _same_redis(hot, jobs)
        for server in hot.answering:
            of = f"{server.name}: " if len(hot.answering) > 1 else ""
            yield from (replace(finding, detail=of + finding.detail) for finding in keeping(server))
            yield from clock(server)
        yield from cold
        there = any(finding.name == "PostgreSQL" and finding.state != "fail" for finding in cold)
        instance = None
        if there:
            # First: later checks may wait for the same lock.
            yield from guarded("locks", lambda: look_at_waits(db))
            yield from guarded("held locks", lambda: look_at_held(db))
            instance = _instance(db)
        if instance is not None:
            yield from guarded("names", lambda: look_at_names(db))
            yield from guarded("breakers", lambda: look_at_breakers(db))
            yield from guarded("flights", lambda: look_at_flights(db))
        if hot.answering:
            yield from _live(settings, hot, db if there else None, instance)
        if jobs.answering:
            yield from guarded("schedule", lambda: _jobs(jobs.answering[0].url, look_at_jobs))
    finally:
        db.dispose()


def _side_by_side(*looks: Callable[[], Any]) -> list[Any]:
    """The findings of each check, in order; one server that hangs does not delay the others."""
    with ThreadPoolExecutor(len(looks)) as threads:
        return [each.result() for each in [threads.submit(look) for look in looks]]


def _versions() -> Iterator[Finding]:
    yield Finding("Python", "ok", platform.python_version())
    found = []
    for package in ("budget-engine", "redis", "rq", "rq-scheduler", "SQLAlchemy"):
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            found.append(f"{package} from a checkout" if package == "budget-engine" else f"{package} missing")
    missing = [line for line in found if line.endswith("missing")]
    yield Finding(
        "packages", "fail" if missing else "ok", ", ".join(found), "install the package again" if missing else ""
    )
    todo = f"install the {DISTRIBUTION} of this release, or remove it" if speedups.broken else ""
    yield Finding("speedups", "warn" if speedups.broken else "ok", speedups.why, todo)


def _same_redis(hot: Servers, jobs: Servers) -> Iterator[Finding]:
    if not hot.answering or not jobs.answering:
        return
    hot_ids = {server.info.get("run_id") for server in hot.answering}
    jobs_ids = {server.info.get("run_id") for server in jobs.answering}
    if None in hot_ids | jobs_ids:
        yield Finding(
            "separate Redis", "unknown", "a Redis does not permit INFO: cannot tell whether they are two servers"
        )
    elif hot_ids & jobs_ids:
        yield Finding(
            "separate Redis",
            "warn",
            "REDIS_URL and JOBS_REDIS_URL are the same server: whoever can write to it can start and delete jobs, and change budgets",
            "give RQ a Redis of its own",
        )
    else:
        yield Finding("separate Redis", "ok", "budgets and jobs are on two servers")


def _postgresql(db: Engine, settings: Settings) -> Iterator[Finding]:
    place = where(settings.database_url)
    with db.connect() as conn:
        version = str(conn.execute(text("SHOW server_version")).scalar_one())
        standby = conn.execute(text("SELECT pg_is_in_recovery()")).scalar_one()
        writable = takes_writes(conn)
    if major(version) < LEAST_POSTGRESQL:
        yield Finding("PostgreSQL", "fail", f"{place}, {version}", f"use PostgreSQL {LEAST_POSTGRESQL} or newer")
        return
    if not writable:
        detail = "a standby" if standby else "takes no writes: default_transaction_read_only is on"
        todo = "point DATABASE_URL at the primary, or name all servers with target_session_attrs=read-write"
        yield Finding("PostgreSQL", "fail", f"{place}, {version}, {detail}", todo)
        return
    yield Finding("PostgreSQL", "ok", f"{place}, {version}")
    yield from _durability(db)
    found, wanted = revision.current(db), revision.expected()
    if found == wanted:
        yield Finding("migrations", "ok", f"at revision {found}")
    elif found is None or revision.known(found):
        yield Finding(
            "migrations", "fail", f"at {found or 'none'}, this program speaks {wanted}", "run `budget-engine migrate`"
        )
    else:
        yield Finding("migrations", "fail", str(revision.newer(found)))


def _durability(db: Engine) -> Iterator[Finding]:
    """Whether a commit is on disk when PostgreSQL says so. Asked in a session like those of the jobs."""
    with db.connect() as conn:
        commit = str(conn.execute(text("SHOW synchronous_commit")).scalar_one())
        fsync = str(conn.execute(text("SHOW fsync")).scalar_one())
    if commit == "off":
        todo = "ALTER SYSTEM SET synchronous_commit = on, and connect without a pooler that sets it otherwise"
        detail = "synchronous_commit off: a commit may be lost after the journal was trimmed"
        yield Finding("synchronous_commit", "fail", detail, todo)
    else:
        yield Finding("synchronous_commit", "ok", f"synchronous_commit {commit}")
    if fsync != "on":
        todo = "ALTER SYSTEM SET fsync = on, and restart it"
        yield Finding("fsync", "fail", "fsync off: a crash of the machine may ruin the database", todo)


def _instance(db: Engine) -> str | None:
    try:
        return Catalog(db).instance_uuid()
    except Exception:  # noqa: BLE001  # without tables there is no uuid, and the finding on migrations reports it
        return None


def _marks(states: list[LiveShard]) -> Iterator[Finding]:
    """Whether every shard has its server and its mark."""
    away = [state for state in states if state.away]
    if away:
        whys = "; ".join(dict.fromkeys(state.away for state in away))
        yield Finding(
            "shards away", "fail", f"{len(away)} of {SHARDS}: {whys}", "start that server, or let a replica take over"
        )
    broken = [state for state in states if not state.ready and not state.away]
    if broken:
        causes = ", ".join(sorted({state.why for state in broken}))
        shards = ", ".join(str(state.shard) for state in broken[:10]) + (" ..." if len(broken) > 10 else "")
        todo = "a running worker rebuilds them by itself; else run `budget-engine rebuild`"
        yield Finding("shards", "fail", f"{len(broken)} of {SHARDS} are not ready ({shards}): {causes}", todo)
    else:
        there = f"all {SHARDS}" if not away else f"the other {SHARDS - len(away)}"
        yield Finding("shards", "ok", f"{there} carry their mark")


def _live(settings: Settings, hot: Servers, db: Engine | None, instance: str | None) -> Iterator[Finding]:
    """What the shards hold. A server of several that hangs was waited for already, and is not waited for again."""
    wire, plain = open_transport(settings.redis_url), PlainRedis(settings.redis_url, _TIMEOUT_S)
    live = LiveRedis(wire, timeout_s=_TIMEOUT_S)
    try:
        live.known_silent(hot.silent, _RUN_S)
        plain.known_silent(hot.silent, _RUN_S)
        yield from guarded("shards", lambda: _shards(live, db, instance))
        yield from guarded("late grace", lambda: _grace(live, settings.late_grace_minutes))
        if instance is not None and db is not None:
            yield from agreement(live, plain, db, instance)
            infos = [server.info for server in hot.answering]
            yield from guarded("id memory", lambda: capacity(settings, db, infos, plain))
    finally:
        plain.close()
        wire.close()


def _shards(live: LiveRedis, db: Engine | None, instance: str | None) -> Iterator[Finding]:
    states = live.read_shards()
    yield from _marks(states)
    marks = {state.instance for state in states if state.mark}
    if instance is None:
        if marks:
            yield Finding(
                "instance", "unknown", f"Redis is marked {', '.join(sorted(marks))}; PostgreSQL's is not known"
            )
    elif marks - {instance}:
        detail = f"Redis is marked by {', '.join(sorted(marks - {instance}))}, PostgreSQL is {instance}"
        yield Finding(
            "instance", "fail", detail, "REDIS_URL and DATABASE_URL do not belong together: correct one of them"
        )
    else:
        yield Finding(
            "instance", "ok", f"{instance} on both sides" if marks else f"PostgreSQL is {instance}, Redis is unmarked"
        )
    behind = [state for state in states if state.ready and state.clock_ms + CLOCK_WARN_MS < state.now_ms]
    if behind:
        most = max(state.now_ms - state.clock_ms for state in behind)
        detail = f"the hot Redis' clock is {most / 1000:.1f} s behind what {len(behind)} shards have seen: they refuse spends"
        named = ", ".join(str(state.shard) for state in behind[:10]) + (" ..." if len(behind) > 10 else "")
        todo = f"set its clock right, or wait until it has caught up; else `budget-engine rebuild --shard N` for each ({named})"
        yield Finding("shard clocks", "fail", detail, todo)
    ahead = [s for s in states if s.ready and ms_of_entry(s.last_entry_id or START) > s.clock_ms + CLOCK_WARN_MS]
    if ahead:
        named = ", ".join(str(state.shard) for state in ahead[:10]) + (" ..." if len(ahead) > 10 else "")
        detail = f"the journals of {len(ahead)} shards end in the future ({named}): nothing can be appended, so they take no spends"
        yield Finding(
            "shard journals", "fail", detail, "`budget-engine rebuild --shard N` for each: it begins a new journal"
        )
    if db is not None and instance is not None:
        with db.connect() as conn:
            cursors = read_cursors(conn)
        stopped = [cursor for cursor in cursors.values() if cursor.stopped]
        if stopped:
            detail = f"shard {stopped[0].shard}: {stopped[0].stopped}" + (
                f" (and {len(stopped) - 1} more)" if stopped[1:] else ""
            )
            yield Finding("persist", "fail", detail, "run `budget-engine rebuild`")
        else:
            waiting = sum(max(state.n - cursors[state.shard].n, 0) for state in states if state.ready)
            state_of: State = "warn" if waiting > 10_000 else "ok"
            todo = "see that `budget-engine worker` runs" if waiting > 10_000 else ""
            yield Finding("persist", state_of, f"{waiting} journal entries are not in PostgreSQL yet", todo)


def _grace(live: LiveRedis, wanted: int) -> Iterator[Finding]:
    """Whether the shards have this process' grace for late spends: each persist worker publishes its own setting."""
    had = sorted({state.grace_minutes for state in live.read_shards() if state.ready})
    if not had or had == [wanted]:
        return
    have = " and ".join(map(str, had))
    yield Finding(
        "late grace",
        "warn",
        f"LATE_GRACE_MINUTES is {wanted} here, and the shards have {have}",
        "give every worker and command the same setting: else the grace alternates, and a rebuild may take another one",
    )


def _jobs(url: str, look: Callable[[redis.Redis], Iterable[Finding]]) -> Iterator[Finding]:
    with redis.Redis.from_url(url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S) as jobs:
        yield from look(jobs)
