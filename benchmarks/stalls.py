"""Measures for how long each script blocks Redis at its largest documented call: server time by SLOWLOG, the best and
the median of several calls.

A busy machine may preempt Redis in the middle of a script. So the best call shows what the script costs, and the median
whether that is usual. `python -m benchmarks.stalls` runs it on servers of its own.
"""

from __future__ import annotations

import statistics
import tempfile
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.catalog_of_size import fill, publish_all
from benchmarks.size import STALL_MS, watching
from benchmarks.stalls_of_holds import cases_of_holds, cases_of_many_brands, cases_of_rebuild
from engine.client.sync import Spend
from engine.domain.ids import SHARDS, campaign_id_of, shard_of
from engine.domain.periods import day_of
from engine.domain.schedule import Schedule
from engine.ledger import migrate
from engine.live.admin import SLICE
from engine.live.keys import ShardKeys, keys_of_brand
from engine.live.scripts import LAYOUT, script
from engine.live.transport.pool import Call
from engine.local.servers import EmbeddedServers
from engine.settings import Settings
from engine.wiring import System

MANY_IDS: Final = 1_000_000
_ROUNDS: Final = 9


@dataclass(frozen=True, slots=True)
class Stall:
    """The server time of one script's largest call, in milliseconds."""

    what: str
    best_ms: float
    median_ms: float


def measure(system: System, say: Callable[[str], None] = print, ids: int = MANY_IDS) -> list[Stall]:
    """Measures every script at its largest call, on a ready system. ids: how many ids an expired dedup window has."""
    brand, other = fill(system.db, 2, 400, daily=None, monthly=None).brands
    publish_all(system)
    campaigns = [campaign_id_of(brand, ordinal) for ordinal in range(1, 401)]
    keys, client, live = keys_of_brand(brand), system.client, system.live
    fresh = iter(range(10**6))
    weekdays = Schedule.parse({"days": ["mon", "tue", "wed", "thu", "fri"], "start_time": "09:00", "end_time": "17:00"})

    def call(name: str, hashes: Sequence[str], args: Sequence[str], fixed: Sequence[str] = (keys.shard,)) -> None:
        live.call_all([Call(script(name), (*fixed, *hashes), args)])

    def publish() -> None:
        first = next(fresh) * SLICE
        ids_ = [campaign_id_of(other, 401 + first + i) for i in range(SLICE)]
        args = [LAYOUT, system.instance, str(other), "1", "", "", "0", "0"]
        for id_ in ids_:
            args += [str(id_), "1", "1", "0", weekdays.compiled, "1"]
        of = keys_of_brand(other)
        call("publish", [of.campaign(i) for i in ids_], args, (of.shard, of.registry, of.journal, of.brand(other)))

    hashes = [keys.campaign(c) for c in campaigns[:SLICE]]
    today = day_of(live.now_ms())

    def prune() -> None:
        pipe = system.hot_redis.pipeline(transaction=False)
        for key in hashes:
            pipe.hset(key, f"d:{today - 1}", "123456789")
        pipe.execute()
        call("prune", hashes, [LAYOUT, system.instance, f"d:{today - 1}"])

    def ids_of(spends: int, over: int) -> list[Spend]:
        return [Spend(campaigns[i % over], amount_micros=i + 1, event_id=uuid.uuid4().hex) for i in range(spends)]

    def twice(spends: int, over: int) -> list[Spend]:
        batch = ids_of(spends, over)
        return [*batch[:-1], batch[0]]

    out: list[Stall] = []
    cases: list[tuple[str, str, Callable[[], object]]] = [
        ("record_spends", "1,000 spends over 20 campaigns", lambda: client.record_spends([Spend(campaigns[i % 20], amount_micros=i + 1) for i in range(1000)])),
        ("record_spends", "1,000 spends over 200 campaigns", lambda: client.record_spends([Spend(campaigns[i % 200], amount_micros=i + 1) for i in range(1000)])),
        ("record_spends", "500 spends with event ids over 58 campaigns", lambda: client.record_spends(ids_of(500, 58))),
        ("record_spends", "334 spends with event ids over 100 campaigns", lambda: client.record_spends(ids_of(334, 100))),
        ("try_spends", "1,000 spends over 200 campaigns, some of them closed", lambda: client.try_spends([Spend(campaigns[i % 200], amount_micros=i + 1) for i in range(1000)])),
        ("record_spends", "200 spends with event ids over 58 campaigns, one of them twice", lambda: client.record_spends(twice(200, 58))),
        ("try_spends", "200 spends with event ids over 58 campaigns, some of them closed", lambda: client.try_spends(ids_of(200, 58))),
        ("try_spends", "133 spends with event ids over 100 campaigns, some of them closed", lambda: client.try_spends(ids_of(133, 100))),
        *cases_of_holds(system, brand, campaigns),
        ("publish", "200 new campaigns", publish),
        ("read_plan", "200 campaigns", lambda: call("read_plan", hashes, [LAYOUT], (keys.shard, keys.brand(brand)))),
        ("read_totals", "200 hashes, 3 fields", lambda: call("read_totals", hashes, [LAYOUT, f"d:{today}", f"d:{today - 1}", "m:202611"])),
        ("prune", "200 hashes", prune),
        ("record_spends", f"one spend that drops {ids:,} remembered ids", lambda: _rotate(system, keys, campaigns[0], ids)),
        *cases_of_rebuild(system, brand),
    ]  # fmt: skip
    cases += cases_of_many_brands(system, brand)
    # Last, because its journal entries do not come from a script.
    cases.append(("trim", "a journal of 100,000 entries", lambda: _trim(system, keys, brand)))
    for name, size, work in cases:
        heavy = name == "trim" or "drops" in size or "rebuild" in name
        taken = [_server_ms(system, name, work) for _ in range(3 if heavy else _ROUNDS)]
        stall = Stall(f"{name}: {size}", min(taken), statistics.median(taken))
        out.append(stall)
        say(line_of(stall))
    return out


