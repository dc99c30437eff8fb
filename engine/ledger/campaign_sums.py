"""A campaign's spend a day, an hour and a minute, as the ledger has it. Read-only, oldest first; what has no spend is left out."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import Engine, text

from engine.domain.ids import brand_of
from engine.ledger.reports import BrandDay, BrandHour

_DAYS: Final = text(
    "SELECT day, coalesce(d.spend_micros, 0) AS spend_micros, coalesce(d.spends, 0) AS spends,"
    " coalesce(b.spend_micros, 0) AS backfilled_micros, coalesce(b.spends, 0) AS backfilled_spends FROM"
    " (SELECT day, spend_micros, spends FROM campaign_day WHERE campaign_id = :campaign AND day BETWEEN :first AND :last) AS d FULL JOIN"
    " (SELECT day, spend_micros, spends FROM backfill_day WHERE campaign_id = :campaign AND day BETWEEN :first AND :last) AS b"
    " USING (day) ORDER BY day"
)
_HOURS: Final = text(
    "SELECT hour, spend_micros, spends FROM campaign_hour WHERE day = :day AND campaign_id = :campaign ORDER BY hour"
)
_MINUTES: Final = text(
    "SELECT date_trunc('minute', recorded_at) AS at, sum(amount_micros)::bigint AS spend_micros,"
    " count(*) FILTER (WHERE amount_micros > 0) AS spends FROM spends_of(:brand, :since, :until)"
    " WHERE campaign_id = :campaign GROUP BY 1 ORDER BY 1"
)
HOUR: Final = timedelta(hours=1)


class Minute(NamedTuple):
    """What was recorded in a minute, less what was given back in it."""

    at: datetime
    spend_micros: int
    spends: int


def days(engine: Engine, campaign_id: int, first: date, last: date) -> list[BrandDay]:
    """Its days from first to last, both included. The sums of late spends are a brand's, so they are 0 here."""
    return [BrandDay(**row) for row in _rows(engine, _DAYS, campaign=campaign_id, first=first, last=last)]


def hours(engine: Engine, campaign_id: int, day: date) -> list[BrandHour]:
    """Its hours of a day by the clock of its brand."""
    return [BrandHour(**row) for row in _rows(engine, _HOURS, campaign=campaign_id, day=day)]


def minutes(engine: Engine, campaign_id: int, since: datetime) -> list[Minute]:
    """Its minutes of the hour from an instant on, from the rows of the log: no sum of a campaign's minutes is kept."""
    given = {"brand": brand_of(campaign_id), "campaign": campaign_id, "since": since, "until": since + HOUR}
    return [Minute(**row) for row in _rows(engine, _MINUTES, **given)]


def _rows(engine: Engine, query: Any, **values: object) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query, values).mappings()]
