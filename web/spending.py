"""What a brand spent, by day and by hour, as the log has it. The day that is looked at stands in the address."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import date

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from engine.errors import InvalidInput, shown
from engine.ledger.reports import BrandDay, BrandHour
from engine.views.overview import DAYS
from web.parts import parts

HOURS = 24

blueprint = Blueprint("spending", __name__)


@dataclass(frozen=True, slots=True)
class Line:
    """A day or an hour: what was spent in it, and how that compares with the largest, in thousandths."""

    of: BrandDay | BrandHour
    thousandths: int


@blueprint.get("/brands/<int:brand_id>/spend")
def spending(brand_id: int) -> ResponseReturnValue:
    """The last days of a brand, and one of them by the hour."""
    overview = parts().overview
    brand = parts().catalog.brand(brand_id)
    today = overview.today()
    day = _day(request.args.get("day"), today)
    found = {hour.hour: hour for hour in overview.brand_hours(brand_id, day)}
    hours = [found.get(hour, BrandHour(hour, 0, 0)) for hour in range(HOURS)]
    days = overview.brand_days(brand_id)[::-1]
    spent = any(each.spends or each.spend_micros for each in days)
    return render_template(
        "spending.html",
        brand=brand,
        day=day,
        today=today,
        last=DAYS,
        days=_compared(days) if spent else [],
        hours=_compared(hours) if found else [],
    )


def _day(text: str | None, today: date) -> date:
    if not text:
        return today
    day: date | None = None
    with suppress(ValueError):
        day = date.fromisoformat(text)
    if day is None or day.isoformat() != text:  # other forms of ISO 8601 are days too, but not as this page writes them
        raise InvalidInput(f"day {shown(text)} is not a day: write it as {today}", "day")
    return day


def _compared(lines: list[BrandDay] | list[BrandHour]) -> list[Line]:
    largest = max((line.spend_micros for line in lines), default=0)
    # An hour of refunds may be below zero; one with a spend shows at least a sliver.
    return [Line(line, max(line.spend_micros * 1000 // largest, 1) if line.spend_micros > 0 else 0) for line in lines]
