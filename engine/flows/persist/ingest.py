"""Booking: journal entries into rows, hourly and daily totals, holds and corrections, all in the caller's transaction.

An entry that does not read, or whose rows PostgreSQL refuses, goes into the quarantine with its bytes and what the script counted for it, and
stops nothing else.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final, Protocol

import psycopg2
from sqlalchemy import CheckConstraint, Connection
from sqlalchemy.exc import DataError, IntegrityError

from engine.domain.ids import brand_of
from engine.domain.periods import date_of, day_of
from engine.errors import BudgetError
from engine.flows.persist.entry_laws import LAST_INSTANT_MS, MOST_BYTES, check_entry, check_size
from engine.flows.persist.posting import Item, Posting, spend_day
from engine.ledger import log_rows, quarantine
from engine.ledger.base import Base
from engine.live.grammar import whole
from engine.live.journal import Entry, decode
from engine.live.logged import UNITEMISED

log = logging.getLogger(__name__)

_REASON: Final = 400
"""Characters of why an entry does not read."""
REFUSED: Final = (log_rows.RowsRefused, IntegrityError, DataError)
_LAWS: Final = frozenset(
    str(law.name)
    for table in Base.metadata.tables.values()
    for law in table.constraints
    if isinstance(law, CheckConstraint)
)
_SUM: Final = re.compile(rb"(\d{1,16}),(\d{1,13}),[^,;]*,\d*;")
_PACKED_SUM: Final = re.compile(rb"(\d{1,16}),(\d{1,16}),\d{1,4};")


class MakePartitions(Protocol):
    """Sees to the partitions of days; afresh: without believing what it saw before."""

    def __call__(self, days: Iterable[date], afresh: bool = False) -> None: ...


@dataclass(frozen=True, slots=True)
class Broken:
    """An entry that does not read. n is None where not even that does."""

    entry_id: str
    ms: int
    n: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Read:
    """One entry of the journal as it stood in the stream, and what became of reading it."""

    fields: Mapping[bytes, bytes]
    entry: Entry | Broken

    @property
    def entry_id(self) -> str:
        return self.entry.entry_id

    @property
    def n(self) -> int | None:
        return self.entry.n


@dataclass(frozen=True, slots=True)
class Part:
    """What was read of one shard, and the generation of its cursor; a mark among them begins the next."""

    shard: int
    generation: int
    reads: Sequence[Read]


@dataclass(slots=True)
class Booked:
    """What one booking wrote."""

    entries: int = 0
    rows: int = 0
    micros: int = 0
    quarantined: int = 0
    changed_brands: set[int] = field(default_factory=set)


def read(entry_id: bytes, fields: Mapping[bytes, bytes]) -> Read:
    """Reads an entry whole, its spends and steps included, so that nothing surprises the booking."""
    try:
        check_size(fields)
        entry = decode(entry_id, fields)
        check_entry(entry)
        return Read(fields, entry)
    except Exception as bad:  # noqa: BLE001  # whatever an entry holds, it stops nothing but itself
        name = entry_id.decode()
        return Read(fields, Broken(name, int(name.partition("-")[0]), whole(fields.get(b"n")), str(bad)[:_REASON]))


def book(conn: Connection, parts: Sequence[Part], make_partitions: MakePartitions) -> Booked:
    """Books the entries of each part in order."""
    booked = Booked(entries=sum(len(part.reads) for part in parts))
    good: list[tuple[Item, Read]] = []
    for part in parts:
        generation = part.generation
        for found in part.reads:
            if isinstance(found.entry, Broken):
                _set_aside(conn, part.shard, generation, found, found.entry.reason, booked)
                continue
            generation = max(generation, found.entry.generation or 0)
            good.append((Item(part.shard, generation, found.entry), found))
    posting = Posting([item for item, _ in good])
    make_partitions(posting.days)
    try:
        _post(conn, posting, booked)
    except REFUSED:
        # One of them breaks a law of the log: each by itself, so that only that one stays behind. A PostgreSQL that was restored to an
        # earlier state may also have lost a day's partition, which is no fault of theirs.
        make_partitions(posting.days, True)
        good = _post_each(conn, good, booked)
    for item, found in good:
        if item.entry.packed is not None and item.entry.packed.bad:
            # Its money is in the log, as sums; only its bytes are set aside.
            why = f"logged as sums, {UNITEMISED}: {item.entry.packed.bad}"
            _set_aside(conn, item.shard, item.generation, found, why, booked, {})
    booked.changed_brands.update(change.brand_id for item, _ in good for change in item.entry.changes)
    return booked


def _post(conn: Connection, posting: Posting, booked: Booked) -> None:
    """Writes it, or leaves nothing of it in the transaction. Raises one of REFUSED."""
    with conn.begin_nested():
        rows = posting.write(conn)
    booked.rows += rows
    booked.micros += posting.micros


def _post_each(conn: Connection, good: Sequence[tuple[Item, Read]], booked: Booked) -> list[tuple[Item, Read]]:
    """Posts each by itself and sets aside those that PostgreSQL refuses; answers the others."""
    kept: list[tuple[Item, Read]] = []
    refused: list[tuple[Item, Read, Exception]] = []
    for item, found in good:
        try:
            _post(conn, Posting([item]), booked)
            kept.append((item, found))
        except REFUSED as error:
            refused.append((item, found, error))
    doubtful = [error for _, _, error in refused if not _breaks_a_law(error)]
    if len(doubtful) == len(good) > 1:
        # All of several: the fault is the ledger's and not theirs. Nothing is kept, the next run tries again.
        raise doubtful[0] from None
    for item, found, why in refused:
        _set_aside(conn, item.shard, item.generation, found, str(why), booked)
    return kept


def _breaks_a_law(refusal: Exception) -> bool:
    """Whether a value is wrong by itself: it breaks a check of our own tables, or does not fit into its column. No later try would take it."""
    error = getattr(refusal, "orig", None) or refusal.__cause__
    law = getattr(getattr(error, "diag", None), "constraint_name", None)
    return law in _LAWS if law else not isinstance(error, psycopg2.IntegrityError)


def _set_aside(
    conn: Connection,
    shard: int,
    generation: int,
    item: Read,
    reason: str,
    booked: Booked,
    sums: quarantine.Sums | None = None,
) -> None:
    log.error(
        "journal entry set aside: %s", reason,
        extra={"shard": shard, "entry": item.entry_id, "n": item.n, "request_id": item.fields.get(b"r", b"")[:80].decode(errors="replace")},
    )  # fmt: skip
    quarantine.put(
        conn, shard, generation, item.n, item.entry_id, item.fields, counted_by(item) if sums is None else sums, reason
    )
    booked.quarantined += 1


def counted_by(item: Read) -> dict[tuple[int, int, date], int]:
    """What the script counted for an entry, read as well as it can be."""
    sums: dict[tuple[int, int, date], int] = {}
    if isinstance(item.entry, Entry):
        for spend in item.entry.spends():
            key = (spend.brand_id, spend.campaign_id, spend_day(item.entry, spend))
            sums[key] = sums.get(key, 0) + spend.amount_micros
        return sums
    if item.n is None or b"o" in item.fields or item.entry.ms > LAST_INSTANT_MS:
        return sums
    if sum(map(len, item.fields.values())) > MOST_BYTES:
        return sums  # no script wrote it
    day = date_of(day_of(item.entry.ms))
    packed = item.fields.get(b"s")
    for campaign, amount in _SUM.findall(item.fields.get(b"b", b"")) if packed is None else _PACKED_SUM.findall(packed):
        key = (brand_of(int(campaign)), int(campaign), day)
        sums[key] = sums.get(key, 0) + int(amount)
    return sums


def retry(conn: Connection, row: quarantine.QuarantineRow, make_partitions: MakePartitions) -> int:
    """Books an entry that was set aside; answers its rows. Raises BudgetError when it still does not go."""
    if row.cut:
        raise BudgetError(f"it was too large to keep whole ({row.cut}): look at how it begins, then drop it")
    item = read(row.entry_id.encode(), row.raw())
    if isinstance(item.entry, Broken):
        raise BudgetError(item.entry.reason)
    if item.entry.packed is not None and item.entry.packed.bad and not row.micros:
        raise BudgetError(f"its money is in the log as {UNITEMISED} rows: look at its bytes, then drop it")
    posting = Posting([Item(row.shard, row.generation, item.entry)])
    make_partitions(posting.days, True)
    return posting.write(conn)
