"""The gate lets a budget be spent along its curve: never past what is due by more than one amount, never past the limit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.curves import PPM, STRAIGHT, curve_of, within
from engine.domain.gate import Due, Gate
from engine.domain.periods import DAY_MS, HOUR_MS, MINUTE_MS

UNIT = 1_000_000
LIMIT = 1440 * UNIT
EVEN = curve_of(STRAIGHT).due
ONE_HOUR = within(STRAIGHT, [(60, 120)]).due
RISING = curve_of([(hour * 3600, PPM * hour * hour // 576) for hour in range(25)]).due
TRIES = st.lists(st.tuples(st.integers(0, 3 * MINUTE_MS), st.integers(1, 20 * UNIT)), min_size=1, max_size=60)
CATCH_UPS = st.sampled_from(["300", "100", "asap", "spread"])
DUES = st.sampled_from([EVEN, ONE_HOUR, RISING])


def passed(gate: Gate, ms: int, amount: int, times: int) -> int:
    """How many of the tries at one time pass."""
    return sum(gate.try_spend(ms, amount) for _ in range(times))


@given(TRIES, CATCH_UPS, DUES, st.integers(0, 300 * UNIT))
@settings(max_examples=80)
def test_no_try_is_more_than_one_amount_ahead_of_the_curve_or_past_the_limit(
    drawn: list[tuple[int, int]], catch_up: str, due: Due, limit: int
) -> None:
    gate, ms, largest = Gate(limit, due, catch_up), 0, 0
    for pause, amount in drawn:
        ms += pause
        largest = max(largest, amount)
        gate.try_spend(ms, amount)
        assert gate.spent <= limit
        assert gate.spent == 0 or gate.spent < gate.allowed(ms) + largest


@given(TRIES, CATCH_UPS, DUES)
@settings(max_examples=40)
def test_a_refused_try_passes_at_its_retry_time_and_not_a_millisecond_before(
    drawn: list[tuple[int, int]], catch_up: str, due: Due
) -> None:
    gate, ms = Gate(300 * UNIT, due, catch_up), 0
    for pause, amount in drawn:
        ms += pause
        if not gate.try_spend(ms, amount) and (retry := gate.retry_ms(amount)) is not None:
            assert retry > ms
            assert not gate.try_spend(retry - 1, amount)
            assert gate.try_spend(retry, amount)
            ms = retry


def test_what_is_exactly_due_is_spent_and_one_micro_more_is_not_below_it() -> None:
    gate, half = Gate(UNIT, EVEN), (DAY_MS - 300_000) // 2
    gate.record_spend(0, UNIT // 2)
    assert gate.allowed(half) == UNIT // 2
    assert not gate.try_spend(half, 1)
    assert gate.retry_ms(1) == half + 87
    assert gate.try_spend(half + 87, 1)


def test_a_dear_amount_passes_as_soon_as_anything_is_due() -> None:
    gate = Gate(LIMIT, EVEN)
    assert not gate.try_spend(0, 100 * UNIT)
    assert gate.try_spend(1000, 100 * UNIT)
    # Then nothing until the curve has come up to it.
    assert not gate.try_spend(99 * MINUTE_MS, UNIT)
    assert gate.try_spend(100 * MINUTE_MS, UNIT)


def test_what_is_on_hold_counts_against_the_curve() -> None:
    gate = Gate(LIMIT, EVEN)
    gate.held = 12 * 60 * UNIT
    assert not gate.try_spend(11 * HOUR_MS, UNIT)
    gate.held = 0
    assert gate.try_spend(11 * HOUR_MS, UNIT)


def test_what_is_spent_already_is_counted_and_the_curve_absorbs_it() -> None:
    gate = Gate(LIMIT, EVEN)
    gate.record_spend(0, 720 * UNIT)
    assert not gate.try_spend(11 * HOUR_MS, UNIT)
    assert gate.try_spend(12 * HOUR_MS, UNIT)
    gate.record_spend(12 * HOUR_MS, 2 * LIMIT)
    assert not gate.try_spend(13 * HOUR_MS, UNIT)
    assert gate.retry_ms(UNIT) is None


@pytest.mark.parametrize(("catch_up", "a_minute"), [("100", 2), ("300", 4), ("spread", 3), ("asap", 723)])
def test_a_budget_that_is_behind_is_made_good_as_fast_as_its_policy_says(catch_up: str, a_minute: int) -> None:
    # Half of the day is over, and nothing was spent: about 723 are due, and a minute's plan is a little over one.
    assert passed(Gate(LIMIT, EVEN, catch_up), 12 * HOUR_MS, UNIT, 2000) == a_minute


def test_a_minute_s_cap_lasts_until_the_next_minute() -> None:
    gate = Gate(LIMIT, EVEN, "150")
    passed(gate, 12 * HOUR_MS, UNIT, 10)
    assert not gate.try_spend(12 * HOUR_MS + 1, UNIT)
    assert gate.retry_ms(UNIT) == 12 * HOUR_MS + MINUTE_MS


def test_outside_of_a_window_what_is_behind_may_still_be_spent() -> None:
    gate = Gate(LIMIT, ONE_HOUR, "100")
    assert not gate.try_spend(HOUR_MS - 1, UNIT)
    assert passed(gate, 3 * HOUR_MS, UNIT, 10) == 1
    assert passed(gate, 3 * HOUR_MS + MINUTE_MS, UNIT, 10) == 1


def test_the_whole_budget_is_used_by_the_end_of_a_day_with_enough_tries() -> None:
    gate = Gate(LIMIT, EVEN)
    for ms in range(0, DAY_MS, 10_000):
        gate.try_spend(ms, UNIT // 4)
    assert LIMIT - gate.spent < UNIT // 4
