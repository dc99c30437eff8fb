"""Writing down what happened: day partitions, rows by COPY, hourly and daily sums, and the cursor that makes it all exactly once.

Everything works in the caller's transaction, so that rows, sums and the moved cursor commit together or not at all. Reading back is in
`spend_read.py`, the cursor in `cursors.py`; both are offered here too, under the room's one name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final, NamedTuple

import psycopg2
from sqlalchemy import Connection, insert, text

from engine.domain.ids import ORDINALS
from engine.errors import BudgetError
from engine.ledger.cursors import (
    CursorMoved,
    CursorRow,
    advance_cursor,
    age_cursors,
    lock_cursor,
    pass_over,
    read_cursors,
    restart_cursor,
    stop_cursor,
)
from engine.ledger.database import reaching
from engine.ledger.locks import Lock, take
from engine.ledger.models import PARTITION_PREFIX, MixedRequest
from engine.ledger.spend_read import (
    MixedRow,
    RecentSpend,
    already_logged,
    brand_day_totals,
    campaign_totals,
    correction_totals,
    first_day,
    last_recorded_ms,
    log_totals,
    period_totals,
    recent_mixed,
    recent_spends,
)

__all__ = [
    "CursorMoved",
    "CursorRow",
    "MixedRow",
    "RecentSpend",
    "RememberedRequest",
    "RowsRefused",
    "SpendRow",
    "add_mixed_requests",
    "add_sums",
    "advance_cursor",
    "age_cursors",
    "already_logged",
    "brand_day_totals",
    "campaign_totals",
    "copy_lines",
    "correction_totals",
    "ensure_partition",
    "first_day",
    "hour_of",
    "last_recorded_ms",
    "lines_of",
    "lock_cursor",
    "log_totals",
    "packed_lines",
    "pass_over",
    "period_totals",
    "prune_mixed_requests",
    "read_cursors",
    "recent_mixed",
    "recent_spends",
    "restart_cursor",
    "stop_cursor",
]


class SpendRow(NamedTuple):
    """One row of spend_log."""

    recorded_at: datetime
    day: date
    brand_id: int
    campaign_id: int
    amount_micros: int
    event_id: str | None
    request_id: str
    occurred_at: datetime | None
    kind: str
    shard: int
    generation: int
    n: int
    position: int
    hold_id: str | None = None


class RememberedRequest(NamedTuple):
    """One row of mixed_request."""

    shard: int
    generation: int
    n: int
    request_id: str
    digest: str
    outcomes: str
    recorded_at: datetime


class RowsRefused(BudgetError):
    """PostgreSQL refuses rows because one of them breaks a law of the table; nothing of the transaction is kept."""


_COPY: Final = f"COPY spend_log ({', '.join(SpendRow._fields)}) FROM STDIN"
_GIVEN_SUMS: Final = (
    "unnest(CAST(:campaigns AS bigint[]), CAST(:days AS date[]), CAST(:hours AS smallint[]), CAST(:brands AS bigint[]),"
    " CAST(:micros AS bigint[]), CAST(:spends AS bigint[])) AS given(campaign_id, day, hour, brand_id, micros, spends)"
)
_NULL: Final = r"\N"
_ESCAPES: Final = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
_CHUNK: Final = 1 << 17
"""Bytes of rows that are made before PostgreSQL gets them: few, so that it begins soon."""


def ensure_partition(connection: Connection, day: date) -> None:
    """Makes the partition of a day if there is none. Two processes may race for it: one makes it, the other waits and finds it.

    It is attached rather than created in place: that lets writers of other days go on.
    """
    name = f"{PARTITION_PREFIX}{day:%Y%m%d}"
    if _exists(connection, name):
        return
    take(connection, Lock.PARTITION)
    if _exists(connection, name):
        return
    connection.execute(text(f"CREATE TABLE {name} (LIKE spend_log INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"))
    connection.execute(
        text(
            f"ALTER TABLE spend_log ATTACH PARTITION {name}"
            f" FOR VALUES FROM ('{day.isoformat()}') TO ('{(day + timedelta(days=1)).isoformat()}')"
        )
    )


class _Stream:
    """Texts as a file that COPY reads: PostgreSQL writes down what it has while the next are made."""

    def __init__(self, texts: Iterator[str]) -> None:
        self._texts = texts

    def read(self, size: int) -> bytes:
        """About so many bytes; none at the end."""
        parts: list[str] = []
        for part in self._texts:
            parts.append(part)
            size -= len(part)
            if size <= 0:
                break
        return "".join(parts).encode()


def copy_lines(connection: Connection, lines: Iterable[str]) -> int:
    """Appends rows, as lines of COPY's text format (`lines_of`, `packed_lines`); answers how many. Raises RowsRefused for rows that break a law,
    ServerAway."""
    _in_transaction(connection)
    raw: Any = connection.connection.driver_connection
    with reaching(connection), raw.cursor() as cursor:
        try:
            cursor.copy_expert(_COPY, _Stream(iter(lines)), _CHUNK)
            return int(cursor.rowcount)
        except (psycopg2.IntegrityError, psycopg2.DataError) as error:
            said = " ".join(str(error).split())
            raise RowsRefused(f"PostgreSQL refuses rows of spend_log: {said}") from error


def hour_of(day: date, recorded_at: datetime) -> int:
    """The hour (0..23, UTC) that a row is summed under: of its instant or, where it names an earlier day, the last hour of that day."""
    return recorded_at.hour if recorded_at.date() == day else 23


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
    return connection.execute(
        text("DELETE FROM mixed_request WHERE recorded_at < :before"), {"before": before}
    ).rowcount


def _exists(connection: Connection, name: str) -> bool:
    # Not to_regclass(): a session remembers that a name was not there, also after it has waited for whoever made it.
    query = "SELECT EXISTS (SELECT FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid WHERE inhparent = CAST(:parent AS regclass) AND relname = :name)"
    return connection.execute(text(query), {"parent": "spend_log", "name": name}).scalar_one() is True


def packed_lines(
    recorded_at: datetime,
    day: date,
    campaigns: Sequence[int],
    places: Sequence[int],
    micros: Sequence[int],
    request_id: str,
    shard: int,
    generation: int,
    n: int,
    hold_id: str | None = None,
    kind: str = "spend",
    events: Sequence[str] | None = None,
) -> str:
    """The spends of a packed call as lines of COPY's text format: of the campaign at each place, with its micros and event id, in order."""
    began = f"{recorded_at.isoformat()}\t{day.isoformat()}\t"
    heads = [f"{began}{campaign // ORDINALS}\t{campaign}\t" for campaign in campaigns]
    tail = f"\t{request_id.translate(_ESCAPES)}\t{_NULL}\t{kind}\t{shard}\t{generation}\t{n}\t"
    held = _NULL if hold_id is None else hold_id.translate(_ESCAPES)
    if events is not None:
        return "".join(
            [
                f"{heads[place]}{amount}\t{event}{tail}{position}\t{held}\n"
                for position, (place, amount, event) in enumerate(zip(places, micros, events, strict=True))
            ]
        )
    tail = f"\t{_NULL}{tail}"
    return "".join(
        [
            f"{heads[place]}{amount}{tail}{position}\t{held}\n"
            for position, (place, amount) in enumerate(zip(places, micros, strict=True))
        ]
    )


