"""Writing down what happened: day partitions, rows by COPY, hourly and daily sums.

Everything works in the caller's transaction, so that rows, sums and the moved cursor commit together or not at all. Reading back is in
`spend_read.py`, the cursor in `cursors.py`, a row's bytes in `log_rows.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import chain
from typing import Any, Final, NamedTuple

import psycopg2
from sqlalchemy import Connection, insert, text

from engine.ledger import pack_rows
from engine.ledger.database import reaching
from engine.ledger.locks import Lock, take
from engine.ledger.log_rows import BEGIN, COLUMNS, END, RowsRefused
from engine.ledger.models import MixedRequest

_PRUNE_MIXED_REQUESTS: Final = text("DELETE FROM mixed_request WHERE recorded_at < :before")


class RememberedRequest(NamedTuple):
    """One row of mixed_request."""

    shard: int
    generation: int
    n: int
    request_id: str
    digest: str
    outcomes: str
    recorded_at: datetime


_COPY: Final = {
    table: f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT binary)"
    for table, columns in (("spend_log", COLUMNS), (pack_rows.TABLE, pack_rows.COLUMNS))
}
_GIVEN_SUMS: Final = (
    "unnest(CAST(:campaigns AS bigint[]), CAST(:days AS date[]), CAST(:hours AS smallint[]), CAST(:brands AS bigint[]),"
    " CAST(:micros AS bigint[]), CAST(:spends AS bigint[])) AS given(campaign_id, day, hour, brand_id, micros, spends)"
)
_CHUNK: Final = 1 << 17
"""Bytes of rows that are made before PostgreSQL gets them: few, so that it begins soon."""


def partition_of(table: str, day: date) -> str:
    """The name of a day's partition."""
    return f"{table}_p{day:%Y%m%d}"


def ensure_partition(connection: Connection, day: date, table: str = "spend_log") -> None:
    """Makes the partition of a day if there is none. Two processes may race for it: one makes it, the other waits and finds it.

    It is attached rather than created in place: that lets writers of other days go on.
    """
    name = partition_of(table, day)
    if _exists(connection, table, name):
        return
    take(connection, Lock.PARTITION)
    if _exists(connection, table, name):
        return
    connection.execute(text(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"))
    connection.execute(
        text(
            f"ALTER TABLE {table} ATTACH PARTITION {name}"
            f" FOR VALUES FROM ('{day.isoformat()}') TO ('{(day + timedelta(days=1)).isoformat()}')"
        )
    )


class _Stream:
    """Rows as a file that COPY reads: PostgreSQL writes down what it has while the next are made. refused: why one of them was not made."""

    def __init__(self, rows: Iterable[bytes]) -> None:
        self._rows = chain((BEGIN,), rows, (END,))
        self.refused: RowsRefused | None = None

    def read(self, size: int) -> bytes:
        """About so many bytes; none at the end."""
        parts: list[bytes] = []
        try:
            for part in self._rows:
                parts.append(part)
                size -= len(part)
                if size <= 0:
                    break
        except RowsRefused as error:
            self.refused = error
            raise
        return b"".join(parts)


def copy_rows(connection: Connection, rows: Iterable[bytes], table: str = "spend_log") -> int:
    """Appends rows, as `log_rows` or, to spend_pack, `pack_rows` writes them; answers how many.

    Raises RowsRefused for rows that break a law, ServerAway.
    """
    _in_transaction(connection)
    raw: Any = connection.connection.driver_connection
    stream = _Stream(rows)
    with reaching(connection), raw.cursor() as cursor:
        try:
            cursor.copy_expert(_COPY[table], stream, _CHUNK)
            return int(cursor.rowcount)
        except (psycopg2.IntegrityError, psycopg2.DataError) as error:
            said = " ".join(str(error).split())
            raise RowsRefused(f"PostgreSQL refuses rows of {table}: {said}") from error
        except psycopg2.Error:
            if stream.refused is None:
                raise
            raise stream.refused from None


def hour_of(day: date, recorded_at: datetime, occurred_at: datetime | None = None) -> int:
    """The hour (0..23) that a row is summed under: of its instant; where it names an earlier day, of the instant at which it occurred on that day,
    else the last hour of that day. The instants are local times of its brand.
    """
    if recorded_at.date() == day:
        return recorded_at.hour
    return occurred_at.hour if occurred_at is not None and occurred_at.date() == day else 23


def add_sums(connection: Connection, sums: Mapping[tuple[int, date, int], tuple[int, int, int]]) -> None:
    """Adds {(campaign_id, day, hour): (brand_id, micros, spends)} to the hourly and the daily sums: one door, so that they always agree."""
    if not sums:
        return
    _in_transaction(connection)
    names = ("campaigns", "days", "hours", "brands", "micros", "spends")
    # In order, so that two writers of the same campaigns never wait for each other.
    columns = map(list, zip(*(key + value for key, value in sorted(sums.items())), strict=True))
    values = dict(zip(names, columns, strict=True))
    connection.execute(
        text(
            "INSERT INTO campaign_day (campaign_id, day, brand_id, spend_micros, spends)"
            f" SELECT campaign_id, day, brand_id, sum(micros)::bigint, sum(spends)::bigint FROM {_GIVEN_SUMS}"
            " GROUP BY 1, 2, 3 ORDER BY 1, 2"
            " ON CONFLICT (campaign_id, day) DO UPDATE SET spend_micros = campaign_day.spend_micros + excluded.spend_micros,"
            " spends = campaign_day.spends + excluded.spends"
        ),
        values,
    )
    connection.execute(
        text(
            "INSERT INTO campaign_hour (campaign_id, day, hour, brand_id, spend_micros, spends)"
            f" SELECT * FROM {_GIVEN_SUMS}"
            " ON CONFLICT (day, campaign_id, hour) DO UPDATE SET spend_micros = campaign_hour.spend_micros + excluded.spend_micros,"
            " spends = campaign_hour.spends + excluded.spends"
        ),
        values,
    )


def add_mixed_requests(connection: Connection, requests: Sequence[RememberedRequest]) -> None:
    """Keeps what the script remembered of requests whose rows do not say it, in one statement."""
    if requests:
        _in_transaction(connection)
        connection.execute(insert(MixedRequest), [request._asdict() for request in requests])


def prune_mixed_requests(connection: Connection, before: datetime) -> int:
    """Drops what is past every promised window; answers how many."""
    _in_transaction(connection)
    return connection.execute(_PRUNE_MIXED_REQUESTS, {"before": before}).rowcount


def _exists(connection: Connection, table: str, name: str) -> bool:
    # Not to_regclass(): a session remembers that a name was not there, also after it has waited for whoever made it.
    query = "SELECT EXISTS (SELECT FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid WHERE inhparent = CAST(:parent AS regclass) AND relname = :name)"
    return connection.execute(text(query), {"parent": table, "name": name}).scalar_one() is True


def _in_transaction(connection: Connection) -> None:
    """COPY runs below SQLAlchemy, which would not commit a transaction that it does not know of."""
    if not connection.in_transaction():
        raise RuntimeError("open a transaction first (engine.begin()): rows, sums and cursor commit together")
