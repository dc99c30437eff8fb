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

from sqlalchemy import Connection
from sqlalchemy.exc import DataError, IntegrityError

from engine.domain.ids import brand_of
from engine.domain.periods import at_ms, date_of, day_of
from engine.errors import BudgetError
from engine.ledger import corrections, holds, quarantine, spend_log
from engine.live.journal import COUNTED, UNITEMISED, BadEntry, Entry, LoggedSpend, decode

log = logging.getLogger(__name__)

REFUSED: Final = (spend_log.RowsRefused, IntegrityError, DataError)
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
        entry = decode(entry_id, fields)
        for spend in () if entry.simple else entry.spends():
            at_ms(spend.occurred_ms or 0)
        list(entry.hold_steps())
        list(entry.adjustments())
        return Read(fields, entry)
    except (BadEntry, ValueError, OverflowError) as bad:
        name, digits = entry_id.decode(), fields.get(b"n", b"")
        n = int(digits) if digits.isdigit() and len(digits) < 16 else None
        return Read(fields, Broken(name, int(name.partition("-")[0]), n, str(bad)))


def book(
    conn: Connection,
    shard: int,
    reads: Sequence[Read],
    generation: int,
    make_partitions: MakePartitions,
) -> Booked:
    """Books entries in order. generation: that of the cursor; a mark among them begins the next."""
    booked = Booked(entries=len(reads))
    good: list[tuple[Entry, int, Read]] = []
    for item in reads:
        if isinstance(item.entry, Broken):
            _set_aside(conn, shard, generation, item, item.entry.reason, booked)
            continue
        generation = max(generation, item.entry.generation or 0)
        good.append((item.entry, generation, item))
    days = {date_of(day_of(entry.ms)) for entry, _, _ in good if entry.simple}
    days |= {spend_day(entry, spend) for entry, _, _ in good if not entry.simple for spend in entry.spends()}
    make_partitions(days)
    try:
        with conn.begin_nested():
            _write(conn, shard, [(entry, gen) for entry, gen, _ in good], booked)
    except REFUSED:
        # One of them breaks a law of the log: each by itself, so that only that one stays behind. A PostgreSQL that was restored to an
        # earlier state may also have lost a day's partition, which is no fault of theirs.
        make_partitions(days, True)
        refused: list[tuple[Read, int, Exception]] = []
        for entry, gen, item in good:
            try:
                with conn.begin_nested():
                    _write(conn, shard, [(entry, gen)], booked)
            except REFUSED as error:
                refused.append((item, gen, error))
        if len(refused) == len(good) > 1:
            # All of several: the fault is the ledger's and not theirs. Nothing is kept, the next run tries again.
            raise refused[0][2] from None
        for item, gen, why in refused:
            _set_aside(conn, shard, gen, item, str(why), booked)
        good = [kept for kept in good if all(kept[2] is not item for item, _, _ in refused)]
    for entry, gen, item in good:
        if entry.packed is not None and entry.packed.bad:
            # Its money is in the log, as sums; only its bytes are set aside.
            _set_aside(conn, shard, gen, item, f"logged as sums, {UNITEMISED}: {entry.packed.bad}", booked, {})
    booked.changed_brands.update(change.brand_id for entry, _, _ in good for change in entry.changes)
    return booked


def spend_day(entry: Entry, spend: LoggedSpend) -> date:
    """The UTC day that a spend is booked to."""
    return date_of(day_of(entry.ms) if spend.day is None else spend.day)


