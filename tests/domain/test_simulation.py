"""A simulated day counts what a buyer would ask: how much was used, how far off plan, and when nothing ran."""

from __future__ import annotations

from datetime import date

import pytest

from engine.domain.curves import PPM, STRAIGHT, curve_of, within
from engine.domain.pacing import Pace
from engine.domain.periods import DAY_MS, HOUR_MS, MINUTE_MS, day_number
from engine.domain.simulation import SLOT_MS, Course, simulate
from engine.domain.zones import BrandZone
from engine.views.course_picture import clock_hours
from engine.views.simulations import due_over

UNIT = 1_000_000
EVEN = curve_of(STRAIGHT).due
LIMIT = 1440 * UNIT


def test_a_morning_s_rush_is_held_to_the_plan_and_the_day_is_used() -> None:
    rush = [(ms, UNIT) for ms in range(0, DAY_MS, 15_000)]
    simulated, actual = simulate(rush, LIMIT, EVEN, "300", EVEN)
    assert (actual.used_ppm, actual.overspent, actual.refused_ppm) == (4 * PPM, 3 * LIMIT, 0)
    assert (simulated.used_ppm, simulated.overspent, simulated.dark_hours) == (PPM, 0, 0)
    assert simulated.refused_ppm == 750_000
    assert simulated.most_off_ppm <= PPM // 1440
    assert simulated.busiest_ppm < 1_250_000


def test_asap_spends_it_all_by_six_and_is_dark_for_eighteen_hours() -> None:
    rush = [(ms, UNIT) for ms in range(0, DAY_MS, 15_000)]
    simulated, _ = simulate(rush, LIMIT, None, "300", EVEN)
    assert (simulated.total, simulated.dark_hours) == (LIMIT, 18)
    assert simulated.most_off_ppm == PPM - EVEN(6 * HOUR_MS)
    assert 3_900_000 < simulated.busiest_ppm < 4_100_000


def test_an_hour_in_which_nothing_was_due_is_not_dark() -> None:
    course = Course(LIMIT, within(STRAIGHT, [(9 * 60, 12 * 60)]).due)
    course.add(10 * HOUR_MS, UNIT, passes=True)
    assert course.dark_hours == 2


def test_what_is_spent_just_before_a_mark_counts_at_it_and_what_is_spent_on_it_after() -> None:
    course = Course(LIMIT, EVEN)
    course.add(SLOT_MS - 1, 50 * UNIT, passes=True)
    course.add(SLOT_MS, 7 * UNIT, passes=True)
    planned = LIMIT * EVEN(SLOT_MS) // PPM
    assert next(iter(course.off())) == 50 * UNIT - planned
    course.add(SLOT_MS + 1, 3 * UNIT, passes=False)
    assert (course.spent[1], course.refused[1], course.total) == (7 * UNIT, 3 * UNIT, 57 * UNIT)


def test_after_an_outage_a_cap_makes_good_slowly_and_without_one_at_once() -> None:
    day = [(ms, UNIT) for ms in range(0, DAY_MS, 15_000) if not 13 * HOUR_MS <= ms < 15 * HOUR_MS]
    slow, _ = simulate(day, LIMIT, EVEN, "150", EVEN)
    at_once, _ = simulate(day, LIMIT, EVEN, "asap", EVEN)
    # A minute's cap may be passed by one amount, which here is as large as the plan of a minute.
    assert slow.busiest_ppm <= 2_010_000
    assert at_once.busiest_ppm > 3_900_000
    assert slow.used_ppm == at_once.used_ppm == PPM


def test_a_day_without_spends_is_nothing_and_dark() -> None:
    simulated, actual = simulate([], LIMIT, EVEN, "300", EVEN)
    assert (simulated.total, simulated.tries, actual.busiest_ppm, simulated.dark_hours) == (0, 0, 0, 24)
    assert simulated.most_off_ppm == PPM
    assert simulate([(MINUTE_MS, 1)], 0, EVEN, "300", EVEN)[0].passed == 0


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 6, 1), 24)])
def test_a_day_that_clocks_make_longer_or_shorter_is_spread_to_its_own_end(day: date, hours: int) -> None:
    clock, number = BrandZone.of("Europe/Berlin").clock, day_number(day)
    length, due = clock.day_length_ms(number), due_over(Pace((None,) * 7, PPM, "300"), clock, number)
    assert length == hours * HOUR_MS
    rush = [(ms, UNIT) for ms in range(0, length, 15_000)]
    simulated, actual = simulate(rush, LIMIT, due, "300", due, length)
    assert (len(simulated.spent), len(simulated.marks()), simulated.total) == (hours * 12, hours * 12 + 1, LIMIT)
    assert (simulated.marks()[-1], simulated.marks()[-3]) == (LIMIT, LIMIT * due(length - 2 * SLOT_MS) // PPM)
    assert simulated.marks()[-3] < LIMIT
    assert (simulated.dark_hours, actual.dark_hours) == (0, 0)
    assert simulated.most_off_ppm <= PPM // 1440
    idle, _ = simulate([], LIMIT, due, "300", due, length)
    assert idle.dark_hours == hours


def test_the_hours_below_a_picture_are_those_that_clocks_show() -> None:
    berlin = BrandZone.of("Europe/Berlin").clock
    short, long, usual = (
        dict(clock_hours(berlin, day_number(date(2026, *day)))) for day in ((3, 29), (10, 25), (6, 1))
    )
    assert (short[0], short[3], short[24]) == (0, 2 * HOUR_MS, 23 * HOUR_MS)
    assert (long[0], long[3], long[24]) == (0, 4 * HOUR_MS, 25 * HOUR_MS)
    assert usual == {hour: hour * HOUR_MS for hour in range(0, 25, 3)} == dict(clock_hours())
