"""`python -m benchmarks.large_log [ROWS] [NEW]`: what verify, and a check and a close beside it, cost with a large
spend log of one day, and the plan of each query that reads the log.

PostgreSQL generates the rows, in a data folder that is deleted afterwards. A row takes about 300 bytes with its
indexes. TMPDIR selects the disk.
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
"""The longest time that a verify of new rows may take."""
HEAD: Final = "| spend log | rows | seconds | processor seconds |\n| --- | ---: | ---: | ---: |"
_A_CALL: Final = 1000

# Row i belongs to brand i modulo BRANDS, so 64 consecutive rows are of 64 shards, and n is i / 64.
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
    """Fills one day with rows up to an instant, with sums and cursors, and rebuilds Redis from them. Returns the day."""
    day = end.date()
    begin = datetime.combine(day, datetime.min.time(), UTC)
    partition = partition_of("spend_log", day)
    with system.db.begin() as conn:
        conn.execute(text(f"DROP TABLE IF EXISTS {partition}"))
        # Without indexes: PostgreSQL builds each at once when the partition is attached, which is faster.
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
    """Adds new rows through the engine."""
    campaigns = sized.campaigns
    for start in range(0, count, _A_CALL):
        system.client.record_spends(
            [Spend(campaigns[i % len(campaigns)], amount_micros=1000) for i in range(start, start + _A_CALL)]
        )
    system.persister.drain_all()


def measure(system: System, rows: int, new: int, say: Callable[[str], None]) -> float:
    """Measures the rows of the table on an empty system. Returns the seconds of a verify of the new rows."""
    sized = fill(system.db, BRANDS, CAMPAIGNS_EACH, daily=None, monthly=None)
    publish_all(system)

    def row(what: str, count: int, work: Callable[[], object]) -> float:
        began, used = time.perf_counter(), processor_s()
        work()
        took = time.perf_counter() - began
        say(f"| {what} | {count:,} | {took:.2f} | {processor_s() - used:.2f} |")
        return took

    row("filled", rows, lambda: fill_log(system, sized, rows, _end(system)))
    row("verify of everything", rows, lambda: _verify(system, recent=False))
    row("verify, nothing new", 0, lambda: _verify(system, recent=True))
    row("spends and persist", new, lambda: spend(system, sized, new))
    took = row(f"verify of what is new (at most {RECENT_S:g} s)", new, lambda: _verify(system, recent=True))
    beside: list[threading.Thread] = []
    for what, work in (
        ("check", lambda: check_all(system.publisher, system.status)),
        ("close", system.closer.close_ended),
    ):
        alone = row(what, rows, work)
        beside.append(threading.Thread(target=_verify, args=(system,), kwargs={"recent": False}))
        beside[-1].start()
        time.sleep(min(1.0, alone))
        row(f"{what} beside a verify of everything", rows, work)
        beside[-1].join()
    with system.db.connect() as conn:
        for line in large_log_plans.table(conn, system, sized.brands[0]):
            say(line)
    return took


def _end(system: System) -> datetime:
    """The instant of the last row, before the dedup windows, so that a rebuild restores no ids."""
    now = datetime.fromtimestamp(system.live.now_ms() / 1000, UTC)
    return now - timedelta(minutes=65) if now.hour >= 3 else now - timedelta(hours=now.hour + 1)


def _verify(system: System, *, recent: bool) -> None:
    """Raises RuntimeError where it fails.

    No job writes statuses here, so V8 fails where a schedule opens or closes meanwhile.
    """
    wrong = [f"{c.id} {c.findings[0]}" for c in system.verifier.verify(recent=recent) if c.findings and c.id != "V8"]
    if wrong:
        raise RuntimeError(f"verify fails: {wrong[0]}")


def main(rows: int, new: int) -> int:
    """Runs the benchmark on servers of its own; returns 1 when a verify of the new rows takes too long."""
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
