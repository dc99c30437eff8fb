"""Forecasts of a brand or campaign: its hours of the last four weeks from the ledger, and today's spend from Redis."""

from __future__ import annotations

from datetime import date

from sqlalchemy import Connection, Engine

from engine.domain.curves import Points
from engine.domain.forecast import Forecast, Spent, forecast
from engine.domain.periods import date_of
from engine.domain.schedule import DAYS
from engine.domain.traffic import DAYS_BACK, History, known_days, shape_of, usable
from engine.domain.zone_text import UTC, Zone
from engine.ledger import hourly
from engine.ledger.hourly import Owner
from engine.views.overview import Overview


class Forecasts:
    """Reads what a forecast or a learned curve needs."""

    def __init__(self, db: Engine, overview: Overview) -> None:
        self._db = db
        self._overview = overview

    def of(self, owner: Owner) -> Forecast:
        """Where a brand or campaign is heading. Raises NotFound, TooLittleHistory, ServerAway."""
        brand = self._overview.brand(owner.brand_id, alone=True)
        if owner.kind == "brand":
            spent = Spent(brand.daily_spend, brand.monthly_spend, brand.daily_budget, brand.monthly_budget)
        else:
            campaign = self._overview.campaign(owner.id)
            daily, monthly = (budget.limit for budget in campaign.budgets[:2])
            spent = Spent(campaign.daily_spend, campaign.monthly_spend, daily, monthly)
        with self._db.connect() as connection:
            history = history_before(connection, owner, brand.zones.clock.day_of(brand.now_ms))
        return forecast(history, spent, brand.now_ms, str(owner), brand.zones.clock)

    def learned(self, brand_id: int) -> tuple[dict[int, Points], int]:
        """The points of a brand's usual day by weekday (1 is Monday), and by how many days. Raises NotFound,
        TooLittleHistory.
        """
        brand = self._overview.brand(brand_id, alone=True)
        clock = brand.zones.clock
        with self._db.connect() as connection:
            history = teaching_days(connection, Owner("brand", brand_id), clock.day_of(brand.now_ms), clock)
        days = sum(any(hours) for hours in history.values())
        return {weekday + 1: shape_of(history, weekday).points for weekday in range(len(DAYS))}, days


def history_before(connection: Connection, owner: Owner, today: int) -> History:
    """The hours of the 28 days before a day."""
    return known_days(hourly.hours(connection, owner, *_before(today)), today)


def teaching_days(connection: Connection, owner: Owner, today: int, clock: Zone = UTC) -> History:
    """Those of them from which a curve can be learned, by the brand's clock. Raises TooLittleHistory."""
    used_up = hourly.used_up_days(connection, owner, *_before(today), clock)
    return usable(history_before(connection, owner, today), used_up, str(owner))


def _before(today: int) -> tuple[date, date]:
    return date_of(today - DAYS_BACK), date_of(today - 1)
