"""Ingest: turns journal entries into rows, hourly and daily totals, holds and corrections, all in the caller's
transaction.

An entry that cannot be read, or whose rows PostgreSQL refuses, is quarantined with its bytes and what the script
counted for it. It stops nothing else.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final, Protocol

import psycopg2
from sqlalchemy import CheckConstraint, Connection
from sqlalchemy.exc import DataError, IntegrityError

from engine.domain.ids import brand_of
from engine.domain.periods import date_of, day_of
from engine.errors import BudgetError
from engine.flows.persist.entry_laws import LAST_INSTANT_MS, MOST_BYTES
from engine.flows.persist.gather import Gathered
from engine.flows.persist.packing import Singles
from engine.flows.persist.posting import Item, Posting, spend_day
from engine.flows.persist.reading import Broken, Read, read
from engine.ledger import log_rows, quarantine
from engine.ledger.base import Base
from engine.live.journal import Entry
from engine.live.logged import UNITEMISED

log = logging.getLogger(__name__)

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
    """Makes the partitions of days. afresh: without relying on the partitions that it saw before."""

    def __call__(self, days: Iterable[date], afresh: bool = False) -> None: ...


@dataclass(frozen=True, slots=True)
class Part:
    """The entries read of one shard, and the generation of its cursor; a mark among them begins the next."""

    shard: int
    generation: int
    reads: Sequence[Read | Gathered]


@dataclass(slots=True)
class Booked:
    """What one transaction wrote."""

    entries: int = 0
    rows: int = 0
    micros: int = 0
    quarantined: int = 0
    changed_brands: set[int] = field(default_factory=set)


def book(conn: Connection, parts: Sequence[Part], make_partitions: MakePartitions, packed: bool = False) -> Booked:
    """Ingests the entries of each part in order. packed: in packed rows where they fit."""
    booked = Booked(entries=sum(item.size for part in parts for item in part.reads))
    good: list[tuple[Item, Read]] = []
    singles: list[Singles] = []
    for part in parts:
        generation = part.generation
        for found in part.reads:
            if isinstance(found, Gathered):
                singles.append(Singles(part.shard, generation, found))
                continue
            if isinstance(found.entry, Broken):
                _set_aside(conn, part.shard, generation, found, found.entry.reason, booked)
                continue
            generation = max(generation, found.generation or 0)
            good.append((Item(part.shard, generation, found.entry), found))
    posting = Posting([item for item, _ in good], singles, packed)
    make_partitions(posting.days)
    try:
        _post(conn, posting, booked)
    except REFUSED:
        # One of the entries breaks a rule of the log: each is tried alone, so that only that one stays behind. A
        # restored PostgreSQL may also have lost a day's partition, which is no error of the entries.
        make_partitions(posting.days, True)
        good = _post_each(conn, good + _apart(singles), booked)
    for item, found in good:
        if item.entry.packed is not None and item.entry.packed.bad:
            # Its money is in the log, as sums; only its bytes are quarantined.
            why = f"logged as sums, {UNITEMISED}: {item.entry.packed.bad}"
            _set_aside(conn, item.shard, item.generation, found, why, booked, {})
    booked.changed_brands.update(change.brand_id for item, _ in good for change in item.entry.changes)
    return booked


def _apart(singles: Sequence[Singles]) -> list[tuple[Item, Read]]:
    """Gathered entries, each by itself."""
    reads = [(part, found) for part in singles for found in part.gathered.reads()]
    return [
        (Item(part.shard, part.generation, found.entry), found)
        for part, found in reads
        if isinstance(found.entry, Entry)
    ]


def _post(conn: Connection, posting: Posting, booked: Booked) -> None:
    """Writes it, or nothing of it. Raises one of REFUSED."""
    with conn.begin_nested():
        rows = posting.write(conn)
    booked.rows += rows
    booked.micros += posting.micros


def _post_each(conn: Connection, good: Sequence[tuple[Item, Read]], booked: Booked) -> list[tuple[Item, Read]]:
    """Posts each alone and quarantines those that PostgreSQL refuses; returns the others."""
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
        # All of several failed: the cause is the ledger and not they. Nothing is kept, and the next run tries again.
        raise doubtful[0] from None
    for item, found, why in refused:
        _set_aside(conn, item.shard, item.generation, found, str(why), booked)
    return kept


def _breaks_a_law(refusal: Exception) -> bool:
    """Whether a value is wrong by itself, by a check of our tables or the size of its column, so that no retry can
    succeed.
    """
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
    """What the script counted for an entry, as far as it can be read."""
    sums: dict[tuple[int, int, date], int] = {}
    if isinstance(item.entry, Entry):
        for spend in item.entry.spends():
            key = (spend.brand_id, spend.campaign_id, spend_day(item.entry, spend))
            sums[key] = sums.get(key, 0) + spend.amount_micros
        return sums
    if item.n is None or b"o" in item.fields or {b"y", b"z"} & item.fields.keys() or item.entry.ms > LAST_INSTANT_MS:
        return sums
    if sum(map(len, item.fields.values())) > MOST_BYTES:
        return sums  # not written by a script
    day = date_of(day_of(item.entry.ms))
    packed = item.fields.get(b"s")
    for campaign, amount in _SUM.findall(item.fields.get(b"b", b"")) if packed is None else _PACKED_SUM.findall(packed):
        key = (brand_of(int(campaign)), int(campaign), day)
        sums[key] = sums.get(key, 0) + int(amount)
    return sums


def retry(conn: Connection, row: quarantine.QuarantineRow, make_partitions: MakePartitions) -> int:
    """Ingests a quarantined entry; returns its rows. Raises BudgetError when it is refused again."""
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
