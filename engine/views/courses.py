"""Reads the course of the present day of a brand or campaign: minutes, budgets, stops and the forecast. Kept for a moment, for all who look."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Final

from sqlalchemy import Connection, Engine

from engine.domain.forecast import Forecast
from engine.domain.limit_changes import Coming
from engine.domain.periods import HOUR_MS, at_ms, day_number, ms_of
from engine.errors import ServerAway, TooLittleHistory
from engine.ledger import history, hourly, minutes
from engine.ledger.catalog import Catalog
from engine.ledger.history import DailyChange
from engine.ledger.hourly import Owner
from engine.views.day_course import BudgetMark, DayCourse, Limit, Mark, Point, StopMark, course_of
from engine.views.forecasts import Forecasts
from engine.views.kept import Kept, Read
from engine.views.models import BrandView, CampaignView

MOST_MARKS: Final = 60
_KEPT_S: Final = 2.0
_FORECAST_KEPT_S: Final = 60.0


class Courses:
    """Thread-safe. Whoever asks again within two seconds gets what was read; a forecast is kept for a minute."""

    def __init__(self, db: Engine, catalog: Catalog, forecasts: Forecasts) -> None:
        self._db = db
        self._catalog = catalog
        self._forecasts = forecasts
        self._courses: Kept[Owner, DayCourse] = Kept(_KEPT_S)
        self._heading: Kept[Owner, Forecast | str] = Kept(_FORECAST_KEPT_S)

    def of_brand(self, view: BrandView) -> DayCourse:
        """The day of a brand, up to the figures of a view. Raises NotFound, ServerAway."""
        owner = Owner("brand", view.id)
        return self._courses.get(owner, lambda: self._read_brand(owner, view))

    def of_campaign(self, view: CampaignView, now_ms: int) -> DayCourse:
        """The day of a campaign by the hour, with its own daily budget. Raises NotFound, ServerAway."""
        owner = Owner("campaign", view.id)
        return self._courses.get(owner, lambda: self._read_campaign(owner, view, now_ms))

    def last(self, owner: Owner) -> Read[DayCourse] | None:
        """What was read last, for whoever cannot read now."""
        return self._courses.last(owner)

    def heading(self, owner: Owner) -> Forecast | str:
        """Where it is heading today, or why nothing is forecast. Raises NotFound, ServerAway."""

        def read() -> Forecast | str:
            try:
                return self._forecasts.of(owner)
            except TooLittleHistory as error:
                return str(error)

        return self._heading.get(owner, read)

    def budgets_of_days(self, brand_id: int, days: Sequence[date], now: int | None) -> dict[date, int | None]:
        """The daily budget that a brand had at the end of each of its days, and today's now, by the trail. Days before it was made are left
        out. Raises NotFound, ServerAway.
        """
        brand = self._catalog.brand(brand_id)
        clock = brand.zones.clock
        with self._db.connect() as connection:
            changes = history.daily_changes(
                connection, "brand", brand_id, at_ms(clock.midnight_ms(day_number(min(days))))
            )
        limits = _limits(changes, now)
        ends = {day: clock.midnight_ms(day_number(day + timedelta(days=1))) - 1 for day in days}
        return {day: _last(limits, end) for day, end in ends.items() if end >= ms_of(brand.created_at)}

    def _read_brand(self, owner: Owner, view: BrandView) -> DayCourse:
        begin, clock = view.zones.clock.period_start_ms("day", view.now_ms), view.zones.clock
        with self._db.connect() as connection:
            found = minutes.of_day(connection, view.id, clock.date_of(view.now_ms))
            changes = history.daily_changes(connection, "brand", view.id, at_ms(begin))
            marks = _marks(connection, owner, changes, begin)
        return course_of(
            view.now_ms,
            view.local,
            [(ms_of(at), micros) for at, micros in found],
            view.daily_spend,
            [*_limits(changes, view.daily_budget, begin), *_coming(view.coming, clock.next_day_ms(view.now_ms))],
            self._catalog.brand(view.id).pace,
            self._forecast(owner),
            marks,
        )

    def _read_campaign(self, owner: Owner, view: CampaignView, now_ms: int) -> DayCourse:
        clock = view.local.zone
        day, begin = clock.day_of(now_ms), clock.period_start_ms("day", now_ms)
        with self._db.connect() as connection:
            found = hourly.hours(connection, owner, clock.date_of(now_ms), clock.date_of(now_ms))
            changes = history.daily_changes(connection, "campaign", view.id, at_ms(begin))
            marks = _marks(connection, owner, changes, begin)
        hours: list[Point] = [(clock.clock_ms(day, hour * HOUR_MS), micros) for (_, hour), micros in found.items()]
        limit = view.budgets[0].limit
        limits: list[Limit] = _limits(changes, limit, begin) if limit is not None or changes else []
        pace = self._catalog.campaign(view.id).pace
        return course_of(now_ms, view.local, sorted(hours), view.daily_spend, limits, pace, None, marks, HOUR_MS)

    def _forecast(self, owner: Owner) -> Forecast | None:
        try:
            found = self.heading(owner)
        except ServerAway:  # of Redis: the course is of PostgreSQL, which is asked for itself
            return None
        return None if isinstance(found, str) else found


def _limits(changes: Sequence[DailyChange], now: int | None, begin_ms: int = 0) -> list[Limit]:
    """The budgets one after the other, the first from `begin_ms` on; `now` is the present one."""
    first = changes[0].old if changes else now
    return [(begin_ms, first), *((ms_of(change.at), change.new) for change in changes)]


def _last(limits: Sequence[Limit], ms: int) -> int | None:
    return [limit for at, limit in limits if at <= ms][-1]


def _coming(steps: Iterable[Coming], end_ms: int) -> list[Limit]:
    return [(step.at_ms, step.after) for step in steps if step.period == "daily" and step.at_ms < end_ms]


def _marks(connection: Connection, owner: Owner, changes: Sequence[DailyChange], begin_ms: int) -> list[Mark]:
    budgets = [BudgetMark(ms_of(at), old, new, actor) for at, old, new, actor in changes[-MOST_MARKS:]]
    found = history.stops(connection, owner, at_ms(begin_ms), MOST_MARKS)
    return [*budgets, *(StopMark(ms_of(at), reasons, number, name) for at, reasons, number, name in found)]
