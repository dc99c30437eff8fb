"""`make export-size ROWS=n`: how long a closed day of n rows takes to export, in how many bytes a row, and in how much
memory.

The rows are those of nine calls in ten of a thousand packed spends, and single spends for the rest of a day: a tenth of
the rows. `--events` gives each row an event id of 24 hexadecimal digits, which cannot be compressed below twelve bytes.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from sqlalchemy import text

from benchmarks import size
from benchmarks.embedded import servers
from engine.domain.ids import SHARDS
from engine.flows.export.parquet import memory_peak
from engine.ledger.spend_log import ensure_partition
from engine.wiring import System

DAY: Final = date(2026, 11, 1)
BYTES_A_ROW: Final = 15.0
ROWS_A_SECOND: Final = 10_000_000 / 60
"""Ten million rows in a minute."""
_BATCH: Final = 1000
_BRANDS_A_SHARD: Final = 4
_FILL: Final = text(
    "INSERT INTO spend_log (recorded_at, day, brand_id, campaign_id, amount_micros, event_id, request_id, kind, shard, generation, n, position)"
    " SELECT CAST(:day AS timestamptz) + call * 86399.0 / :calls * interval '1 second', :day, brand, brand * 65536 + 1 + (random() * 19)::int,"
    " 500 + (random() * 9500)::bigint, CASE WHEN :events THEN left(md5(random()::text), 24) END,"
    " left(md5((call % 16)::text), 18) || '.' || call || CASE WHEN :each > 1 THEN '/' || shard || '/0' ELSE '' END,"
    " 'spend', shard, 1, :first_n + call / :shards, position"
    " FROM (SELECT call, call % :shards AS shard, call % :shards + :shards * (1 + call / :shards % :brands) AS brand"
    " FROM generate_series(0, CAST(:calls AS bigint) - 1) AS call) AS calls, generate_series(0, CAST(:each AS int) - 1) AS position"
)
_CLOSE: Final = text(
    "INSERT INTO shard_close (shard, period, starts_on) SELECT shard, 'day', :day FROM generate_series(0, 63) AS shard"
)


@dataclass(frozen=True, slots=True)
class Size:
    """The figures of one export. cpu_s: of this process, without PostgreSQL's. check_s: seconds to read it back."""

    rows: int
    bytes: int
    wall_s: float
    cpu_s: float
    check_s: float
    arrow_mb: float
    process_mb: float

    def line(self) -> str:
        """The figures as a sentence."""
        return (
            f"{self.rows:,} rows in {self.wall_s:.1f} s ({self.rows / self.wall_s:,.0f} a second, {self.cpu_s:.1f} s of CPU beside PostgreSQL's),"
            f" {self.bytes / self.rows:.2f} bytes a row, read back in {self.check_s:.1f} s;"
            f" pyarrow held {self.arrow_mb:.0f} MB at most, the process {self.process_mb:.0f} MB"
        )


def fill(system: System, rows: int, events: bool) -> None:
    """Fills a closed day with rows that PostgreSQL generates."""
    alone = rows // 10
    given = {"day": DAY, "events": events, "shards": SHARDS, "brands": _BRANDS_A_SHARD}
    with system.db.begin() as conn:
        ensure_partition(conn, DAY)
        conn.execute(_FILL, {**given, "calls": (rows - alone) // _BATCH, "each": _BATCH, "first_n": 1})
        conn.execute(_FILL, {**given, "calls": alone, "each": 1, "first_n": 1 + rows // _BATCH})
        conn.execute(_CLOSE, {"day": DAY})


def measure(system: System, folder: Path) -> Size:
    """Exports the day and reads it back."""
    began, cpu = time.perf_counter(), time.process_time()
    done = system.exporter.export(DAY, str(folder))
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    began = time.perf_counter()
    system.exporter.check(DAY, str(folder))
    check_s = time.perf_counter() - began
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Size(done.manifest.rows, done.manifest.bytes, wall_s, cpu_s, check_s, memory_peak() / 2**20, peak_mb)


def main() -> None:
    """Runs the benchmark on servers of its own."""
    parser = argparse.ArgumentParser(prog="make export-size", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--events", action="store_true", help="an event id on every row")
    given = parser.parse_args()
    with servers() as urls, size.fresh(urls) as system, tempfile.TemporaryDirectory(prefix="budget export ") as folder:
        began = time.perf_counter()
        fill(system, given.rows, given.events)
        print(f"filled in {time.perf_counter() - began:.0f} s", flush=True)
        seen = measure(system, Path(folder) / "exports")
    print(seen.line())
    print(f"wanted: {ROWS_A_SECOND:,.0f} rows a second, and {BYTES_A_ROW:g} bytes a row or fewer (without event ids)")
    ten = 10_000_000 / seen.rows * seen.wall_s
    print(f"10,000,000 rows at this rate: {ten:.0f} s")


if __name__ == "__main__":
    main()
