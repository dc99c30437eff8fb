"""A forecast goes by the usual hours of the weekday, and says how far it was off on the days that it knows."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from engine.domain.curves import PPM, check, curve_of
from engine.domain.forecast import AS_TODAY, AS_USUAL, Forecast, Spent, forecast
from engine.domain.periods import DAY_MS, HOUR_MS, day_of, ms_of
from engine.domain.schedule import weekday_of
from engine.domain.traffic import History, known_days, part_by, shape_of, usable
from engine.errors import TooLittleHistory

UNIT = 1_000_000
MONDAY = day_of(ms_of(datetime(2026, 11, 23, tzinfo=UTC)))
MORNING = (40, 30, 20, *([0] * 20), 10)
"""Parts of a hundred: 90 are spent before 03:00, the rest in the last hour."""


def days(
    *, sums: list[int] | None = None, shape: tuple[int, ...] = MORNING, back: int = 28
) -> dict[int, tuple[int, ...]]:
    """A history up to Sunday, with these sums in units, in turn."""
    given = sums or [100]
    return {
        MONDAY - ago: tuple(part * UNIT * given[ago % len(given)] // 100 for part in shape)
        for ago in range(1, back + 1)
    }


def at(hour: float, spent: int, history: History, **budgets: int) -> Forecast:
    """The forecast on that Monday, with so many units spent today and none before."""
    now = MONDAY * DAY_MS + int(hour * HOUR_MS)
    return forecast(history, Spent(spent * UNIT, spent * UNIT, **budgets), now)


def test_a_brand_that_spends_nine_tenths_by_three_is_not_forecast_by_a_straight_line() -> None:
    found = at(3, 90, days())
    assert (found.day.expected, found.part) == (100 * UNIT, 900_000)
    # A straight line would say 720.
    assert (found.day.low, found.day.high) == (100 * UNIT, 100 * UNIT)


def test_between_two_full_hours_the_hour_counts_as_far_as_it_is_gone() -> None:
    assert at(0.5, 20, days()).day.expected == 100 * UNIT
    assert part_by(MORNING, HOUR_MS // 2) == 20
    assert part_by(MORNING, DAY_MS) == 100


def test_where_days_differ_in_size_today_decides_and_where_they_do_not_the_usual_day_does() -> None:
    assert at(3, 450, days(sums=[10, 500, 40, 90, 1000])).rule == AS_TODAY
    assert at(3, 450, days(sums=[10, 500, 40, 90, 1000])).day.expected == 500 * UNIT
    noisy = random.Random(3)
    alike = {day: tuple(noisy.choice((0, 8)) * UNIT for _ in range(24)) for day in days()}
    alike = {day: (*hours[:23], 200 * UNIT - sum(hours[:23])) for day, hours in alike.items()}
    quiet = at(4, 0, alike)
    assert quiet.rule == AS_USUAL
    assert 150 * UNIT < quiet.day.expected < 200 * UNIT


def test_where_all_days_were_alike_a_late_start_is_no_day_without_spend() -> None:
    found = at(12, 0, dict.fromkeys(days(), (10 * UNIT,) * 24))
    assert (found.day.expected, found.rule) == (120 * UNIT, AS_USUAL)


def test_at_midnight_the_forecast_is_a_usual_day() -> None:
    found = at(0, 0, days())
    assert (found.day.expected, found.rule) == (100 * UNIT, AS_USUAL)


def test_eight_of_ten_past_days_were_within_the_band() -> None:
    drawn = random.Random(11)
    history = {MONDAY - ago: tuple(max(0, int(drawn.gauss(100, 30))) * UNIT for _ in range(24)) for ago in range(1, 29)}
    inside = 0
    for hour in range(1, 24):
        found = at(hour, sum(history[MONDAY - 7][:hour]) // UNIT, history)
        inside += found.day.low <= sum(history[MONDAY - 7]) <= found.day.high
        assert found.day.low < found.day.expected < found.day.high
    assert inside >= 18


def test_a_past_day_is_forecast_without_itself() -> None:
    # Mondays alternate between 100 and 300, so the mean is 200. One without itself is forecast as 233 or 167.
    mondays = {MONDAY - 7 * week: (*(0,) * 23, (300, 100)[week % 2] * UNIT) for week in range(1, 5)}
    found = at(0, 0, days(back=6) | mondays)
    assert found.day.expected == 200 * UNIT
    assert found.day.low < 100 * UNIT
    assert found.day.high > 300 * UNIT


def test_the_band_closes_as_the_day_ends() -> None:
    drawn = random.Random(11)
    history = {MONDAY - ago: tuple(drawn.randint(50, 150) * UNIT for _ in range(24)) for ago in range(1, 29)}
    widths = [found.day.high - found.day.low for hour in (1, 12, 23.9) if (found := at(hour, int(hour * 100), history))]
    assert widths[0] > widths[1] > widths[2]


def test_no_forecast_is_past_a_budget_and_none_is_below_what_is_spent() -> None:
    found = at(2, 70, days(), daily=85 * UNIT)
    assert found.day.expected == found.day.low == found.day.high == 85 * UNIT
    assert found.month.expected == (85 + 7 * 85) * UNIT
    past = at(2, 90, days(), daily=85 * UNIT)
    assert (past.day.expected, past.runs_out_ms) == (90 * UNIT, None)
    assert at(2, 70, days(), monthly=300 * UNIT).month.high == 300 * UNIT


def test_the_budget_is_gone_when_the_usual_hours_have_spent_it() -> None:
    # 70 by 02:00, and 20 of the last 30 in the hour after it: 85 at a quarter to three.
    assert at(2, 70, days(), daily=85 * UNIT).runs_out_ms == MONDAY * DAY_MS + int(2.75 * HOUR_MS)
    assert at(2, 70, days(), daily=100 * UNIT).runs_out_ms is None
    assert at(3, 90, days(), daily=95 * UNIT).runs_out_ms == MONDAY * DAY_MS + int(23.5 * HOUR_MS)


def test_the_month_adds_the_usual_sum_of_each_weekday_that_is_left() -> None:
    history = {
        day: tuple(200 * UNIT if hour == 9 and weekday_of(day) < 5 else 0 for hour in range(24)) for day in days()
    }
    found = at(12, 200, history)
    # Monday 23 November: this and four weekdays to the 29th, and Monday the 30th.
    assert (found.day.expected, found.month.expected) == (200 * UNIT, 6 * 200 * UNIT)


@pytest.mark.parametrize("back", [0, 1, 6])
def test_too_little_history_is_named_and_nothing_is_forecast(back: int) -> None:
    number = "1 day" if back == 1 else f"{back} days"
    with pytest.raises(
        TooLittleHistory, match=f"the brand has too little history: {number} with spend of the last 28, 7"
    ):
        at(12, 5, days(back=back))


def test_a_history_begins_with_the_first_day_of_spend_and_has_its_days_without() -> None:
    found = {(MONDAY - 9, 3): UNIT, (MONDAY - 7, 23): -UNIT, (MONDAY - 40, 1): UNIT, (MONDAY, 1): UNIT}
    history = known_days(found, MONDAY)
    assert list(history) == list(range(MONDAY - 9, MONDAY))
    assert [sum(hours) for hours in history.values()] == [UNIT, *([0] * 8)]
    assert known_days({}, MONDAY) == {}


def test_a_learned_curve_is_the_shape_of_its_own_weekday() -> None:
    history = days()
    night = (*([0] * 20), 25, 25, 25, 25)
    history |= {day: tuple(part * UNIT for part in night) for day in history if weekday_of(day) == 5}
    monday, saturday = (curve_of(check(shape_of(history, weekday).points)) for weekday in (0, 5))
    assert (monday.due(3 * HOUR_MS), monday.due(DAY_MS - 300_000)) == (900_000, PPM)
    assert (saturday.due(20 * HOUR_MS), saturday.due(21 * HOUR_MS)) == (0, 250_000)


def test_one_large_day_does_not_decide_the_shape() -> None:
    history = days()
    history[MONDAY - 7] = (*([0] * 23), 10**6 * UNIT)
    assert shape_of(history, 0).part_by(3 * HOUR_MS) == 675_000


def test_days_on_which_the_budget_ran_out_teach_nothing() -> None:
    history = days()
    short = {day: tuple(part * UNIT for part in (100, *([0] * 23))) for day in history if day % 2}
    assert usable(history | short, short.keys(), "the brand") == {d: h for d, h in history.items() if d not in short}
    said = "brand 1, without the days on which a budget ran out, has too little history: 4 days"
    with pytest.raises(TooLittleHistory, match=said):
        usable(history, {day for day in history if day < MONDAY - 4}, "brand 1")
