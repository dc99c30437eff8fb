"""`python -m benchmarks.size [BRANDS ...]`: what each job costs at 1,000, 10,000 and 100,000 campaigns, and how it
delays bidders.

For each size the benchmark makes a fresh catalog on servers of its own. It measures each job: wall time, Redis' time in
scripts, the longest script, statements in PostgreSQL. At the largest size it also measures single spends from a process
of their own, with and without check, close and persist beside them.
"""

from __future__ import annotations

import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import redis
from sqlalchemy import event, text

from benchmarks import beside
from benchmarks.beside import BUSY, QUIET, Latency
from benchmarks.catalog_of_size import Sized, fill, publish_all, spend_once_each
from engine.domain.periods import DAY_MS, date_of, day_of
from engine.flows.catalog.check import check_all
from engine.ledger import migrate
from engine.ledger.database import make_engine
from engine.live.keys import keys_of_brand, keys_of_campaign
from engine.live.scripts import NAMES, script, swapping
from engine.local.servers import EmbeddedServers, Urls
from engine.settings import Settings
from engine.wiring import System
from web import create_app

SIZES: Final = (10, 100, 1000)
"""Brands, of a hundred campaigns each."""
STALL_MS: Final = 5.0
"""The longest time for which a script may block Redis."""
BYTES_A_CAMPAIGN: Final = 300
P99_RATIO: Final = 2.0
"""The highest ratio of the p99 of spends beside jobs to the p99 without them."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one job at one size. redis_ms: all time in scripts. longest, longest_ms: the slowest script and its
    time. answer: what the job returned.
    """

    job: str
    campaigns: int
    wall_s: float
    redis_ms: float
    calls: int
    longest_ms: float
    longest: str
    statements: int
    answer: str


