"""`make packed-log SPENDS=n`: what persist costs in both forms of SPEND_LOG, and how many bytes PostgreSQL keeps for a spend.

The journal is filled once for each load and persisted in each form, persist and PostgreSQL together on one processor and Redis on another.
Both forms must read back as the same spends.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import text

from benchmarks import size
from benchmarks.catalog_of_size import fill, publish_all
from benchmarks.embedded import servers
from benchmarks.processors import pin, processor_s
from engine.client.sync import Spend
from engine.domain.ids import brand_of, shard_of
from engine.live.keys import shard_keys
from engine.settings import PACKED, Settings
from engine.wiring import System

HEAD: Final = (
    "| load | form | spends/s | processor: persist | PostgreSQL | Redis | spends/s a core | bytes a spend | read back |\n"
    "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
)
WANTED: Final = {"packed calls": 1_000_000, "single spends": 100_000}
"""Spends a second in packed form on one core: of persist and PostgreSQL together."""
BRANDS: Final = 256
CAMPAIGNS_EACH: Final = 10
_A_CALL: Final = 1000
_AT_ONCE: Final = 500
_SIZE: Final = (
    "SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0)::bigint FROM pg_inherits"
    " WHERE inhparent IN ('spend_log'::regclass, 'spend_pack'::regclass)"
)
_FINGERPRINT: Final = "SELECT count(*), sum(amount_micros)::bigint, sum(hashtextextended(spend::text, 0)) FROM spend"


@dataclass(frozen=True, slots=True)
class Drained:
    """One load in one form. The three processor times are seconds; read_s: of adding up all spends."""

    load: str
    form: str
    spends: int
    wall_s: float
    persist_s: float
    postgres_s: float
    redis_s: float
    bytes: int
    read_s: float

    @property
    def a_core(self) -> float:
        """Spends a second of one core that persist and PostgreSQL share."""
        return self.spends / (self.persist_s + self.postgres_s)

    def line(self) -> str:
        """As a line of the table; processor times are microseconds a spend."""
        times = " | ".join(f"{s / self.spends * 1e6:.2f} us" for s in (self.persist_s, self.postgres_s, self.redis_s))
        return (
            f"| {self.load} | {self.form} | {self.spends / self.wall_s:,.0f} | {times} | {self.a_core:,.0f}"
            f" | {self.bytes / self.spends:.1f} | {self.read_s:.2f} s |"
        )


def measure(system: System, load: str, spends: int, say: Callable[[str], None]) -> list[Drained]:
    """A load in both forms."""
    campaigns = _catalog(system)
    _LOADS[load](system, campaigns, spends)
    if hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1:
        pin({0}, "postgres")
        pin({1}, "valkey", "redis")
    out, prints = [], set()
    for form in ("rows", PACKED):
        _empty_log(system)
        found = _drain(system, load, form)
        with system.db.connect() as conn:
            prints.add(tuple(conn.execute(text(_FINGERPRINT)).one()))
        out.append(found)
        say(found.line())
    if len(prints) != 1 or next(iter(prints))[0] != spends:
        raise RuntimeError(f"{load}: {spends:,} spends read back as {prints}")
    return out


def _catalog(system: System) -> list[list[int]]:
    """The campaigns of each brand."""
    sized = fill(system.db, BRANDS, CAMPAIGNS_EACH, daily=None, monthly=None)
    publish_all(system)
    return [[campaign for campaign in sized.campaigns if brand_of(campaign) == brand] for brand in sized.brands]


def _calls(system: System, campaigns: list[list[int]], spends: int, events: bool = False) -> None:
    """Calls of a thousand spends over the campaigns of two brands of one shard, as `record_spends` makes them."""
    for call in range(spends // _A_CALL):
        own = campaigns[call % BRANDS] + campaigns[(call + 64) % BRANDS]
        system.client.record_spends(
            [
                Spend(
                    own[i % len(own)],
                    None,
                    f"{call:08x}-{i:04x}-win-notice" if events else None,
                    500 + (call * 7919 + i * 104_729) % 9500,
                )
                for i in range(_A_CALL)
            ]
        )


def _named_calls(system: System, campaigns: list[list[int]], spends: int) -> None:
    _calls(system, campaigns, spends, events=True)


def _singles(system: System, campaigns: list[list[int]], spends: int) -> None:
    """Entries of one spend each, written as the script writes them: by calls they would take longer than all the rest."""
    numbers = {state.shard: state.n for state in system.live.read_shards()}
    at = system.live.now_ms()
    for first in range(0, spends, _AT_ONCE):
        pipe = system.hot_redis.pipeline(transaction=False)
        for number in range(first, min(first + _AT_ONCE, spends)):
            own = campaigns[number * 37 % BRANDS]
            shard = shard_of(brand_of(own[0]))
            numbers[shard] += 1
            body = f"{own[number % len(own)]},{500 + number * 7919 % 9500},,;"
            fields = {"f": "1", "n": numbers[shard], "r": f"449491a7a7488cb76a.{number}", "b": body}
            pipe.xadd(shard_keys(shard).journal, fields, f"{at + number // 100}-*")  # type: ignore[arg-type]
        pipe.execute()
    for shard, n in numbers.items():
        system.hot_redis.hset(shard_keys(shard).shard, "n", n)


_LOADS: Final[dict[str, Callable[[System, list[list[int]], int], None]]] = {
    "packed calls": _calls,
    "packed calls with event ids": _named_calls,
    "single spends": _singles,
}


def _empty_log(system: System) -> None:
    """As before the first persist; the journal still has everything."""
    with system.db.begin() as conn:
        conn.execute(text("TRUNCATE spend_log, spend_pack, campaign_day, campaign_hour, brand_minute, mixed_request"))
        conn.execute(text("UPDATE journal_cursor SET n = 0, generation = 0, entry_id = '0-0'"))


def _drain(system: System, load: str, form: str) -> Drained:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    environment = {**system.settings.as_environment(), "SPEND_LOG": form}
    process = context.Process(target=_drain_alone, args=(environment, theirs))
    process.start()
    ours.recv()
    before = {name: processor_s(name) for name in ("postgres", "valkey", "redis")}
    ours.send(None)
    spends, wall_s, persist_s = ours.recv()
    used = {name: processor_s(name) - seconds for name, seconds in before.items()}
    ours.send(None)
    process.join()
    with system.db.connect() as conn:
        kept = conn.execute(text(_SIZE)).scalar_one()
        began = time.perf_counter()
        conn.execute(text("SELECT campaign_id, sum(amount_micros), count(*) FROM spend GROUP BY 1")).all()
        read_s = time.perf_counter() - began
    return Drained(
        load, form, spends, wall_s, persist_s, used["postgres"], used["valkey"] + used["redis"], kept, read_s
    )


def _drain_alone(environment: dict[str, str], pipe: Any) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    system = System(Settings.load(environment, None))
    system.persister.backlog()
    pipe.send(None)
    pipe.recv()
    began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    done = system.persister.drain_all()
    wall_s, now = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    # PostgreSQL's session stays, so that its processor time is still seen.
    pipe.send((done.rows, wall_s, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime))
    pipe.recv()
    system.close()


def main() -> int:
    """Every load on servers of its own; 1 when packed form is slower than wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spends", type=int, default=1_000_000, help="of packed calls; a fifth of it of single spends")
    parser.add_argument("--load", choices=_LOADS, action="append", help="one load alone; all by default")
    given = parser.parse_args()
    slow = []
    print(HEAD, flush=True)
    for load in given.load or _LOADS:
        spends = given.spends if load != "single spends" else given.spends // 5
        with servers() as urls, size.fresh(urls) as system:
            found = measure(system, load, spends, lambda line: print(line, flush=True))
        if load in WANTED and found[-1].a_core < WANTED[load]:
            slow.append(f"{load}: {found[-1].a_core:,.0f} spends/s a core, wanted {WANTED[load]:,}")
    print("\n".join(slow))
    return 1 if slow else 0


if __name__ == "__main__":
    raise SystemExit(main())
