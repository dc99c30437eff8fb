"""A projection counts the time in which campaigns ran and may run, not the time in which they stood still."""

from __future__ import annotations

from engine.domain.pace import Pace, ahead_of
from engine.domain.periods import HOUR_MS
from engine.domain.schedule import Schedule
from tests.flows.test_status_and_close import instant

NINE_TO_FIVE = Schedule.parse({"start_time": "09:00", "end_time": "17:00"})
NIGHT = Schedule.parse({"start_time": "22:00", "end_time": "06:00"})
ONE = instant(2026, 11, 23, 13)
MIDNIGHT = instant(2026, 11, 24)


def test_a_brand_with_hours_is_projected_over_its_hours() -> None:
    pace = Pace(4 * HOUR_MS, 1, ahead_of([(NINE_TO_FIVE, 1)], ONE))
    assert pace.projected(4_000_000) == 8_000_000


def test_a_brand_that_stood_still_for_six_hours_is_projected_by_the_twelve_that_it_ran() -> None:
    six = instant(2026, 11, 23, 18)
    pace = Pace(12 * HOUR_MS, 1, ahead_of([(Schedule(), 1)], six))
    assert pace.projected(12_000_000) == 18_000_000


def test_nothing_more_is_projected_where_nothing_may_run_any_more_today() -> None:
    evening = instant(2026, 11, 23, 20)
    pace = Pace(8 * HOUR_MS, 1, ahead_of([(NINE_TO_FIVE, 1)], evening))
    assert pace.projected(8_000_000) == 8_000_000
    assert pace.reaches_ms(8_000_000, 9_000_000) is None


def test_it_waits_until_the_campaigns_ran_for_half_an_hour_each() -> None:
    ahead = ahead_of([(Schedule(), 2)], ONE)
    assert Pace(2 * HOUR_MS // 2 - 1, 2, ahead).projected(1) is None
    assert Pace(2 * HOUR_MS // 2, 2, ahead).projected(1_000_000) == 23_000_000
    assert Pace(0, 0, ahead).projected(1_000_000) is None


def test_a_budget_is_gone_within_the_hours_and_never_while_they_are_closed() -> None:
    pace = Pace(4 * HOUR_MS, 1, ahead_of([(NINE_TO_FIVE, 1)], ONE))
    assert pace.reaches_ms(4_000_000, 6_000_000) == instant(2026, 11, 23, 15)
    assert pace.reaches_ms(4_000_000, 7_000_000) == instant(2026, 11, 23, 16)
    assert pace.reaches_ms(4_000_000, 8_000_000) is None
    # Four hours of today's early morning, and two of the evening: the spend of the fifth hour comes at 23:00.
    night = Pace(4 * HOUR_MS, 1, ahead_of([(NIGHT, 1)], ONE))
    assert night.reaches_ms(4_000_000, 5_000_000) == instant(2026, 11, 23, 23)
    assert pace.reaches_ms(0, 5_000_000) is None


def test_campaigns_side_by_side_count_side_by_side() -> None:
    assert ahead_of([(Schedule(), 2), (NINE_TO_FIVE, 3)], ONE) == (
        (ONE, instant(2026, 11, 23, 17), 5),
        (instant(2026, 11, 23, 17), MIDNIGHT, 2),
    )
    assert ahead_of([(NIGHT, 1)], ONE) == ((instant(2026, 11, 23, 22), MIDNIGHT, 1),)
    assert ahead_of([], ONE) == ()


def test_a_brand_that_runs_all_day_is_projected_as_the_part_of_the_day_says() -> None:
    pace = Pace.all_day(instant(2026, 11, 23, 6))
    assert pace.projected(6_000_000) == 24_000_000
    assert pace.reaches_ms(6_000_000, 12_000_000) == instant(2026, 11, 23, 12)
