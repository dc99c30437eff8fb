"""The clocks of brands, by which checks know what day it is for each."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta

from sqlalchemy import Connection

from engine.domain.periods import Period, date_of, day_number, days_of_month, month_date, next_month
from engine.domain.zone_text import UTC, Zone
from engine.ledger import zones


@dataclass(frozen=True, slots=True)
class Clocks:
    """{brand id: its clock}, without brands that were always in UTC."""

    of_brand: dict[int, Zone] = field(default_factory=dict)

    @classmethod
    def read(cls, connection: Connection) -> Clocks:
        """Those of the catalog."""
        return cls({brand.id: brand.zones.clock for brand in zones.zoned(connection)})

    def of(self, brand_id: int) -> Zone:
        """The clock of a brand."""
        return self.of_brand.get(brand_id, UTC)

    def _all(self) -> set[Zone]:
        return {UTC, *self.of_brand.values()}

    def today(self, ms: int) -> date:
        """The latest date that it is for any brand."""
        return date_of(max(zone.day_of(ms) for zone in self._all()))

    def month_begin(self, ms: int) -> date:
        """The first day of the earliest month that it is for any brand."""
        return min(date_of(next(days_of_month(zone.month_of(ms)))) for zone in self._all())

    def first_open(self, ms: int) -> date:
        """The first day of the months that are open, and where it is later the day before today."""
        yesterday = date_of(min(zone.day_of(ms) for zone in self._all()) - 1)
        return min(self.month_begin(ms), yesterday)

    def own_days(self, first: date, last: date) -> dict[str, list[object]]:
        """Values of a query: when each day from one before the first to one after the last begins and ends for each brand."""
        out: dict[str, list[object]] = {"z_brands": [], "z_days": [], "z_begins": [], "z_ends": []}
        for brand_id, zone in self.of_brand.items():
            for number in range(day_number(first) - 2, day_number(last) + 3):
                begins, ends = zone.midnight_ms(number), zone.midnight_ms(number + 1)
                if begins < ends:
                    for name, value in zip(out, (brand_id, date_of(number), begins, ends), strict=True):
                        out[name].append(value)
        return out

    def ends_of(self, period: Period, starts_on: date) -> dict[str, list[int]]:
        """Values of a query: when a day or month ended for each brand, in ms."""
        last = starts_on + timedelta(days=1)
        if period == "month":
            last = month_date(next_month(starts_on.year * 100 + starts_on.month))
        ends = {brand_id: zone.midnight_ms(day_number(last)) for brand_id, zone in self.of_brand.items()}
        return {"e_brands": list(ends), "e_ends": list(ends.values())}
