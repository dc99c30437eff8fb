"""The quarantine: journal entries that could not be persisted, kept with their bytes until a person retries or drops them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from typing import Any, Final

from sqlalchemy import Connection, text

from engine.domain.periods import Period, month_of_date
from engine.errors import NotFound

_NUL: Final = "\u2400"
_MOST_BYTES: Final = 1 << 20
_CUT_TO: Final = 4096
_MOST_FIELDS: Final = 64
CUT: Final = "#cut"
"""Beside the beginnings of an entry that was too large to keep: how large it was, and its digest."""
Sums = Mapping[tuple[int, int, date], int]
"""What the script counted for an entry: {(brand_id, campaign_id, day): micros}."""


_PUT: Final = text(
    "INSERT INTO quarantine (shard, generation, n, entry_id, fields, sums, reason)"
    " VALUES (:shard, :generation, :n, :entry_id, CAST(:fields AS jsonb), CAST(:sums AS jsonb), :reason)"
)
_LOCK: Final = text("SELECT * FROM quarantine WHERE id = :id AND state = 'waiting' FOR UPDATE")
_END: Final = text("UPDATE quarantine SET state = :state, ended_at = now(), actor = :actor WHERE id = :id")
_SET_REASON: Final = text("UPDATE quarantine SET reason = :reason WHERE id = :id")
_ENTRY_IDS: Final = text("SELECT entry_id FROM quarantine WHERE shard = :shard")
_COUNT_WAITING: Final = text("SELECT count(*) FROM quarantine WHERE state = 'waiting'")
_UNCOUNTED: Final = text("SELECT n, sums FROM quarantine WHERE state <> 'persisted'")


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """A quarantined entry. fields: its stream fields, bytes as latin-1 text. state: waiting, persisted or dropped."""

    id: int
    shard: int
    generation: int
    n: int | None
    entry_id: str
    fields: dict[str, str]
    sums: list[Any]
    reason: str
    state: str
    created_at: datetime
    ended_at: datetime | None
    actor: str | None

    @property
    def cut(self) -> str:
        """Of an entry that was too large to keep whole: its size and digest. Empty where all of it is here."""
        return self.fields.get(CUT, "")

    def raw(self) -> dict[bytes, bytes]:
        """The fields as they stood in the stream."""
        return {_bytes(name): _bytes(value) for name, value in self.fields.items()}

    @property
    def micros(self) -> int:
        return sum(int(line[3]) for line in self.sums)

    @property
    def brands(self) -> dict[int, int]:
        """The same by brand."""
        found: dict[int, int] = {}
        for brand, _, _, micros in self.sums:
            found[brand] = found.get(brand, 0) + micros
        return found


def put(
    connection: Connection,
    shard: int,
    generation: int,
    n: int | None,
    entry_id: str,
    fields: Mapping[bytes, bytes],
    sums: Sums,
    reason: str,
) -> None:
    """Quarantines an entry."""
    connection.execute(
        _PUT,
        {
            "shard": shard,
            "generation": generation,
            "n": n,
            "entry_id": entry_id,
            "fields": json.dumps(_kept(fields)),
            "sums": json.dumps(
                [[brand, campaign, day.isoformat(), micros] for (brand, campaign, day), micros in sums.items()]
            ),
            "reason": " ".join(reason.replace("\0", " ").split())[:500],
        },
    )


def rows(connection: Connection, *, waiting_only: bool = True) -> list[QuarantineRow]:
    """The quarantined entries, oldest first."""
    where = "WHERE state = 'waiting'" if waiting_only else ""
    return [_row(found) for found in connection.execute(text(f"SELECT * FROM quarantine {where} ORDER BY id"))]


def entry_ids(connection: Connection, shard: int) -> set[str]:
    """The ids of a shard's entries that were set aside, also of those that were booked or dropped since."""
    found = connection.execute(_ENTRY_IDS, {"shard": shard}).scalars()
    return set(found)


def lock(connection: Connection, row_id: int) -> QuarantineRow:
    """One entry that waits, locked. Raises NotFound."""
    found = connection.execute(_LOCK, {"id": row_id}).one_or_none()
    if found is None:
        raise NotFound(f"no entry {row_id} waits in quarantine: `quarantine list` shows those that do")
    return _row(found)


def end(connection: Connection, row_id: int, state: str, actor: str) -> None:
    """Ends an entry's quarantine: `persisted` or `dropped`."""
    connection.execute(
        _END,
        {"id": row_id, "state": state, "actor": actor},
    )


def set_reason(connection: Connection, row_id: int, reason: str) -> None:
    """Stores why a retry failed."""
    connection.execute(
        _SET_REASON,
        {"id": row_id, "reason": " ".join(reason.split())[:500]},
    )


def count_waiting(connection: Connection) -> int:
    """How many entries wait."""
    return int(connection.execute(_COUNT_WAITING).scalar_one())


def uncounted(
    connection: Connection, brand_ids: Collection[int]
) -> Iterator[tuple[int | None, tuple[int, int, date], int]]:
    """What entries that are not in the log counted, waiting and dropped ones, line by line: (n, (brand_id, campaign_id, day), micros)."""
    wanted = set(brand_ids)
    for n, lines in connection.execute(_UNCOUNTED):
        for brand, campaign, day, micros in lines:
            if brand in wanted:
                yield n, (brand, campaign, date.fromisoformat(day)), micros


def sums(connection: Connection, brand_ids: Collection[int]) -> dict[tuple[int, int, date], int]:
    """The same, added up: {(brand_id, campaign_id, day): micros}."""
    found: dict[tuple[int, int, date], int] = {}
    for _, key, micros in uncounted(connection, brand_ids):
        found[key] = found.get(key, 0) + micros
    return found


def brand_sums(connection: Connection, brand_ids: Sequence[int], period: Period, starts_on: date) -> dict[int, int]:
    """The same of a day or month, by brand: what its counter has and its rows have not."""
    found: dict[int, int] = {}
    for (brand, _, day), micros in sums(connection, brand_ids).items():
        if day == starts_on or (period == "month" and month_of_date(day) == month_of_date(starts_on)):
            found[brand] = found.get(brand, 0) + micros
    return found


def _kept(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    """The fields as they are kept: whole, or the beginning of each where together they are too large."""
    size = sum(len(name) + len(value) for name, value in fields.items())
    if size <= _MOST_BYTES:
        return {_text(name): _text(value) for name, value in fields.items()}
    digest = hashlib.sha256()
    for name, value in fields.items():
        digest.update(name + b"\0" + value + b"\0")
    begins = {_text(name[:80]): _text(value[:_CUT_TO]) for name, value in islice(fields.items(), _MOST_FIELDS)}
    return {**begins, CUT: f"{size} bytes, sha256 {digest.hexdigest()}"}


def _text(value: bytes) -> str:
    """Bytes as text that jsonb takes and that leads back: latin-1, with the sign for NUL in the place of NUL."""
    return value.decode("latin-1").replace("\0", _NUL)


def _bytes(value: str) -> bytes:
    return value.replace(_NUL, "\0").encode("latin-1")


def _row(found: Any) -> QuarantineRow:
    return QuarantineRow(**found._asdict())
