"""Sums of past hours, and the single spends of a day, of a brand or a campaign: what forecasts, learned curves and
simulations read.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from typing import Final, Literal, NamedTuple

from sqlalchemy import Connection, text

from engine.domain.budget import BUDGETS
from engine.domain.causes import CAUSES
from engine.domain.ids import brand_of, campaign_id_of
from engine.domain.periods import DAY_MS, HOUR_MS, at_ms, date_of, day_number, ms_of
from engine.domain.zone_text import UTC, Zone

# Day by day, because the key begins with the day: a range of days would read all campaigns of each.
_HOURS: Final = text(
    "SELECT found.* FROM"
    " (SELECT g::date AS day FROM generate_series(CAST(:first AS date), CAST(:last AS date), interval '1 day') AS g) AS wanted,"
    " LATERAL (SELECT h.day, h.hour, sum(h.spend_micros)::bigint AS micros FROM campaign_hour AS h"
    " WHERE h.day = wanted.day AND h.campaign_id >= :low AND h.campaign_id < :high GROUP BY 1, 2) AS found"
)
_USED_UP: Final = text(
    "SELECT DISTINCT at FROM status_change WHERE campaign_id >= :low AND campaign_id < :high"
    " AND at >= :since AND at < :until AND reasons && CAST(:causes AS text[])"
)
_SPENDS: Final = text(
    "SELECT recorded_at, amount_micros FROM spends_of(:brand, :since, :until) WHERE campaign_id >= :low"
    " AND campaign_id < :high AND amount_micros > 0 ORDER BY recorded_at, generation, n, position"
).execution_options(yield_per=10_000)
_DROPPED: Final = text("SELECT EXISTS (SELECT FROM dropped_day WHERE day = :day AND brand_id = :brand)")


class Owner(NamedTuple):
    """A brand or a campaign: whose hours or spends are meant."""

    kind: Literal["brand", "campaign"]
    id: int

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"

    @property
    def brand_id(self) -> int:
        """The brand itself, or the campaign's."""
        return self.id if self.kind == "brand" else brand_of(self.id)

    @property
    def low(self) -> int:
        """The first id of its campaigns."""
        return campaign_id_of(self.id, 0) if self.kind == "brand" else self.id

    @property
    def high(self) -> int:
        """The id after the last of its campaigns."""
        return campaign_id_of(self.id + 1, 0) if self.kind == "brand" else self.id + 1

    @property
    def _range(self) -> dict[str, int]:
        return {"low": self.low, "high": self.high}

    @property
    def _budget_causes(self) -> list[str]:
        """The causes of a budget that stops all of it."""
        own = [row.name for row in CAUSES if row.kind == "money"]
        return [kind.cause for kind in BUDGETS] if self.kind == "brand" else own


def hour_at(ms: int, clock: Zone) -> tuple[date, int, datetime]:
    """The day and hour of the sums that an instant is in, and when that hour began. An hour that comes twice is one hour of the sums."""
    local = clock.local_ms(ms)
    begins = clock.instants_of(local - local % HOUR_MS) or (ms,)
    return date_of(clock.day_of(ms)), local % DAY_MS // HOUR_MS, at_ms(begins[0])


def hours(connection: Connection, owner: Owner, first: date, last: date) -> dict[tuple[int, int], int]:
    """{(day number, hour): micros} of the days from first to last, both included; hours without spend are left out."""
    found = connection.execute(_HOURS, {"first": first, "last": last, **owner._range})
    return {(day_number(day), hour): micros for day, hour, micros in found}


def used_up_days(connection: Connection, owner: Owner, first: date, last: date, clock: Zone = UTC) -> set[int]:
    """The day numbers from first to last, by the brand's clock, on which a budget ran out, so that nothing more could be spent."""
    since, until = clock.midnight_ms(day_number(first)), clock.midnight_ms(day_number(last) + 1)
    values = {"since": at_ms(since), "until": at_ms(until), "causes": owner._budget_causes}
    return {clock.day_of(ms_of(at)) for at in connection.execute(_USED_UP, {**values, **owner._range}).scalars()}


def spends_of_day(connection: Connection, owner: Owner, day: date, clock: Zone = UTC) -> Iterator[tuple[int, int]]:
    """Each spend that was counted on a day of the brand's clock as (ms since the day began, micros), in order; refunds are left out."""
    begin, end = (clock.midnight_ms(day_number(day) + ahead) for ahead in (0, 1))
    values = {"brand": owner.brand_id, "since": at_ms(begin), "until": at_ms(end)}
    for at, micros in connection.execute(_SPENDS, {**values, **owner._range}):
        yield ms_of(at) - begin, micros


def is_dropped(connection: Connection, owner: Owner, day: date) -> bool:
    """Whether rows of the brand on a day are in the log no more (`SPEND_LOG_KEEP_DAYS`)."""
    found: bool = connection.execute(_DROPPED, {"day": day, "brand": owner.brand_id}).scalar_one()
    return found
