"""Posting: writes journal entries into the ledger's tables, in the caller's transaction.

Rows are streamed to PostgreSQL while they are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from itertools import chain
from typing import NamedTuple

from sqlalchemy import Connection

from engine.domain.ids import brand_of
from engine.domain.periods import MINUTE_MS, at_ms, date_of, day_of
from engine.domain.refunds import refund_request
from engine.flows.persist.packing import Singles, call_row, fits, packs_of, single_rows
from engine.ledger import (
    breakers,
    carries,
    corrections,
    flight_sums,
    holds,
    late,
    log_rows,
    minutes,
    pack_rows,
    refunds,
    spend_log,
)
from engine.ledger.pack_rows import PackRow
from engine.live.journal import COUNTED, Entry
from engine.live.logged import LoggedSpend
from engine.live.packed import Unpacked


class Item(NamedTuple):
    """An entry of a shard, and its generation."""

    shard: int
    generation: int
    entry: Entry


class Posting:
    """Entries prepared for the tables: their rows, their sums by campaign, day and hour, and by brand and minute.

    singles: entries that were gathered. packed: whether they, and a packed call where it fits, become packed rows.
    """

    def __init__(self, items: Sequence[Item], singles: Sequence[Singles] = (), packed: bool = False) -> None:
        self._items = items
        self._singles = singles
        self._as_packs = packed
        self._calls: list[PackRow] = []
        self._packed: list[tuple[Item, Unpacked]] = []
        self._rows: list[log_rows.SpendRow] = []
        self._sums: dict[tuple[int, date, int], tuple[int, int, int]] = {}
        self._minutes: dict[minutes.Key, int] = {}
        for item in items:
            call = item.entry.simple
            if call is None:
                self._add_rows(item)
                continue
            self._add_sums(item.entry.ms, call.sums)
            if packed and fits(item.shard, item.entry, call):
                self._calls.append(call_row(*item, call))
            else:
                self._packed.append((item, call))
        for single in singles:
            found = single.gathered
            self._add_sums(
                found.instants[0], ((int(of), micros, spends) for of, (micros, spends) in found.sums.items())
            )

    def _add_sums(self, ms: int, sums: Iterable[tuple[int, int, int]]) -> None:
        """Adds sums of campaigns: micros and spends of the minute of an instant."""
        recorded_at, today, minute = at_ms(ms), date_of(day_of(ms)), ms // MINUTE_MS
        for campaign_id, total, spends in sums:
            key = (campaign_id, today, recorded_at.hour)
            brand_id, micros, count = self._sums.get(key, (brand_of(campaign_id), 0, 0))
            self._sums[key] = (brand_id, micros + total, count + spends)
            self._add_minute((brand_id, today, minute), total)

    def _add_minute(self, key: minutes.Key, micros: int) -> None:
        self._minutes[key] = self._minutes.get(key, 0) + micros

    def _add_rows(self, item: Item) -> None:
        for row in spend_rows(item):
            self._rows.append(row)
            offset = item.entry.offset_of(row.brand_id)
            ahead = timedelta(milliseconds=offset)
            occurred = None if row.occurred_at is None else row.occurred_at + ahead
            key = (row.campaign_id, row.day, spend_log.hour_of(row.day, row.recorded_at + ahead, occurred))
            brand_id, micros, count = self._sums.get(key, (row.brand_id, 0, 0))
            self._sums[key] = (brand_id, micros + row.amount_micros, count + (row.amount_micros > 0))
            minute = minutes.minute_of(row.day, row.recorded_at, row.occurred_at, offset)
            self._add_minute((row.brand_id, row.day, minute), row.amount_micros)

    @property
    def days(self) -> set[date]:
        """The days of its spends, each of its brand."""
        return {day for _, day, _ in self._sums}

    @property
    def micros(self) -> int:
        """The sum of its rows."""
        return sum(micros for _, micros, _ in self._sums.values())

    def write(self, conn: Connection) -> int:
        """Writes rows, sums, remembered requests, holds, late sums, corrections and refunds; returns how many spends have rows.
        Raises RowsRefused, and PostgreSQL's other errors.
        """
        written = 0
        alone, together = ((), self._singles) if self._as_packs else (self._singles, ())
        if self._packed or self._rows or alone:
            rows = chain(_packed(self._packed), single_rows(alone), log_rows.rows_of(self._rows))
            written = spend_log.copy_rows(conn, rows)
        packs = [*self._calls, *packs_of(together)]
        if packs:
            spend_log.copy_rows(conn, pack_rows.pack_rows(packs), pack_rows.TABLE)
            written += sum(row.spends for row in packs)
        spend_log.add_sums(conn, self._sums)
        minutes.add(conn, self._minutes)
        spend_log.add_mixed_requests(conn, list(_remembered(self._items)))
        holds.write(conn, list(_holds(self._items)))
        flight_sums.add(conn, list(_flight_parts(self._items)))
        late.add(conn, _late_sums(self._items))
        breakers.add(conn, list(_trips(self._items)))
        carries.add(conn, list(_carries(self._items)))
        corrections.write(conn, list(_corrections(self._items)))
        refunds.write(conn, list(_refunds(self._items)))
        return written


def spend_day(entry: Entry, spend: LoggedSpend) -> date:
    """The day of a spend, of its brand."""
    return date_of(day_of(entry.ms) if spend.day is None else spend.day)


def request_of(entry: Entry, spend: LoggedSpend) -> str:
    """The request id of a spend's row: that of the call; of a hold's end or a refund, which have none, one made of what they name."""
    if entry.request_id:
        return entry.request_id
    return f"{spend.campaign_id}:{spend.hold_id}" if spend.hold_id else refund_request(spend.event_id, spend.refund_id)


def _packed(whole: Sequence[tuple[Item, Unpacked]]) -> Iterator[bytes]:
    for (shard, generation, entry), call in whole:
        lease, kind = entry.drawn_from or (None, "spend")
        shared = log_rows.CallRow(
            recorded_at=at_ms(entry.ms),
            day=date_of(day_of(entry.ms)),
            request_id=entry.request_id,
            shard=shard,
            generation=generation,
            n=entry.n,
            kind=kind,
            hold_id=lease,
        )
        campaigns = [line.campaign_id for line in call.sums]
        yield log_rows.packed_rows(shared, campaigns, call.places, call.micros, call.events)


def spend_rows(item: Item) -> Iterator[log_rows.SpendRow]:
    """The rows of an entry."""
    shard, generation, entry = item
    recorded_at = at_ms(entry.ms)
    for spend in entry.spends():
        yield log_rows.SpendRow(
            recorded_at=recorded_at,
            day=spend_day(entry, spend),
            brand_id=spend.brand_id,
            campaign_id=spend.campaign_id,
            amount_micros=spend.amount_micros,
            event_id=spend.event_id,
            request_id=request_of(entry, spend),
            occurred_at=None if spend.occurred_ms is None else at_ms(spend.occurred_ms),
            kind=spend.kind,
            shard=shard,
            generation=generation,
            n=entry.n,
            position=spend.position,
            hold_id=spend.hold_id,
        )


def _remembered(items: Sequence[Item]) -> Iterator[spend_log.RememberedRequest]:
    for shard, generation, entry in items:
        if entry.outcomes or entry.packed is not None or (entry.skip and entry.body):
            # Rows alone do not give back which spends were refused, those that an earlier row has, nor the bytes of a packed call.
            # A verb of `*`: of either.
            outcomes = entry.outcomes or f"{COUNTED}*{entry.packed.size if entry.packed else entry.body.count(';')}"
            digest = (entry.verb or "*") + entry.digest
            yield spend_log.RememberedRequest(
                shard, generation, entry.n, entry.request_id, digest, outcomes, at_ms(entry.ms)
            )


def _flight_parts(items: Sequence[Item]) -> Iterator[flight_sums.Part]:
    for shard, generation, entry in items:
        if entry.flights is None:
            continue
        sums: dict[tuple[int, date], int] = {}
        for spend in entry.spends():
            if spend.campaign_id in entry.flights:
                key = (spend.campaign_id, spend_day(entry, spend))
                sums[key] = sums.get(key, 0) + spend.amount_micros
        for (campaign_id, day), micros in sums.items():
            flight = entry.flights[campaign_id]
            yield flight_sums.Part(shard, generation, entry.n, campaign_id, flight, day, micros)


def _late_sums(items: Sequence[Item]) -> dict[late.Key, tuple[int, int]]:
    sums: dict[late.Key, tuple[int, int]] = {}
    for _, _, entry in items:
        for spend in entry.spends() if entry.late else ():
            if spend.late:
                key = late.Key(spend.brand_id, spend_day(entry, spend), spend.day != entry.day_of(spend.brand_id))
                spends, micros = sums.get(key, (0, 0))
                sums[key] = spends + 1, micros + spend.amount_micros
    return sums


def _holds(items: Sequence[Item]) -> Iterator[holds.HoldRow]:
    for _, _, entry in items:
        recorded_at = at_ms(entry.ms)
        for step in entry.hold_steps() if entry.steps else ():
            is_open = step.state == "open"
            expires = None if step.expires_ms is None else at_ms(step.expires_ms)
            yield holds.HoldRow(
                step.campaign_id, step.hold_id, brand_of(step.campaign_id), step.held_micros, step.settled_micros,
                step.state, recorded_at if is_open else None, expires, None if is_open else recorded_at,
            )  # fmt: skip


def _trips(items: Sequence[Item]) -> Iterator[breakers.TripRow]:
    for _, _, entry in items:
        for trip in entry.trips:
            yield breakers.TripRow(trip.campaign_id, trip.round, at_ms(entry.ms), trip.spent)


def _carries(items: Sequence[Item]) -> Iterator[carries.CarryRow]:
    for _, _, entry in items:
        for told in entry.carries:
            yield carries.CarryRow(told.brand_id, entry.n, date_of(told.day), told.left, told.before, at_ms(entry.ms))


def _corrections(items: Sequence[Item]) -> Iterator[corrections.CorrectionRow]:
    for shard, _, entry in items:
        for step in entry.adjustments():
            of_brand = step.owner == "brand"
            brand_id = step.owner_id if of_brand else brand_of(step.owner_id)
            yield corrections.CorrectionRow(
                step.name, brand_id, None if of_brand else step.owner_id, step.field, step.difference_micros,
                at_ms(entry.ms), shard, entry.n,
            )  # fmt: skip


def _refunds(items: Sequence[Item]) -> Iterator[refunds.Told]:
    for _, _, entry in items:
        for refund in entry.refunds() if entry.steps else ():
            yield refunds.Told(
                brand_of(refund.campaign_id), refund.event_id, refund.refund_id or "", refund.campaign_id, refund.micros,
                date_of(refund.day), at_ms(entry.ms), entry.n, refund.asked,
            )  # fmt: skip