@dataclass(slots=True)
class Measured:
    """All figures of a run."""

    costs: list[Cost] = field(default_factory=list)
    bytes_a_campaign: dict[int, float] = field(default_factory=dict)
    """Bytes of Redis a campaign, by the number of campaigns. They include a share of the brand's hash, and counters of
    a day and a month.
    """
    latency: list[Latency] = field(default_factory=list)

    @property
    def p99_ratio(self) -> float:
        """The ratio of the worst p99 beside a job to the p99 without jobs."""
        return self._worst_against(QUIET)

    @property
    def p99_ratio_to_busy(self) -> float:
        """The ratio of the worst p99 beside a job to the p99 beside a process that only keeps a CPU busy. On few cores
        it separates Redis' part of a delay from the machine's.
        """
        return self._worst_against(BUSY)

    def _worst_against(self, peer: str) -> float:
        p99 = {row.beside: row.p99_us for row in self.latency}
        jobs = [value for name, value in p99.items() if name not in (QUIET, BUSY)]
        return max(jobs) / p99[peer] if jobs and peer in p99 else 0.0

    def plain(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return asdict(self) | {"p99_ratio": self.p99_ratio, "p99_ratio_to_busy": self.p99_ratio_to_busy}


def measure(servers: Urls, sizes: Sequence[int] = SIZES, say: Callable[[str], None] = print) -> Measured:
    """Measures every job at every size, and spends beside the jobs at the last one. Empties the servers' Redis before
    each size, and uses a new database.
    """
    out = Measured()
    for brands in sizes:
        with fresh(servers) as system:
            sized = _measure_size(system, brands, out, say)
            if brands == sizes[-1]:
                out.latency = beside.measure(system, sized, say)
            _after_midnight(system, sized, out, say)
    return out


@contextmanager
def fresh(servers: Urls) -> Iterator[System]:
    """A ready system on the emptied Redis of these servers and a new database, which is dropped at the end."""
    name = f"size_{uuid.uuid4().hex[:8]}"
    admin = make_engine(servers.database).execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as conn:
        conn.execute(text(f"CREATE DATABASE {name}"))
    database = urlunsplit(urlsplit(servers.database)._replace(path=f"/{name}"))
    environment = {"REDIS_URL": servers.hot, "JOBS_REDIS_URL": servers.jobs, "DATABASE_URL": database}
    system = System(Settings.load(environment, None))
    try:
        migrate.upgrade(system.db)
        system.hot_redis.flushdb()
        system.rebuilder.rebuild_missing()
        yield system
    finally:
        system.hot_redis.flushdb()
        system.close()
        with admin.connect() as conn:
            conn.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()


def _measure_size(system: System, brands: int, out: Measured, say: Callable[[str], None]) -> Sized:
    sized = fill(system.db, brands)

    def cost(job: str, work: Callable[[], object]) -> None:
        _cost(system, job, len(sized.campaigns), work, out, say)

    cost("first publish", lambda: publish_all(system))
    cost("first check", lambda: check_all(system.publisher, system.status))
    cost("check, nothing changed", lambda: check_all(system.publisher, system.status))
    cost("publish, nothing changed", lambda: publish_all(system))
    cost("one spend on each", lambda: spend_once_each(system, sized))
    cost("persist", system.persister.drain_all)
    with system.db.begin() as conn:
        conn.execute(
            text("UPDATE brand SET daily_budget_micros = 1, version = version + 1 WHERE id % 10 = 0"),
        )
    cost("check, one brand in ten stops", lambda: check_all(system.publisher, system.status))
    cost("overview", system.overview.snapshot)
    visitor = create_app(system).test_client()
    cost("status page's fragment", lambda: visitor.get("/live", base_url="http://localhost").status)
    cost("verify", lambda: [c for c in system.verifier.verify() if c.result == "FAIL"] or "no FAIL")
    out.bytes_a_campaign[len(sized.campaigns)] = bytes_a_campaign(system.hot_redis, sized)
    say(f"{out.bytes_a_campaign[len(sized.campaigns)]:.0f} bytes of Redis a campaign")
    return sized


def _after_midnight(system: System, sized: Sized, out: Measured, say: Callable[[str], None]) -> None:
    """Measures the close of a day and a month, with scripts whose clock is ahead, and the rebuild."""
    system.persister.drain_all()
    now = system.live.now_ms()
    month_later = next(d for d in range(day_of(now) + 2, day_of(now) + 40) if date_of(d).day == 2)
    for job, ahead in (("close_day", 1), ("close_month and every day of it", month_later - day_of(now))):
        with swapping({"lib/clock.lua": _CLOCK_AHEAD % (ahead * DAY_MS)}):
            _cost(system, job, len(sized.campaigns), system.closer.close_ended, out, say)
            _cost(system, f"{job}, again", len(sized.campaigns), system.closer.close_ended, out, say)
    with swapping({"lib/clock.lua": _CLOCK_AHEAD % ((month_later - day_of(now)) * DAY_MS)}):
        _cost(
            system, "rebuild of all 64 shards", len(sized.campaigns), lambda: len(system.rebuilder.rebuild()), out, say
        )


_CLOCK_AHEAD: Final = """
local function read_clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000) + %d
end
"""


def _cost(
    system: System, job: str, campaigns: int, work: Callable[[], object], out: Measured, say: Callable[[str], None]
) -> None:
    plain, statements = system.hot_redis, 0

    def count(*_: object) -> None:
        nonlocal statements
        statements += 1

    names = {script(name).sha1: name for name in NAMES}
    with watching(plain):
        event.listen(system.db, "before_cursor_execute", count)
        began = time.perf_counter()
        try:
            answer = work()
        finally:
            wall = time.perf_counter() - began
            event.remove(system.db, "before_cursor_execute", count)
        calls, usec = scripts_cost(plain)
        longest_us, longest = longest_script(plain, names)
    cost = Cost(
        job, campaigns, wall, usec / 1000, calls, longest_us / 1000, longest, statements, _short(answer)
    )  # fmt: skip
    out.costs.append(cost)
    say(line_of(cost))


def _short(answer: object) -> str:
    said = " ".join(str(answer).split())
    return said if len(said) <= 60 else said[:57] + "..."


HEAD: Final = (
    "| job | campaigns | wall s | us a campaign | Redis ms | script calls | longest ms | statements |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | --- | ---: |"
)


def line_of(cost: Cost) -> str:
    """Formats a cost as a line of the table."""
    return (
        f"| {cost.job} | {cost.campaigns:,} | {cost.wall_s:.2f} | {cost.wall_s / cost.campaigns * 1e6:.0f} | {cost.redis_ms:.0f}"
        f" | {cost.calls} | {cost.longest_ms:.1f} {cost.longest} | {cost.statements} |"
    )


@contextmanager
def watching(plain: redis.Redis, slower_than_us: int = 500) -> Iterator[None]:
    """Resets Redis' statistics, and makes its slow log keep every script of at least `slower_than_us`."""
    before = plain.config_get("slowlog-*")
    plain.config_set("slowlog-log-slower-than", slower_than_us)
    plain.config_set("slowlog-max-len", 4096)
    plain.config_resetstat()
    plain.slowlog_reset()
    try:
        yield
    finally:
        for name, value in before.items():
            plain.config_set(str(name), str(value))


def scripts_cost(plain: redis.Redis) -> tuple[int, float]:
    """The number of script calls since `watching` began, and Redis' time in them in microseconds."""
    stats = plain.info("commandstats").get("cmdstat_evalsha", {})
    return int(stats.get("calls", 0)), float(stats.get("usec", 0))


def longest_script(plain: redis.Redis, names: dict[str, str]) -> tuple[float, str]:
    """The longest script since `watching` began, in microseconds, and its name; 0 where the slow log has none."""
    longest, named = 0.0, ""
    for entry in plain.slowlog_get(4096):
        words = entry["command"].split(b" ", 2)
        if words[0].upper() == b"EVALSHA" and entry["duration"] > longest:
            longest, named = float(entry["duration"]), names.get(words[1].decode(), "?")
    return longest, named


def bytes_a_campaign(plain: redis.Redis, sized: Sized) -> float:
    """MEMORY USAGE of the hashes of campaigns and brands, divided by the number of campaigns."""
    pipe = plain.pipeline(transaction=False)
    for campaign in sized.campaigns:
        pipe.memory_usage(keys_of_campaign(campaign).campaign(campaign))
    for brand in sized.brands:
        pipe.memory_usage(keys_of_brand(brand).brand(brand))
    return float(sum(pipe.execute()) / len(sized.campaigns))


def main(sizes: Sequence[int]) -> None:
    """Runs the benchmark on servers of its own."""
    with tempfile.TemporaryDirectory(prefix="budget size ") as folder:
        servers = EmbeddedServers(Path(folder) / "data")
        urls = servers.start(may_create_databases=True)
        try:
            print(HEAD, flush=True)
            seen = measure(urls, sizes, lambda line: print(line, flush=True))
        finally:
            servers.remove()
    worst = max(seen.costs, key=lambda cost: cost.longest_ms)
    print(f"\np99 of spends beside jobs: {seen.p99_ratio:.2f} x that without them (at most {P99_RATIO:g})")
    print(f"and {seen.p99_ratio_to_busy:.2f} x that beside a process that only keeps a processor busy")
    print(f"the longest script: {worst.longest_ms:.1f} ms, {worst.longest} in {worst.job} (at most {STALL_MS:g})")
    for campaigns, size in seen.bytes_a_campaign.items():
        print(f"{campaigns:,} campaigns: {size:.0f} bytes a campaign (at most {BYTES_A_CAMPAIGN})")


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or SIZES)
