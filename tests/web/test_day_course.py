"""The course of a day: what is spent by when, what was due and allowed by then, where it is heading, and the chart of it."""

from __future__ import annotations

import re

import pytest

from engine.domain.forecast import Band, Forecast
from engine.domain.periods import DAY_MS, HOUR_MS, MINUTE_MS, day_start_ms
from engine.domain.traffic import Shape
from engine.domain.zone_text import IN_UTC
from engine.views.day_course import BudgetMark, DayCourse, StopMark, course_of
from web.day_chart import HEIGHT, WIDTH, columns, day_chart

DAY = day_start_ms(20_000)
NOON = DAY + DAY_MS // 2
MINUTES = [(DAY + 9 * HOUR_MS, 1_000_000), (DAY + 11 * HOUR_MS + 5 * MINUTE_MS, 2_000_000)]
LATE = Shape(tuple(int(hour >= 18) for hour in range(24)), 0)
"""A day that spends everything in its last six hours."""


def forecast(expected: int = 10_000_000) -> Forecast:
    band = Band(expected, expected - 1_000_000, expected + 2_000_000)
    return Forecast(NOON, band, band, "as usual", 28, 0, None, LATE)


def noon(**more: object) -> DayCourse:
    given: dict[str, object] = {"limits": [(DAY, 24_000_000)]} | more
    return course_of(NOON, IN_UTC, MINUTES, 4_000_000, **given)  # type: ignore[arg-type]


def test_what_the_log_has_not_yet_is_spent_by_now_and_minutes_add_up_before() -> None:
    by = {line.at_ms: line.spent for line in noon().lines()}
    assert [by[DAY + hour * HOUR_MS] for hour in (9, 10, 11)] == [0, 1_000_000, 1_000_000]
    assert by[NOON] == 4_000_000, "Redis is a moment ahead of the log"
    assert by[NOON + HOUR_MS] is None, "nobody knows what will be spent"


def test_an_even_day_is_due_by_its_time_and_a_new_budget_counts_from_its_instant() -> None:
    lines = {line.at_ms: line for line in noon(limits=[(DAY, 24_000_000), (DAY + 6 * HOUR_MS, 48_000_000)]).lines()}
    assert (lines[DAY + 3 * HOUR_MS].plan, lines[DAY + 3 * HOUR_MS].limit) == (3_000_000, 24_000_000)
    assert (lines[NOON].plan, lines[NOON].limit) == (24_000_000, 48_000_000)
    assert lines[DAY + DAY_MS].plan == 48_000_000


def test_without_a_budget_nothing_is_due() -> None:
    course = noon(limits=[(DAY, None)])
    assert course.plan == () and day_chart(course).limit == ""
    assert {line.plan for line in course.lines()} == {None}


def test_a_forecast_goes_on_as_a_usual_day_and_begins_at_what_is_spent() -> None:
    course = noon(forecast=forecast())
    by = {point.at_ms: point.expected for point in course.ahead}
    assert by[NOON] == 4_000_000
    assert by[DAY + 17 * HOUR_MS] == 4_000_000, "nothing is usually spent before the evening"
    assert by[DAY + 21 * HOUR_MS] == 7_000_000
    last = course.ahead[-1]
    assert (last.at_ms, last.low, last.expected, last.high) == (DAY + DAY_MS, 9_000_000, 10_000_000, 12_000_000)
    assert all(point.low <= point.expected <= point.high for point in course.ahead)


def test_a_chart_has_the_day_from_left_to_right_and_the_budget_inside_it() -> None:
    marks = [
        StopMark(DAY + 18 * HOUR_MS, ("daily_budget",), 3, "Dawn"),
        BudgetMark(DAY + 6 * HOUR_MS, 1, 2, "Mia"),
    ]
    chart = day_chart(noon(forecast=forecast(), marks=marks))
    assert chart.now_x == WIDTH / 2
    assert [(placed.x, placed.no, placed.is_budget) for placed in chart.marks] == [(240, 1, True), (720, 2, False)]
    assert chart.heights == (40_000_000, 30_000_000, 20_000_000, 10_000_000, 0)
    assert chart.limit == f"M0.0 {HEIGHT * 0.4:.1f}L960.0 {HEIGHT * 0.4:.1f}"
    assert chart.hours[0] == "00:00" and chart.hours[4] == "12:00"
    numbers = [float(text) for text in re.findall(r"[\d.]+", chart.spent + chart.band + chart.plan)]
    assert min(numbers) >= 0 and max(numbers) <= WIDTH


@pytest.mark.parametrize(
    ("micros", "top"), [(1, 1000), (999_999, 1_000_000), (4_100_000, 5_000_000), (5_100_000, 8_000_000)]
)
def test_the_scale_ends_at_a_round_figure_above_everything(micros: int, top: int) -> None:
    assert columns([(micros, None)]).heights[0] == top


def test_a_day_that_reached_its_budget_differs_from_one_within_it_and_an_empty_one_has_its_budget_too() -> None:
    found = columns([(5_000_000, 10_000_000), (10_000_000, 10_000_000), (0, 4_000_000), (1, None)])
    assert found.within.count("M") == 2 and found.reached.count("M") == 1
    assert found.ticks.count("M") == 3
    assert "v-1h" in found.within, "the smallest spend is seen"
