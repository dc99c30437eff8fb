"""The page with a brand's spend by day and by hour, from the spend log. The URL has the selected day."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import date

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from engine.domain.forecast import Forecast
from engine.domain.periods import DAY_MS, day_number, day_start_ms
from engine.domain.zones import hours
from engine.errors import InvalidInput, TooLittleHistory, shown
from engine.ledger.hourly import Owner
from engine.ledger.records import BrandRecord
from engine.ledger.reports import BrandDay, BrandHour
from engine.views.overview import DAYS
from web.services import services

HOURS = 24

blueprint = Blueprint("spending", __name__)


@dataclass(frozen=True, slots=True)
class Line:
    """The spend of a day or an hour, and its ratio to the largest one in thousandths."""

    of: BrandDay | BrandHour
    thousandths: int


@blueprint.get("/brands/<int:brand_id>/spend")
def spending(brand_id: int) -> ResponseReturnValue:
    """The last days of a brand, and the selected day by hours."""
    overview = services().overview
    brand = services().catalog.brand(brand_id)
    today = overview.today(brand_id)
    day = _day(request.args.get("day"), today)
    found = {hour.hour: hour for hour in overview.brand_hours(brand_id, day)}
    lines = [found.get(hour, BrandHour(hour, 0, 0)) for hour in range(HOURS)]
    days = overview.brand_days(brand_id)[::-1]
    backfilled = any(each.backfilled_spends for each in days)
    spent = backfilled or any(each.spends or each.spend_micros for each in days)
    return render_template(
        "spending.html",
        brand=brand,
        day=day,
        today=today,
        last=DAYS,
        days=_compared(days) if spent else [],
        hours=_compared(lines) if found else [],
        late=any(each.late_spends for each in days),
        backfilled=backfilled,
        heading=_heading(brand.id) if day == today else None,
        label=brand.zones.label(day_start_ms(day_number(day))),
        local=overview.local(brand_id),
        length=_length(brand, day),
    )


def _day(text: str | None, today: date) -> date:
    if not text:
        return today
    day: date | None = None
    with suppress(ValueError):
        day = date.fromisoformat(text)
    if day is None or day.isoformat() != text:  # only the form that this page writes, of all forms of ISO 8601
        raise InvalidInput(f"day {shown(text)} is not a day: write it as {today}", "day")
    return day


def _length(brand: BrandRecord, day: date) -> str | None:
    """How long a day is that has no 24 hours, in words."""
    length = brand.zones.clock.day_length_ms(day_number(day))
    return None if length == DAY_MS else hours(length)


def _heading(brand_id: int) -> Forecast | str:
    """Where the brand is heading today, or why nothing is forecast."""
    try:
        return services().forecasts.of(Owner("brand", brand_id))
    except TooLittleHistory as error:
        return str(error)


def _compared(lines: list[BrandDay] | list[BrandHour]) -> list[Line]:
    largest = max((line.spend_micros for line in lines), default=0)
    # Refunds can make an hour negative. An hour with spend gets a bar of at least one thousandth.
    return [Line(line, max(line.spend_micros * 1000 // largest, 1) if line.spend_micros > 0 else 0) for line in lines]