HEAD: Final = "| script at its largest | best ms | median ms | |\n| --- | ---: | ---: | --- |"


def line_of(stall: Stall) -> str:
    """Formats a stall as a line of the table."""
    return f"| {stall.what} | {stall.best_ms:.2f} | {stall.median_ms:.2f} | {'pass' if stall.best_ms <= STALL_MS else 'above'} |"


def _server_ms(system: System, name: str, work: Callable[[], object]) -> float:
    """The longest call of one script during the work, in milliseconds of the server's clock."""
    plain, sha1 = system.hot_redis, script(name).sha1.encode()
    with watching(plain, 0):
        work()
        seen = [entry["duration"] for entry in plain.slowlog_get(4096) if sha1 in entry["command"]]
    return float(max(seen)) / 1000


def _rotate(system: System, keys: ShardKeys, campaign: int, ids: int) -> None:
    """Fills the older hash of event ids and ends its window, so that the next call unlinks it."""
    plain = system.hot_redis
    active = int(plain.hget(keys.shard, "ev_active") or 0)
    old = keys.events[1 - active]
    for start in range(0, ids, 10_000):
        plain.hset(
            old, mapping={f"81:{i:032x}": "5308417,2500000,20780" for i in range(start, min(start + 10_000, ids))}
        )
    plain.hset(keys.shard, "ev_until", "1")
    plain.slowlog_reset()
    system.client.record_spend(campaign, amount_micros=1, event_id=uuid.uuid4().hex)


def _trim(system: System, keys: ShardKeys, brand: int) -> None:
    """Appends entries of a realistic size to the journal, and trims it to the last one."""
    plain = system.hot_redis
    pipe = plain.pipeline(transaction=False)
    last = int(str(plain.xinfo_stream(keys.journal)["last-generated-id"], "ascii").partition("-")[0])
    for i in range(100_000):
        pipe.xadd(
            keys.journal,
            {"f": "1", "n": "1", "r": f"{i:032x}", "b": f"{brand * 65536 + 1},2500000,,;"},
            id=f"{last + 1}-{i + 1}",
        )
        if i % 5000 == 4999:
            pipe.execute()
    plain.slowlog_reset()
    system.live.trim(system.instance, shard_of(brand), f"{last + 2}-0")


def main() -> None:
    """Runs the benchmark on servers of its own."""
    with tempfile.TemporaryDirectory(prefix="budget stalls ") as folder:
        servers = EmbeddedServers(Path(folder) / "data")
        urls = servers.start()
        try:
            environment = {"REDIS_URL": urls.hot, "JOBS_REDIS_URL": urls.jobs, "DATABASE_URL": urls.database}
            system = System(Settings.load(environment, None))
            migrate.upgrade(system.db)
            system.rebuilder.rebuild(range(SHARDS))
            print(HEAD, flush=True)
            measure(system, lambda line: print(line, flush=True))
            system.close()
        finally:
            servers.remove()


if __name__ == "__main__":
    main()
