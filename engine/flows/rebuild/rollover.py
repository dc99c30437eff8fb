"""What a rebuild restores of rollovers: the carry of each brand's present day, from what the log has of the last day that began."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, Engine

from engine.domain.periods import at_ms, date_of, day_number, days_of_month, month_of_date, ms_of
from engine.domain.rollover import Carry, carry_on
from engine.domain.zone_text import Zone
from engine.ledger import carries, quarantine, spend_read
from engine.ledger.carries import CarryRow, Changed
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
    """Reads them. A rollover goes on from the last day that began by now, or from the day on which it was switched on."""
    rolled = [brand for brand in brands if brand.rollover_cap_micros is not None]
    found: dict[int, Carry] = {}
    fresh: set[int] = set()
    if not rolled:
        return Carries(found, frozenset())
    days = {brand.id: Zone.parse(brand.zone).day_of(now_ms) for brand in rolled}
    with db.connect() as conn:
        last = carries.last_of(conn, {brand_id: date_of(day) for brand_id, day in days.items()})
        switched = carries.switched_on(conn, list(days))
        for brand in rolled:
            day, row = days[brand.id], last.get(brand.id)
            known = None if row is None else Carry(day_number(row.day), row.left_micros, row.before_micros)
            on = min(day, brand.zones.clock.day_of(ms_of(switched.get(brand.id, brand.created_at))))
            begins = known if known is not None and known.day >= on else Carry(on, 0)
            found[brand.id] = carry = _carry_on(conn, brand, begins, day)
            if carry != known:
                fresh.add(brand.id)
    return Carries(found, frozenset(fresh))


def _carry_on(conn: Connection, brand: BrandRecord, carry: Carry, day: int) -> Carry:
    if carry.day == day:
        return carry
    # A month begins with nothing, so none before that of yesterday counts.
    month = next(iter(days_of_month(month_of_date(date_of(day - 1)))))
    if carry.day < month:
        carry = Carry(month, 0)
    # Only of the first day may there be spends, but where PostgreSQL lost a carry or set it aside.
    spent = _spent(conn, brand, carry.day, day - 1)
    for on, budget, cap in _ends(conn, brand, carry.day, day):
        skipped = () if brand.zones.clock.day_length_ms(on) else (on,)
        carry = carry_on(carry, on + 1, spent.get(on, 0), [(on, budget)], cap or 0, skipped)
    return carry


def _spent(conn: Connection, brand: BrandRecord, first: int, last: int) -> dict[int, int]:
    """What a brand spent on each of some days, as its counters had it: without what was corrected after a day had ended."""
    totals = dict(spend_read.campaign_totals(conn, [brand.id], date_of(first), date_of(last)))
    for key, micros in quarantine.sums(conn, [brand.id]).items():
        totals[key] = totals.get(key, 0) + micros
    spent: dict[int, int] = {}
    for (_, _, on), micros in totals.items():
        if first <= (number := day_number(on)) <= last:
            spent[number] = spent.get(number, 0) + micros
    for number in spent:
        day, ended = date_of(number), at_ms(brand.zones.clock.midnight_ms(number + 1))
        spent[number] -= sum(spend_read.correction_totals(conn, [brand.id], day, day, ended).values())
    return spent


def _ends(conn: Connection, brand: BrandRecord, first: int, day: int) -> Iterator[tuple[int, int | None, int | None]]:
    """Each day with the daily budget and the cap at its end, by the audit trail and the scheduled changes that are not taken over yet."""
    clock = brand.zones.clock  # a plan's text does not know the days long before it was written
    trail = carries.trail(conn, brand.id, at_ms(clock.midnight_ms(first + 1)))
    for on in range(first, day):
        ends_ms = clock.midnight_ms(on + 1)
        budget = _before(trail, "daily_budget", ends_ms, brand.daily_budget_micros)
        passed = [step for step in brand.steps if step.at_ms < ends_ms]
        yield (
            on,
            passed[-1].daily if passed else budget,
            _before(trail, "rollover_cap", ends_ms, brand.rollover_cap_micros),
        )


def _before(trail: Sequence[Changed], field: str, ms: int, present: int | None) -> int | None:
    """What a field was before an instant."""
    return next((row.old for row in trail if row.field == field and ms_of(row.at) >= ms), present)
