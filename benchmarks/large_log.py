"""`python -m benchmarks.large_log [ROWS] [NEW]`: a spend log of so many rows on one day. What verify costs there, a check
and a close beside it, and the plan of each query that reads the log.

The rows are made by PostgreSQL itself, in a data folder of its own that is deleted afterwards. They take about 300
bytes each with their indexes. TMPDIR names the disk.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import text

from benchmarks import large_log_plans, size
from benchmarks.catalog_of_size import Sized, fill, publish_all
from benchmarks.processors import processor_s
from engine.client.sync import Spend
from engine.flows.catalog.check import check_all
from engine.ledger.spend_log import partition_of
from engine.local.servers import EmbeddedServers
from engine.wiring import System

ROWS: Final = 10_000_000
NEW: Final = 100_000
BRANDS: Final = 256
CAMPAIGNS_EACH: Final = 10
RECENT_S: Final = 10.0
"""A verify of what is new may take no longer."""
HEAD: Final = "| spend log | rows | seconds | processor seconds |\n| --- | ---: | ---: | ---: |"
_A_CALL: Final = 1000

# Row i belongs to brand i modulo BRANDS, so 64 rows in a row are of 64 shards, and n is i / 64.
_ROWS: Final = (
    "INSERT INTO {partition} (recorded_at, day, brand_id, campaign_id, amount_micros, event_id, request_id, kind, shard,"
    " generation, n, position) SELECT CAST(:begin AS timestamptz) + i * CAST(:step AS interval), :day, brand,"
    " brand * 65536 + 1 + (i / :brands) % :each, 1000 + i % 1000, 'event-' || i, 'request-' || i, 'spend', brand % 64,"
    " 1, 1 + i / 64, 0 FROM (SELECT i, :first + i % :brands AS brand FROM generate_series(CAST(:low AS bigint), :high) AS i) AS made"
)
_HOURS: Final = (
    "INSERT INTO campaign_hour (day, campaign_id, hour, brand_id, spend_micros, spends)"
    " SELECT day, campaign_id, EXTRACT(hour FROM recorded_at AT TIME ZONE 'UTC'), brand_id, sum(amount_micros), count(*)"
    " FROM spend_log GROUP BY 1, 2, 3, 4"
)
_DAYS: Final = (
    "INSERT INTO campaign_day (campaign_id, day, brand_id, spend_micros, spends)"
    " SELECT campaign_id, day, brand_id, sum(spend_micros), sum(spends) FROM campaign_hour GROUP BY 1, 2, 3"
)
_A_PART: Final = 5_000_000


def fill_log(system: System, sized: Sized, rows: int, end: datetime) -> date:
    """Rows of one day up to an instant, with their sums and cursors; Redis is rebuilt from them. Returns the day."""
    day = end.date()
    begin = datetime.combine(day, datetime.min.time(), UTC)
    partition = partition_of("spend_log", day)
    with system.db.begin() as conn:
        conn.execute(text(f"DROP TABLE IF EXISTS {partition}"))
        # Without indexes first: PostgreSQL makes each in one go when the partition is attached.
        conn.execute(text(f"CREATE TABLE {partition} (LIKE spend_log INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"))
        for low in range(0, rows, _A_PART):
            values = {"low": low, "high": min(low + _A_PART, rows) - 1, "step": (end - begin) / rows, "day": day}
            values |= {"begin": begin, "first": sized.brands[0], "brands": BRANDS, "each": CAMPAIGNS_EACH}
            conn.execute(text(_ROWS.format(partition=partition)), values)
        conn.execute(text("SET LOCAL maintenance_work_mem = '512MB'"))
        bounds = f"FROM ('{day}') TO ('{day + timedelta(days=1)}')"
        conn.execute(text(f"ALTER TABLE spend_log ATTACH PARTITION {partition} FOR VALUES {bounds}"))
        conn.execute(text(_HOURS))
        conn.execute(text(_DAYS))
        conn.execute(text("UPDATE journal_cursor SET n = :n"), {"n": 1 + rows // 64})
        conn.execute(text("UPDATE brand SET created_at = :begin"), {"begin": begin})
    with system.db.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("VACUUM (ANALYZE) spend_log, campaign_day, campaign_hour"))
    system.hot_redis.flushdb()
    system.rebuilder.rebuild_missing()
    system.persister.drain_all()
    check_all(system.publisher, system.status)
    return day


def spend(system: System, sized: Sized, count: int) -> None:
    """New rows, by the engine itself."""
    campaigns = sized.campaigns
    for start in range(0, count, _A_CALL):
        system.client.record_spends(
            [Spend(campaigns[i % len(campaigns)], amount_micros=1000) for i in range(start, start + _A_CALL)]
        )
    system.persister.drain_all()


def measure(system: System, rows: int, new: int, say: Callable[[str], None]) -> float:
    """The rows of the table, and the seconds of a verify of what is new. The system is empty before."""
    sized = fill(system.db, BRANDS, CAMPAIGNS_EACH, daily=None, monthly=None)
    publish_all(system)

    def row(what: str, count: int, work: Callable[[], object]) -> float:
        began, used = time.perf_counter(), processor_s()
        work()
        took = time.perf_counter() - began
        say(f"| {what} | {count:,} | {took:.2f} | {processor_s() - used:.2f} |")
        return took

    row("filled", rows, lambda: fill_log(system, sized, rows, _end(system)))
    row("verify of everything", rows, lambda: _passes(system, recent=False))
    row("verify, nothing new", 0, lambda: _passes(system, recent=True))
    row("spends and persist", new, lambda: spend(system, sized, new))
    took = row(f"verify of what is new (at most {RECENT_S:g} s)", new, lambda: _passes(system, recent=True))
    beside: list[threading.Thread] = []
    for what, work in (
        ("check", lambda: check_all(system.publisher, system.status)),
        ("close", system.closer.close_ended),
    ):
        alone = row(what, rows, work)
        beside.append(threading.Thread(target=_passes, args=(system,), kwargs={"recent": False}))
        beside[-1].start()
        time.sleep(min(1.0, alone))
        row(f"{what} beside a verify of everything", rows, work)
        beside[-1].join()
    with system.db.connect() as conn:
        for line in large_log_plans.table(conn, system, sized.brands[0]):
            say(line)
    return took


def _end(system: System) -> datetime:
    """The instant of the last row: before the dedup windows, so that a rebuild reads no ids back."""
    now = datetime.fromtimestamp(system.live.now_ms() / 1000, UTC)
    return now - timedelta(minutes=65) if now.hour >= 3 else now - timedelta(hours=now.hour + 1)


def _passes(system: System, *, recent: bool) -> None:
    wrong = [f"{c.id} {c.findings[0]}" for c in system.verifier.verify(recent=recent) if c.findings]
    if wrong:
        raise RuntimeError(f"verify fails: {wrong[0]}")


def main(rows: int, new: int) -> int:
    """The whole run on servers of its own; 1 when a verify of what is new takes too long."""
    with tempfile.TemporaryDirectory(prefix="budget large log ") as folder:
        servers = EmbeddedServers(Path(folder) / "data")
        try:
            urls = servers.start(may_create_databases=True)
            print(HEAD, flush=True)
            with size.fresh(urls) as system:
                took = measure(system, rows, new, lambda line: print(line, flush=True))
        finally:
            servers.remove()
    return 1 if took > RECENT_S else 0


if __name__ == "__main__":
    sys.exit(main(*(int(word) for word in sys.argv[1:]), *(ROWS, NEW)[len(sys.argv) - 1 :]))
