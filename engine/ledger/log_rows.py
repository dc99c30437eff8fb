"""Rows of spend_log as COPY takes them in binary: PostgreSQL then reads neither digits nor dates.

The format is PostgreSQL's (https://www.postgresql.org/docs/current/sql-copy.html, Binary Format): a row is the number of its values, then each with its
length before it, -1 for NULL. Instants are microseconds and days are days since 2000.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from engine.domain.ids import brand_of
from engine.domain.periods import day_of
from engine.errors import BudgetError


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


class CallRow(NamedTuple):
    """What all rows of one packed call share."""

    recorded_at: datetime
    day: date
    request_id: str
    shard: int
    generation: int
    n: int
    kind: str = "spend"
    hold_id: str | None = None


TextCall: TypeAlias = tuple[int, int, tuple[bytes, Sequence[tuple[bytes, bytes, bytes, bytes]]]]
"""A text call: its instant in epoch ms, its n, and its request id with campaign, micros, event id and occurred ms
(empty: none) of each spend, in digits.
"""


class RowsRefused(BudgetError):
    """A row breaks a constraint of the table or does not fit; nothing of the transaction is kept."""


COLUMNS: Final = (
    "recorded_at", "day", "brand_id", "campaign_id", "request_id", "occurred_at", "kind", "shard", "generation", "n", "hold_id", "event_id",
    "amount_micros", "position",
)  # fmt: skip
"""In the order of the bytes: what the rows of a call share, then what each has of its own."""
BEGIN: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
END: Final = b"\xff\xff"

_NULL: Final = b"\xff\xff\xff\xff"
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH_US: Final = int(_EPOCH.timestamp()) * 1_000_000
_EPOCH_DAY: Final = day_of(_EPOCH_US // 1000)
_MICROSECOND: Final = timedelta(microseconds=1)
_WHEN: Final = Struct(">hiqii").pack
_WHOSE: Final = Struct(">iqiq").pack
_WHERE: Final = Struct(">ihiiiq").pack
_LENGTH: Final = Struct(">i").pack
_INSTANT: Final = Struct(">iq").pack
_OWN: Final = Struct(">iqii").pack
_KIND: Final = _LENGTH(5) + b"spend"
_POSITION: Final = 4 << 32
"""Added to a position: its length and itself as one number of eight bytes."""


@contextmanager
def fitting(table: str) -> Iterator[None]:
    """Turns a number that is too large for its bytes into RowsRefused."""
    try:
        yield
    except struct.error as error:
        raise RowsRefused(f"a value does not fit into its column of {table}: {error}") from error


def instant(at: datetime) -> int:
    """An instant as PostgreSQL stores it."""
    return (at - _EPOCH) // _MICROSECOND


def day_number(day: date) -> int:
    """A day as PostgreSQL stores it."""
    return day.toordinal() - _EPOCH.toordinal()


def _of_ms(ms: int) -> int:
    return ms * 1000 - _EPOCH_US


def value(raw: bytes | None) -> bytes:
    """A value with its length before it."""
    return _NULL if raw is None else _LENGTH(len(raw)) + raw


def _words(word: str | None) -> bytes:
    return value(None if word is None else word.encode())


def _when(recorded_at: datetime, day: date) -> bytes:
    return _WHEN(len(COLUMNS), 8, instant(recorded_at), 4, day_number(day))


def packed_rows(
    call: CallRow,
    campaigns: Sequence[int],
    places: Sequence[int],
    micros: Sequence[int],
    events: Sequence[str] | None = None,
) -> bytes:
    """The spends of a packed call: of the campaign at each place, with its micros and event id, in order. Raises RowsRefused."""
    with fitting("spend_log"):
        when = _when(call.recorded_at, call.day)
        where = _WHERE(2, call.shard, 4, call.generation, 8, call.n)
        shared = _words(call.request_id) + _NULL + _words(call.kind) + where + _words(call.hold_id)
        if events is None:
            shared += _NULL + _LENGTH(8)
        heads = [when + _WHOSE(8, brand_of(campaign), 8, campaign) + shared for campaign in campaigns]
        if events is None:
            # All heads have one length, so a row is one Struct, which is faster than joining its parts.
            row = Struct(f">{len(heads[0])}sqq").pack
            positions = range(_POSITION, _POSITION + len(places))
            return b"".join(map(row, map(heads.__getitem__, places), micros, positions))
        return b"".join(
            [
                heads[place] + _words(event) + _OWN(8, amount, 4, position)
                for position, (place, amount, event) in enumerate(zip(places, micros, events, strict=True))
            ]
        )


def text_rows(shard: int, generation: int, calls: Iterable[TextCall]) -> bytes:
    """The spends of text calls of one shard and day, all counted, in order. Raises RowsRefused."""
    whose: dict[bytes, bytes] = {}
    out: list[bytes] = []
    with fitting("spend_log"):
        for ms, n, (request, spends) in calls:
            when = _WHEN(len(COLUMNS), 8, _of_ms(ms), 4, day_of(ms) - _EPOCH_DAY)
            called = value(request)
            where = _KIND + _WHERE(2, shard, 4, generation, 8, n) + _NULL
            for position, (campaign, micros, event, occurred) in enumerate(spends):
                head = whose.get(campaign)
                if head is None:
                    head = whose[campaign] = _WHOSE(8, brand_of(int(campaign)), 8, int(campaign))
                at = _INSTANT(8, _of_ms(int(occurred))) if occurred else _NULL
                own = _OWN(8, int(micros), 4, position)
                out += (when, head, called, at, where, value(event) if event else _NULL, own)
    return b"".join(out)


def rows_of(rows: Iterable[SpendRow]) -> Iterator[bytes]:
    """Any rows, each by itself. Raises RowsRefused."""
    with fitting("spend_log"):
        for row in rows:
            yield b"".join(
                (
                    _when(row.recorded_at, row.day),
                    _WHOSE(8, row.brand_id, 8, row.campaign_id),
                    _words(row.request_id),
                    _NULL if row.occurred_at is None else _INSTANT(8, instant(row.occurred_at)),
                    _words(row.kind),
                    _WHERE(2, row.shard, 4, row.generation, 8, row.n),
                    _words(row.hold_id),
                    _words(row.event_id),
                    _OWN(8, row.amount_micros, 4, row.position),
                )
            )
