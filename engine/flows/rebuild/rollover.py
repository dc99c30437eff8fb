"""What a rebuild restores of rollovers: the carry of each brand's present day, from what the log has of the last day that began."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, Engine

from engine.domain.budget import BUDGETS
from engine.domain.periods import at_ms, date_of, day_number
from engine.domain.rollover import Carry, Piece, carry_on
from engine.domain.zone_text import Zone
from engine.ledger import carries, day_ends, quarantine, spend_read
from engine.ledger.carries import CarryRow
from engine.ledger.records import BrandRecord


class Carries(NamedTuple):
    """The carries of the brands with a rollover, and those of them that the log does not have yet."""

    carries: dict[int, Carry]
    fresh: frozenset[int]

    def field(self, brand: BrandRecord) -> list[str]:
        """The field `b` of a brand's hash; nothing where it has no rollover."""
        carry = self.carries.get(brand.id)
        if carry is None:
            return []
        before = "" if carry.before is None else str(carry.before)
        return ["b", f"{brand.rollover_cap_micros},{carry.day},{carry.left},{before}"]

    def rows(self, n: int, now_ms: int) -> list[CarryRow]:
        """What the log is to have too. n: the number of the journal's first entry after the rebuild."""
        return [
            CarryRow(brand_id, n, date_of(carry.day), carry.left, carry.before, at_ms(now_ms))
            for brand_id, carry in self.carries.items()
            if brand_id in self.fresh
        ]


NO_CARRIES: Final = Carries({}, frozenset())


def read_carries(db: Engine, brands: Sequence[BrandRecord], now_ms: int) -> Carries:
    """Reads them. Where the log has spends of days that it has no carry of, the rollover was off meanwhile and begins anew."""
    rolled = [brand for brand in brands if brand.rollover_cap_micros is not None]
    found: dict[int, Carry] = {}
    fresh: set[int] = set()
    if not rolled:
        return Carries(found, frozenset())
    with db.connect() as conn:
        last = carries.last_of(conn, [brand.id for brand in rolled])
        for brand in rolled:
            day, row = Zone.parse(brand.zone).day_of(now_ms), last.get(brand.id)
            known = None if row is None else Carry(day_number(row.day), row.left_micros, row.before_micros)
            carry = Carry(day, 0) if known is None or known.day > day else _carry_on(conn, brand, known, day)
            found[brand.id] = carry
            if carry != known:
                fresh.add(brand.id)
    return Carries(found, frozenset(fresh))


def _carry_on(conn: Connection, brand: BrandRecord, carry: Carry, day: int) -> Carry:
    if carry.day == day:
        return carry
    spent = _spent(conn, brand, carry.day, day)
    if any(micros for on, micros in spent.items() if on > carry.day):
        return Carry(day, 0)
    assert brand.rollover_cap_micros is not None
    pieces = _pieces(conn, brand, carry.day, day)
    return carry_on(carry, day, spent.get(carry.day, 0), pieces, brand.rollover_cap_micros)


def _spent(conn: Connection, brand: BrandRecord, first: int, last: int) -> dict[int, int]:
    """What a brand spent on each of some days, as its counters had it: without what was corrected after a day had ended."""
    totals = dict(spend_read.campaign_totals(conn, [brand.id], date_of(first), date_of(last)))
    for key, micros in quarantine.sums(conn, [brand.id]).items():
        totals[key] = totals.get(key, 0) + micros
    spent: dict[int, int] = {}
    for (_, _, on), micros in totals.items():
        spent[day_number(on)] = spent.get(day_number(on), 0) + micros
    ended = at_ms(Zone.parse(brand.zone).midnight_ms(first + 1))
    corrected = spend_read.correction_totals(conn, [brand.id], date_of(first), date_of(first), ended)
    spent[first] = spent.get(first, 0) - sum(corrected.values())
    return spent


def _pieces(conn: Connection, brand: BrandRecord, first: int, day: int) -> list[Piece]:
    """The daily budget at the end of each day, by the audit trail and the scheduled changes that are not taken over yet."""
    zone, limits = Zone.parse(brand.zone), [kind.limit_of(brand) for kind in BUDGETS]
    pieces: list[Piece] = []
    for on in range(first, day):
        ends_ms = zone.midnight_ms(on + 1)
        then = day_ends.limits_before(conn, [brand.id], {("brand", brand.id): limits}, at_ms(ends_ms))
        passed = [step for step in brand.steps if step.at_ms < ends_ms]
        budget = passed[-1].daily if passed else then.get(("brand", brand.id), limits)[0]
        pieces.append((on, budget))
    return pieces
