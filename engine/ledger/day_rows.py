"""A closed day of the log, read whole: its rows in order as CSV, its sums, and why it cannot be exported yet."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import IO, Any, Final, NamedTuple

import psycopg2
from sqlalchemy import Connection, text

from engine.ledger.database import reaching

COLUMNS: Final = (
    "shard", "generation", "n", "position", "recorded_at", "day", "brand_id", "campaign_id", "amount_micros", "kind",
    "event_id", "request_id", "occurred_at", "hold_id",
)  # fmt: skip
"""In the order of the file."""
_CHUNK: Final = 1 << 17
_SORT_MEMORY: Final = "64MB"
"""Of PostgreSQL, for one export: beyond it the sort goes through PostgreSQL's temporary files."""

_SUMS: Final = text(
    "SELECT brand_id, kind, count(*) AS rows, sum(amount_micros)::bigint AS micros FROM spend WHERE day = :day GROUP BY 1, 2"
)
_OPEN_SHARDS: Final = text(
    "SELECT shard FROM (SELECT mod(id, 64) AS shard FROM brand"
    " WHERE created_at < CAST(CAST(:day AS date) + 1 AS timestamp) AT TIME ZONE 'UTC'"
    " UNION SELECT mod(brand_id, 64) FROM campaign_day WHERE day = :day AND spends > 0) AS used WHERE NOT EXISTS"
    " (SELECT FROM shard_close AS c WHERE c.shard = used.shard AND c.period = 'day' AND c.starts_on = :day) ORDER BY 1"
)


class Part(NamedTuple):
    """How many rows, and what they add up to."""

    rows: int
    micros: int

    def plus(self, rows: int, micros: int) -> Part:
        """The same with more."""
        return Part(self.rows + rows, self.micros + micros)


Sums = Mapping[tuple[int, str], Part]
"""{(brand_id, kind): Part}"""


def sums(connection: Connection, day: date) -> dict[tuple[int, str], Part]:
    """What a day's rows add up to, by brand and kind."""
    found = connection.execute(_SUMS, {"day": day})
    return {(row.brand_id, row.kind): Part(row.rows, row.micros) for row in found}


def open_shards(connection: Connection, day: date) -> list[int]:
    """The shards that had a brand by then, or a spend, and have not closed a day."""
    return list(connection.execute(_OPEN_SHARDS, {"day": day}).scalars())


def copy_day(connection: Connection, day: date, into: IO[bytes]) -> None:
    """Writes a day's rows into a file as CSV without a head, by shard, generation, n and position. NULL is an empty field without quotes.

    PostgreSQL sorts, so nothing of a day is kept in memory here. Raises ServerAway; psycopg2.Error, its disk full among them.
    """
    connection.execute(text(f"SET LOCAL work_mem = '{_SORT_MEMORY}'"))
    raw: Any = connection.connection.driver_connection
    query = f"SELECT {', '.join(COLUMNS)} FROM spend WHERE day = DATE '{day.isoformat()}' ORDER BY shard, generation, n, position"
    with reaching(connection), raw.cursor() as cursor:
        cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT csv)", into, _CHUNK)


def refused(error: BaseException) -> str:
    """What PostgreSQL said, in one line."""
    return " ".join(str(error).split()) if isinstance(error, psycopg2.Error) else type(error).__name__
