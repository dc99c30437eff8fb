"""Rows of spend_pack as COPY takes them in binary (`log_rows.py` has the format)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from struct import Struct, pack
from typing import Final, NamedTuple

from engine.ledger.log_rows import day_number, fitting, instant, value

TABLE: Final = "spend_pack"
COLUMNS: Final = (
    "day", "shard", "generation", "n", "last_n", "first_at", "last_at", "spends", "kind", "hold_id", "request_id", "brands", "campaigns", "counts",
    "log", "events", "singles",
)  # fmt: skip

_NUMBERS: Final = Struct(">hiiihiiiqiqiqiqii").pack
_BIGINT, _INTEGER = 20, 23
"""PostgreSQL's numbers of the types (pg_type.oid), which an array's bytes carry."""


class PackRow(NamedTuple):
    """One row of spend_pack. log: of a packed call, with events where its spends have ids; singles: of single spends."""

    day: date
    shard: int
    generation: int
    n: int
    last_n: int
    first_at: datetime
    last_at: datetime
    spends: int
    kind: str
    hold_id: str | None
    request_id: str | None
    brands: Sequence[int]
    campaigns: Sequence[int]
    counts: Sequence[int]
    log: bytes | None
    events: bytes | None
    singles: bytes | None


def pack_rows(rows: Iterable[PackRow]) -> Iterator[bytes]:
    """The bytes of each row. Raises RowsRefused."""
    with fitting(TABLE):
        for row in rows:
            yield b"".join(
                (
                    _NUMBERS(
                        len(COLUMNS), 4, day_number(row.day), 2, row.shard, 4, row.generation, 8, row.n, 8, row.last_n,
                        8, instant(row.first_at), 8, instant(row.last_at), 4, row.spends,
                    ),
                    value(row.kind.encode()),
                    value(None if row.hold_id is None else row.hold_id.encode()),
                    value(None if row.request_id is None else row.request_id.encode()),
                    value(_array(row.brands, _BIGINT, "iq", 8)),
                    value(_array(row.campaigns, _BIGINT, "iq", 8)),
                    value(_array(row.counts, _INTEGER, "ii", 4)),
                    value(row.log),
                    value(row.events),
                    value(row.singles),
                )
            )  # fmt: skip


def _array(numbers: Sequence[int], type_: int, each: str, length: int) -> bytes:
    """One dimension without NULLs, counted from 1: PostgreSQL's array_recv."""
    words = [word for number in numbers for word in (length, number)]
    return pack(f">iiiii{each * len(numbers)}", 1, 0, type_, len(numbers), 1, *words)
