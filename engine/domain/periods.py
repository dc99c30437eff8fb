"""Periods: UTC days and months as numbers that fields, rows and pages share. Half-open: an instant belongs to one day and one month.

Instants are epoch milliseconds, as Redis TIME gives them. A day is its number since 1970-01-01, a month is year * 100 + month (202611).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS

Period = Literal["day", "month"]
PREFIX: Final[dict[Period, str]] = {"day": "d:", "month": "m:"}
"""How the field of a period's counter begins in the hash of a brand or campaign; its day number or month follows."""

_EPOCH: Final = date(1970, 1, 1)


def day_of(ms: int) -> int:
    """The day number of an instant."""
    return ms // DAY_MS


def date_of(day: int) -> date:
    """The calendar date of a day number."""
    return _EPOCH + timedelta(days=day)


def day_number(on: date) -> int:
    """The day number of a calendar date."""
    return (on - _EPOCH).days


def month_of(ms: int) -> int:
    """The month (202611) of an instant."""
    return month_of_date(date_of(day_of(ms)))


def month_of_date(on: date) -> int:
    """The month (202611) of a date."""
    return on.year * 100 + on.month


def month_date(month: int) -> date:
    """The first day of a month."""
    return date(month // 100, month % 100, 1)


def next_month(month: int) -> int:
    """The month after: 202612 -> 202701."""
    return month + 89 if month % 100 == 12 else month + 1


def day_start_ms(day: int) -> int:
    """The instant at which a day begins."""
    return day * DAY_MS


def month_start_ms(month: int) -> int:
    """The instant at which a month begins."""
    return day_start_ms(day_number(month_date(month)))


def next_day_ms(ms: int) -> int:
    """The instant at which the next day begins."""
    return day_start_ms(day_of(ms) + 1)


def next_month_ms(ms: int) -> int:
    """The instant at which the next month begins."""
    return month_start_ms(next_month(month_of(ms)))


def period_of(period: Period, ms: int) -> int:
    """The day number or month (202611) of an instant."""
    return day_of(ms) if period == "day" else month_of(ms)


def counter_field(period: Period, ms: int) -> str:
    """The field of the counter in which a spend of an instant is counted: `d:20748`, `m:202611`."""
    return f"{PREFIX[period]}{period_of(period, ms)}"


def counter_field_on(period: Period, on: date) -> str:
    """The same of a date."""
    return f"{PREFIX[period]}{day_number(on) if period == 'day' else month_of_date(on)}"


def split_counter_field(field: str) -> tuple[Period, str] | None:
    """The period of a counter's field and what follows its prefix; None for what is no counter."""
    return next(((period, field[len(p) :]) for period, p in PREFIX.items() if field.startswith(p)), None)


def dates_of(period: Period, ms: int) -> tuple[date, date]:
    """The first and the last date of the day or month of an instant."""
    first = date_of(day_of(period_start_ms(period, ms)))
    return first, date_of(day_of(next_period_ms(period, ms)) - 1)


def period_start_ms(period: Period, ms: int) -> int:
    """The instant at which the day or month of an instant began."""
    return day_start_ms(day_of(ms)) if period == "day" else month_start_ms(month_of(ms))


def next_period_ms(period: Period, ms: int) -> int:
    """The instant at which the next day or month begins."""
    return next_day_ms(ms) if period == "day" else next_month_ms(ms)


def days_of_month(month: int) -> Iterator[int]:
    """The day numbers of a month, in order."""
    yield from range(day_number(month_date(month)), day_number(month_date(next_month(month))))


def at_ms(ms: int) -> datetime:
    """An instant as an aware datetime in UTC, exact to the millisecond."""
    return datetime.fromtimestamp(ms // 1000, UTC) + timedelta(milliseconds=ms % 1000)


def ms_of(at: datetime) -> int:
    """An aware datetime as epoch milliseconds; fractions below are cut. Raises ValueError for a naive one."""
    if at.tzinfo is None:
        raise ValueError("a datetime without a time zone is not an instant")
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
