"""Which days and months have ended for brands with time zones, and are not closed for them yet.

Each brand's days end by its own clock. A shard's day is closed once it has ended for all of its brands; until then each brand that
has a total of it is closed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final, NamedTuple

from engine.domain.periods import (
    Period,
    date_of,
    day_number,
    month_date,
    month_of_date,
    ms_of,
    next_month,
)
from engine.domain.zone_text import UTC, Zone
from engine.ledger.records import BrandRecord

Ended = list[tuple[Period, date]]
"""Days first, then months (their 1st), each in order."""


NEW_DAYS: Final = 3
"""Of so many days a brand has a total, or it was made after its shard had closed them: no clock is two days behind another."""


def month_before(month: int) -> int:
    """The month before one (202611)."""
    return month_of_date(date_of(day_number(month_date(month)) - 1))


class Group(NamedTuple):
    """Brands of a shard with one clock, and what has ended for them. whole: with them the shard has closed it."""

    zone: Zone
    brands: tuple[BrandRecord, ...]
    owed: tuple[tuple[Period, date], ...]
    whole: bool = False


def ended(zone: Zone, closable_ms: int, first_day: int, first_month: int) -> Ended:
    """The days and months from the first ones on that have ended by an instant."""
    owed: Ended = [("day", date_of(number)) for number in range(first_day, zone.day_of(closable_ms))]
    number, present = first_month, zone.month_of(closable_ms)
    while number < present:
        owed.append(("month", month_date(number)))
        number = next_month(number)
    return owed


def clock_of(brand: BrandRecord) -> Zone:
    """The clock by which a brand's days end."""
    return brand.zones.clock


def any_zoned(brands: Sequence[BrandRecord]) -> bool:
    """Whether any of them has, had or will have a time zone."""
    return any(clock_of(brand) != UTC for brand in brands)


def first_day_of(brand: BrandRecord) -> int:
    """The day on which a brand was made, by its own clock."""
    return clock_of(brand).day_of(ms_of(brand.created_at))


def groups(
    brands: Sequence[BrandRecord],
    closable_ms: int,
    first: tuple[int, int],
    totals: Mapping[tuple[int, str], date],
    spent: Mapping[int, date],
) -> list[Group]:
    """Brands of a shard by clock and by what is owed to them. first: the day and the month with which the shard goes on. totals:
    {(brand, period): the last one with a total}. spent: {brand: its first day with a spend since then}.
    """
    found: dict[tuple[Zone, tuple[tuple[Period, date], ...]], list[BrandRecord]] = {}
    for brand in brands:
        zone = clock_of(brand)
        day, month = totals.get((brand.id, "day")), totals.get((brand.id, "month"))
        # A brand's periods begin with the brand, or with its first spend where that is older.
        born = min(first_day_of(brand), day_number(spent.get(brand.id, date.max)))
        # One that was made on a day that it still had, after the shard had closed that day, has no total of it yet.
        is_new, of_born = born > first[0] - NEW_DAYS, month_of_date(date_of(born))
        first_day = day_number(day) + 1 if day else born if is_new else first[0]
        first_month = next_month(month_of_date(month)) if month else of_born if is_new else max(first[1], of_born)
        owed = ended(zone, closable_ms, first_day, first_month)
        if owed:
            found.setdefault((zone, tuple(owed)), []).append(brand)
    return [Group(zone, tuple(members), owed) for (zone, owed), members in found.items()]


def ended_for_all(brands: Sequence[BrandRecord], closable_ms: int, first_day: int, first_month: int) -> Ended:
    """The days and months of a shard that have ended for all of its brands, and for whoever has no time zone."""
    clocks = {UTC, *(clock_of(brand) for brand in brands)}
    kept = [set(ended(zone, closable_ms, first_day, first_month)) for zone in clocks]
    return [
        period for period in ended(UTC, closable_ms, first_day, first_month) if all(period in each for each in kept)
    ]
