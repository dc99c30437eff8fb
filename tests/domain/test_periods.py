"""Periods are half-open: an instant belongs to one UTC day and one UTC month, to the millisecond."""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.periods import (
    DAY_MS,
    at_ms,
    date_of,
    day_number,
    day_of,
    day_start_ms,
    days_of_month,
    month_date,
    month_of,
    month_of_date,
    month_start_ms,
    ms_of,
    next_day_ms,
    next_month,
    next_month_ms,
)

INSTANTS = st.integers(0, ms_of(datetime(2200, 1, 1, tzinfo=UTC)))


def at(*parts: int) -> int:
    return ms_of(datetime(*parts, tzinfo=UTC))  # type: ignore[arg-type, misc]


def test_the_last_millisecond_before_midnight_is_still_yesterdays_money() -> None:
    midnight = at(2026, 10, 22)
    assert day_of(midnight - 1) == day_of(midnight) - 1
    assert date_of(day_of(midnight)) == date(2026, 10, 22)
    assert day_of(midnight) == 20_748


@pytest.mark.parametrize(
    ("first", "month", "before"),
    [
        ((2026, 11, 1), 202611, 202610),
        ((2027, 1, 1), 202701, 202612),
        ((2028, 3, 1), 202803, 202802),
        ((2000, 3, 1), 200003, 200002),
    ],
)
def test_a_month_begins_at_its_first_midnight(first: tuple[int, int, int], month: int, before: int) -> None:
    assert (month_of(at(*first)), month_of(at(*first) - 1)) == (month, before)
    assert month_start_ms(month) == at(*first)
    assert next_month(before) == month


def test_the_29th_of_february_is_a_day_of_its_own() -> None:
    assert month_of(at(2028, 2, 29)) == 202802
    assert next_day_ms(at(2028, 2, 28, 23, 59)) == at(2028, 2, 29)
    assert next_day_ms(at(2028, 2, 29)) == at(2028, 3, 1)
    assert len(list(days_of_month(202802))) == 29
    assert len(list(days_of_month(202702))) == 28


@given(INSTANTS)
def test_an_instant_lies_in_exactly_one_day_and_one_month(ms: int) -> None:
    day, moment = day_of(ms), datetime.fromtimestamp(ms // 1000, UTC)
    assert day_start_ms(day) <= ms < next_day_ms(ms) == day_start_ms(day) + DAY_MS
    assert date_of(day) == moment.date()
    assert month_of(ms) == moment.year * 100 + moment.month == month_of_date(moment.date())
    assert month_start_ms(month_of(ms)) <= ms < next_month_ms(ms) == month_start_ms(next_month(month_of(ms)))


@given(st.dates(date(1970, 1, 1), date(2200, 1, 1)))
def test_dates_and_day_numbers_are_the_same_thing(on: date) -> None:
    assert date_of(day_number(on)) == on
    month = month_of_date(on)
    assert month_date(month) == on.replace(day=1)
    days = list(days_of_month(month))
    assert len(days) == calendar.monthrange(on.year, on.month)[1]
    assert day_number(on) in days
    assert days == sorted(days)


@given(INSTANTS)
def test_an_instant_survives_the_way_to_a_datetime_and_back(ms: int) -> None:
    assert ms_of(at_ms(ms)) == ms


def test_the_wall_clock_of_another_zone_is_the_same_instant() -> None:
    tokyo = datetime(2026, 11, 1, 8, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=9)))
    assert month_of(ms_of(tokyo)) == 202610


def test_a_datetime_without_a_zone_is_not_an_instant() -> None:
    with pytest.raises(ValueError, match="time zone"):
        ms_of(datetime(2026, 11, 1))  # noqa: DTZ001  # the lack is the test