def _write(conn: Connection, shard: int, entries: Sequence[tuple[Entry, int]], booked: Booked) -> None:
    rows: list[spend_log.SpendRow] = []
    lines: list[str] = []
    remembered: list[spend_log.RememberedRequest] = []
    sums: dict[tuple[int, date, int], tuple[int, int, int]] = {}
    ends: list[holds.HoldRow] = []
    adjusted: list[corrections.CorrectionRow] = []
    for entry, generation in entries:
        recorded_at, today = at_ms(entry.ms), date_of(day_of(entry.ms))
        simple = entry.simple
        if simple:
            lease, kind = entry.drawn_from or (None, "spend")
            campaigns = [line.campaign_id for line in simple.sums]
            lines += spend_log.packed_lines(
                recorded_at,
                today,
                campaigns,
                simple.places,
                simple.micros,
                entry.request_id,
                shard,
                generation,
                entry.n,
                lease,
                kind,
                simple.events,
            )
            for campaign_id, total, spends in simple.sums:
                key = (campaign_id, today, recorded_at.hour)
                brand_id, micros, count = sums.get(key, (brand_of(campaign_id), 0, 0))
                sums[key] = (brand_id, micros + total, count + spends)
        for spend in () if simple else entry.spends():
            day = today if spend.day is None else date_of(spend.day)
            request = entry.request_id or (
                f"{spend.campaign_id}:{spend.hold_id}" if spend.hold_id else f"refund:{spend.event_id}"
            )
            rows.append(
                spend_log.SpendRow(
                    recorded_at, day, spend.brand_id, spend.campaign_id, spend.amount_micros, spend.event_id, request,
                    None if spend.occurred_ms is None else at_ms(spend.occurred_ms), spend.kind, shard, generation, entry.n,
                    spend.position, spend.hold_id,
                )
            )  # fmt: skip
            key = (spend.campaign_id, day, spend_log.hour_of(day, recorded_at))
            brand_id, micros, count = sums.get(key, (spend.brand_id, 0, 0))
            sums[key] = (brand_id, micros + spend.amount_micros, count + (spend.amount_micros > 0))
        if entry.outcomes or entry.packed is not None:
            # Rows alone do not give back which spends were refused, nor the bytes of a packed call. A verb of `*`: of either.
            outcomes = entry.outcomes or f"{COUNTED}*{entry.packed.size if entry.packed else 0}"
            digest = (entry.verb or "*") + entry.digest
            remembered.append(
                spend_log.RememberedRequest(shard, generation, entry.n, entry.request_id, digest, outcomes, recorded_at)
            )
        if entry.steps:
            for step in entry.hold_steps():
                is_open = step.state == "open"
                expires = None if step.expires_ms is None else at_ms(step.expires_ms)
                ends.append(
                    holds.HoldRow(
                        step.campaign_id, step.hold_id, brand_of(step.campaign_id), step.held_micros, step.settled_micros,
                        step.state, recorded_at if is_open else None, expires, None if is_open else recorded_at,
                    )
                )  # fmt: skip
        for item in entry.adjustments():
            of_brand = item.owner == "brand"
            brand_id = item.owner_id if of_brand else brand_of(item.owner_id)
            adjusted.append(
                corrections.CorrectionRow(
                    item.name, brand_id, None if of_brand else item.owner_id, item.field, item.difference_micros,
                    recorded_at, shard, entry.n,
                )
            )  # fmt: skip
    spend_log.copy_lines(conn, [*lines, *spend_log.lines_of(rows)])
    spend_log.add_sums(conn, sums)
    spend_log.add_mixed_requests(conn, remembered)
    holds.write(conn, ends)
    corrections.write(conn, adjusted)
    booked.rows += len(rows) + len(lines)
    booked.micros += sum(micros for _, micros, _ in sums.values())


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
        extra={"shard": shard, "entry": item.entry_id, "n": item.n, "request_id": item.fields.get(b"r", b"").decode(errors="replace")},
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
    if item.n is None or b"o" in item.fields:
        return sums
    day = date_of(day_of(item.entry.ms))
    packed = item.fields.get(b"s")
    for campaign, amount in _SUM.findall(item.fields.get(b"b", b"")) if packed is None else _PACKED_SUM.findall(packed):
        key = (brand_of(int(campaign)), int(campaign), day)
        sums[key] = sums.get(key, 0) + int(amount)
    return sums


def retry(conn: Connection, row: quarantine.QuarantineRow, make_partitions: MakePartitions) -> int:
    """Books an entry that was set aside; answers its rows. Raises BudgetError when it still does not go."""
    item = read(row.entry_id.encode(), row.raw())
    if isinstance(item.entry, Broken):
        raise BudgetError(item.entry.reason)
    if item.entry.packed is not None and item.entry.packed.bad and not row.micros:
        raise BudgetError(f"its money is in the log as {UNITEMISED} rows: look at its bytes, then drop it")
    make_partitions({spend_day(item.entry, spend) for spend in item.entry.spends()}, True)
    booked = Booked()
    _write(conn, row.shard, [(item.entry, row.generation)], booked)
    return booked.rows
