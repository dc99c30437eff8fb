"""The state of the whole system: parts with their age, jobs, what verify found, quarantine and memory; also as plain text to be sent."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from engine.domain.money import format_micros
from engine.domain.periods import at_ms
from engine.errors import ServerAway
from engine.ledger import quarantine, runs
from engine.ledger.quarantine import QuarantineRow
from engine.ledger.runs import RunRecord
from engine.live.transport.plain import PlainRedis
from engine.views.health import Health
from engine.views.invariants import Invariant, invariants
from engine.views.overview import Overview


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one Redis, in bytes. limit: its maxmemory, or else the machine's memory, 0 where it says neither. why: set where it did not answer."""

    name: str
    used: int = 0
    limit: int = 0
    why: str = ""

    @property
    def thousandths(self) -> int:
        """The part that is used."""
        return self.used * 1000 // self.limit if self.limit else 0


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything at one instant. ages: seconds since "redis", "postgresql" and "jobs_redis" answered. verify: the last run that ended, None
    before the first and where PostgreSQL does not answer, as `waiting`, the entries in quarantine.
    """

    health: Health
    ages: Mapping[str, float]
    verify: RunRecord | None
    waiting: tuple[QuarantineRow, ...] | None
    memory: tuple[Memory, ...]

    @property
    def invariants(self) -> list[Invariant]:
        """What the last run of verify found."""
        return [] if self.verify is None else invariants(self.verify.detail or "")

    @property
    def quarantined_micros(self) -> int:
        """How much money waits in quarantine."""
        return sum(row.micros for row in self.waiting or ())

    @property
    def sentence(self) -> str:
        """The state in one sentence."""
        down = [part.name for part in self.health.parts if part.state == "down" and part.serves]
        alarms = [part.name for part in self.health.parts if part.state == "down" and not part.serves]
        wait = [part.name for part in self.health.parts if part.state == "wait"]
        failed = [job.job for job in self.health.jobs if job.outcome == "failed"]
        overdue = [job.job for job in self.health.jobs if job.overdue and job.outcome != "failed"]
        said = [
            *([f"{_list(down)} {'is' if len(down) == 1 else 'are'} down"] if down else []),
            *([f"something is wrong: see {_list(alarms)}"] if alarms else []),
            *([f"{_list(wait)} {'needs' if len(wait) == 1 else 'need'} a look"] if wait else []),
            *([f"the last run of {_list(failed)} failed"] if failed else []),
            *([f"{_list(overdue)} {'is' if len(overdue) == 1 else 'are'} overdue"] if overdue else []),
        ]
        text = "; ".join(said) or "Everything works"
        return text[:1].upper() + text[1:]

    def text(self) -> str:
        """All of it as plain text, for a message to whoever can help. It has no password."""
        health = self.health
        lines = [f"{self.sentence}.", f"{at_ms(health.now_ms):%Y-%m-%d %H:%M:%S} UTC, Python {platform.python_version()}, {platform.system()} {platform.release()}", ""]  # fmt: skip
        lines += [f"{part.state:5} {part.name}{self._age(part.key)}: {part.detail}" for part in health.parts]
        lines += ["", "Jobs"]
        lines += [
            f"{'late ' if job.overdue else '     '} {job.job} ({job.due}): "
            + ("never" if job.last_started_ms is None else f"{at_ms(job.last_started_ms):%Y-%m-%d %H:%M:%S} UTC, {job.outcome}")
            + (f", {job.detail}" if job.detail else "")
            for job in health.jobs
        ]  # fmt: skip
        lines += ["", "Verify" if self.verify else "Verify: no run is known"]
        lines += [
            f"{one.state:5} {one.id} {one.words}" + (f": {format_micros(one.micros)}, {one.finding}" if one.finding else "")
            for one in self.invariants
        ]  # fmt: skip
        waiting = "not known" if self.waiting is None else str(len(self.waiting))
        lines += ["", f"Quarantine: {waiting} waiting, {format_micros(self.quarantined_micros)}"]
        lines += [
            f"Memory of {one.name}: {one.why or f'{one.used >> 20} of {one.limit >> 20} MiB'}" for one in self.memory
        ]
        return "\n".join(lines) + "\n"

    def _age(self, key: str) -> str:
        return f" ({self.ages[key]:.0f} s ago)" if key in self.ages else ""


def diagnose(overview: Overview, db: Engine, hot: PlainRedis, jobs: redis.Redis) -> Diagnosis:
    """Looks at everything. Raises nothing because a server is away, and asks none again that hangs."""
    health = overview.health()
    down = {part.key: part.detail for part in health.parts if part.state == "down"}
    verify: RunRecord | None = None
    waiting: tuple[QuarantineRow, ...] | None = None
    if "postgresql" not in down:
        try:
            verify = runs.last_ended(db, "verify")
            with db.connect() as connection:
                waiting = tuple(quarantine.rows(connection))
        except (ServerAway, SQLAlchemyError):
            verify, waiting = None, None
    return Diagnosis(health, overview.parts.ages(), verify, waiting, tuple(_memories(down, hot, jobs)))


def _memories(down: Mapping[str, str], hot: PlainRedis, jobs: redis.Redis) -> list[Memory]:
    found = []
    if "redis" in down:
        found.append(Memory("Redis", why="not known now"))
    else:
        try:
            servers = dict(hot.each())
        except (redis.RedisError, OSError, ServerAway) as error:
            servers = {}
            found.append(Memory("Redis", why=_short(error)))
        found += [_memory("Redis" if len(servers) == 1 else f"Redis at {at}", one) for at, one in servers.items()]
    found.append(Memory("jobs Redis", why="not known now") if "jobs_redis" in down else _memory("jobs Redis", jobs))
    return found


def _memory(name: str, server: redis.Redis) -> Memory:
    try:
        info: dict[str, Any] = server.info("memory")
    except (redis.RedisError, OSError) as error:
        return Memory(name, why=_short(error))
    limit = int(info.get("maxmemory", 0)) or int(info.get("total_system_memory", 0))
    return Memory(name, int(info.get("used_memory", 0)), limit)


def _short(error: Exception) -> str:
    return f"no answer: {' '.join(str(error).split())[:120]}"


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
