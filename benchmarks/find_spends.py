"""`python -m benchmarks.find_spends [ROWS]`: what an index by event id costs persist, and how long a search of one event takes.

A day of the spend log gets so many rows with an event id, in rows and in packed rows, on servers of its own. For each kind of index it
measures its size, PostgreSQL's processor time and WAL for more rows, and a search for an id that is there and for one that is not.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, text

from benchmarks import size
from benchmarks.embedded import servers
from benchmarks.processors import processor_s
from engine.ledger import find_spends, spend_log
from engine.ledger.find_spends import Sought

DAY: Final = date(2026, 11, 2)
BRANDS: Final = 256
MORE: Final = 300_000
"""Rows that are added to measure what an index costs."""
SEARCHES: Final = 5
_STEP: Final = 1_000_000
_A_PACK: Final = 1000
_ROWS: Final = (
    "INSERT INTO spend_log (recorded_at, day, brand_id, campaign_id, amount_micros, event_id, request_id, shard, generation, n, position)"
    " SELECT CAST(:begin AS timestamptz) + i * CAST(:step AS interval), :day, 1 + i % :brands, (1 + i % :brands) * 65536 + 1, 1000 + i % 5000,"
    " 'win-' || substr(md5(i::text), 1, 20), 'call-' || (i / 100), (1 + i % :brands) % 64, 1, i + 1, 0"
    " FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS g(i)"
)
_PACKS: Final = (
    "INSERT INTO spend_pack (day, shard, generation, n, last_n, first_at, last_at, spends, kind, request_id, brands, campaigns, counts, log, events)"
    " SELECT :day, (1 + p % :brands) % 64, 1, p + 1, p + 1, at, at, :size, 'spend', 'call-' || p, ARRAY[1 + p % :brands],"
    " ARRAY[(1 + p % :brands) * 65536 + 1], ARRAY[:size], decode('0104' || repeat('00', :size) || repeat('e8030000', :size), 'hex'),"
    " (SELECT string_agg(((1 + p % :brands) * 65536 + 1) || CAST(:colon AS text) || 'win-' || substr(md5((p * :size + s)::text), 1, 20), ',' ORDER BY s)"
    " FROM generate_series(0, :size - 1) AS g(s))"
    " FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS g(p),"
    " LATERAL (SELECT CAST(:begin AS timestamptz) + p * CAST(:step AS interval) AS at) AS t"
)
INDEXES: Final = {
    "none": "",
    "bloom (BRIN)": "CREATE INDEX tried ON {table} USING brin (event_id text_bloom_ops (n_distinct_per_range = 2000))"
    " WITH (pages_per_range = 32)",
    "hash": "CREATE INDEX tried ON {table} USING hash (event_id)",
    "btree": "CREATE INDEX tried ON {table} (event_id)",
    "none again": "",
}


def run(engine: Engine, rows: int, say: Callable[[str], None]) -> None:
    """Fills a day with rows and measures. Prints lines of a table."""
    table = spend_log.partition_of("spend_log", DAY)
    begin = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    given = {"begin": begin, "day": DAY, "brands": BRANDS, "step": timedelta(hours=23) / (rows + MORE)}
    with engine.begin() as conn:
        spend_log.ensure_partition(conn, DAY)
    with engine.begin() as conn:
        conn.execute(text("DROP INDEX ix_spend_log_event_id, ix_spend_log_request_id"))
        conn.execute(text("TRUNCATE spend_pack"))
    began = time.monotonic()
    for first in range(0, rows, _STEP):
        with engine.begin() as conn:
            conn.execute(text(_ROWS), given | {"first": first, "last": min(first + _STEP, rows) - 1})
    _vacuum(engine, table)
    say(
        f"{rows:,} rows in {time.monotonic() - began:.0f} s: {_size(engine, table):,} bytes of the table, {_indexes(engine, table):,} of its indexes"
    )
    say(
        "| index | size, MB | built in, s | processor, us a row | WAL, bytes a row | found in, ms (of processor) | not there |"
    )
    for name, create in INDEXES.items():
        began = time.monotonic()
        if create:
            with engine.begin() as conn:
                conn.execute(text(create.format(table=table)))
        built = time.monotonic() - began
        megabytes = _size(engine, "tried") / 1e6 if create else 0.0
        there, absent = (_searched(engine, f"win-{id_}") for id_ in (_id(rows // 3), "nowhere"))
        cpu, wal = _added(engine, given, rows)
        say(f"| {name} | {megabytes:.1f} | {built:.1f} | {cpu:.2f} | {wal:.0f} | {there} | {absent} |")
        if create:
            with engine.begin() as conn:
                conn.execute(text("DROP INDEX tried"))
        _vacuum(engine, table)


def run_packed(engine: Engine, rows: int, say: Callable[[str], None]) -> None:
    """The same of packed rows, which have no index by id."""
    begin = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    given = {"begin": begin, "day": DAY, "brands": BRANDS}
    with engine.begin() as conn:
        spend_log.ensure_partition(conn, DAY, "spend_pack")
    packs = rows // _A_PACK
    for first in range(0, packs, _STEP // _A_PACK):
        last = min(first + _STEP // _A_PACK, packs) - 1
        with engine.begin() as conn:
            conn.execute(
                text(_PACKS),
                given
                | {"step": timedelta(hours=23) / packs, "size": _A_PACK, "colon": ":", "first": first, "last": last},
            )
    pack = spend_log.partition_of("spend_pack", DAY)
    _vacuum(engine, pack)
    say(f"{packs * _A_PACK:,} spends in packed rows: {_size(engine, pack, 'pg_total_relation_size'):,} bytes")
    for words, more in (
        ("any brand", {}),
        ("one brand", {"brands": [1 + (rows // 3 // _A_PACK) % BRANDS]}),
        ("one campaign's hour", _hour(begin, rows)),
    ):
        there, absent = (_searched(engine, f"win-{id_}", **more) for id_ in (_id(rows // 3), "nowhere"))
        say(f"packed, {words}: found in {there} ms, not there {absent} ms")


def _hour(begin: datetime, rows: int) -> dict[str, Any]:
    """The hour in which the event is that is looked for."""
    since = begin + timedelta(hours=23) / 3 - timedelta(minutes=30)
    return {"since": since, "until": since + timedelta(hours=1)}


def _id(number: int) -> str:
    import hashlib

    return hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()[:20]


def _searched(engine: Engine, event_id: str, **more: Any) -> str:
    """The milliseconds of the last of some searches, and PostgreSQL's processor time for one."""
    begin = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    sought = Sought(**{"since": begin, "until": begin + timedelta(days=1), "event_id": event_id, **more})
    find_spends.find(engine, sought, 10)
    used = processor_s("postgres")
    for _ in range(SEARCHES):
        began = time.monotonic()
        found = find_spends.find(engine, sought, 10)
        took = time.monotonic() - began
    if len(found.rows) != (0 if event_id == "win-nowhere" else 1):
        raise RuntimeError(f"{event_id}: {found}")
    return f"{took * 1000:.0f} ({(processor_s('postgres') - used) / SEARCHES * 1000:.0f})"


def _added(engine: Engine, given: dict[str, Any], rows: int) -> tuple[float, float]:
    """Microseconds of PostgreSQL's processor time, and bytes of WAL, for one more row. The rows are taken back."""
    with engine.connect() as conn:
        before, at = processor_s("postgres"), _wal(conn)
        conn.execute(text(_ROWS), given | {"first": rows, "last": rows + MORE - 1})
        figures = (processor_s("postgres") - before) / MORE * 1e6, (_wal(conn) - at) / MORE
        conn.rollback()
    return figures


def _wal(conn: Connection) -> int:
    return int(conn.execute(text("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")).scalar_one())


def _size(engine: Engine, table: str, of: str = "pg_relation_size") -> int:
    with engine.connect() as conn:
        return int(conn.execute(text(f"SELECT {of}('{table}')")).scalar_one())


def _indexes(engine: Engine, table: str) -> int:
    return _size(engine, table, "pg_indexes_size")


def _vacuum(engine: Engine, table: str) -> None:
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as conn:
        conn.execute(text(f"VACUUM ANALYZE {table}"))


def main() -> None:
    """Prints the figures."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    with servers() as urls, size.fresh(urls) as system:
        for part in (run_packed, run):
            part(system.db, rows, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