def lines_of(rows: Iterable[SpendRow]) -> Iterator[str]:
    """Rows as lines of COPY's text format. Rows of one journal entry share most of their values, which are written once."""
    before: tuple[object, ...] | None = None
    recorded = request = tail = ""
    for (
        at,
        day,
        brand,
        campaign,
        amount,
        event,
        request_id,
        occurred,
        kind,
        shard,
        generation,
        n,
        position,
        hold,
    ) in rows:
        shared = (at, day, request_id, kind, shard, generation, n)
        if shared != before:
            before = shared
            recorded = f"{at.isoformat()}\t{day.isoformat()}\t"
            request = request_id.translate(_ESCAPES)
            tail = f"\t{kind.translate(_ESCAPES)}\t{shard}\t{generation}\t{n}\t"
        told = _NULL if event is None else event if event.isalnum() else event.translate(_ESCAPES)
        then = _NULL if occurred is None else occurred.isoformat()
        held = _NULL if hold is None else hold.translate(_ESCAPES)
        yield f"{recorded}{brand}\t{campaign}\t{amount}\t{told}\t{request}\t{then}{tail}{position}\t{held}\n"


def _in_transaction(connection: Connection) -> None:
    """COPY runs below SQLAlchemy, which would not commit a transaction that it does not know of."""
    if not connection.in_transaction():
        raise RuntimeError("open a transaction first (engine.begin()): rows, sums and cursor commit together")
