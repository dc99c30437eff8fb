"""A curve says which part of a day's budget is due by an instant, to the ppm and the millisecond."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.curves import (
    DAY_S,
    EVEN,
    PPM,
    Curve,
    Due,
    Straight,
    allowed,
    curve_of,
    first_ppm_above,
    from_weights,
    of_day,
    read_curve,
)
from engine.domain.money import MAX_TOTAL_MICROS
from engine.domain.periods import DAY_MS, HOUR_MS
from engine.errors import InvalidCurve

FIVE_MINUTES_BEFORE_MIDNIGHT = DAY_MS - 300_000
WEIGHTS = st.lists(st.integers(0, 10**15), min_size=1, max_size=96)
LIMITS = st.integers(0, MAX_TOTAL_MICROS)
PPMS = st.integers(0, PPM)


def rising(points: int = 12) -> st.SearchStrategy[Curve]:
    inner = st.tuples(
        st.lists(st.integers(1, DAY_S), min_size=1, max_size=points, unique=True),
        st.lists(PPMS, min_size=points, max_size=points),
    )
    return inner.map(lambda drawn: _curve(*drawn))


def _curve(seconds: list[int], ppms: list[int]) -> Curve:
    heights = [*sorted(ppms)[: len(seconds)], PPM]
    return curve_of(zip([0, *sorted(seconds)], heights, strict=True))


DUES = st.one_of(rising(), st.builds(Straight, st.integers(100_000, 10 * PPM), st.sampled_from((23, 24, 25)).map(lambda h: h * HOUR_MS)))


@given(rising())
def test_a_curve_reads_back_from_its_text_of_twelve_digits_a_point(curve: Curve) -> None:
    assert len(curve.text) == 12 * len(curve.seconds)
    assert read_curve(curve.text) == curve


def test_half_of_an_even_budget_is_due_half_way_to_five_minutes_before_midnight() -> None:
    half = FIVE_MINUTES_BEFORE_MIDNIGHT // 2
    assert (EVEN.ppm_at(0), EVEN.ppm_at(half), EVEN.ppm_at(half - 1)) == (0, 500_000, 499_999)
    assert EVEN.ppm_at(FIVE_MINUTES_BEFORE_MIDNIGHT) == PPM == EVEN.ppm_at(DAY_MS)
    assert EVEN.ppm_at(FIVE_MINUTES_BEFORE_MIDNIGHT - 1) == PPM - 1


def test_a_fifth_ahead_is_done_with_the_budget_a_sixth_earlier() -> None:
    ahead = Straight(1_200_000)
    assert ahead.ppm_at(FIVE_MINUTES_BEFORE_MIDNIGHT // 6 * 5) == PPM
    assert ahead.ppm_at(6 * HOUR_MS) == EVEN.ppm_at(6 * HOUR_MS) * 6 // 5


@given(DUES, st.integers(0, DAY_MS))
def test_what_is_due_never_falls_and_is_the_whole_budget_at_last(due: Due, ms: int) -> None:
    assert 0 <= due.ppm_at(ms) <= due.ppm_at(ms + 1) <= PPM
    assert due.ppm_at(25 * HOUR_MS) == PPM


@given(DUES, PPMS)
def test_the_first_instant_of_a_ppm_is_the_first_to_the_millisecond(due: Due, ppm: int) -> None:
    first = due.first_ms(ppm)
    assert due.ppm_at(first) >= ppm
    assert first == 0 or due.ppm_at(first - 1) < ppm


@given(LIMITS, PPMS)
def test_what_is_allowed_is_exact_also_in_the_doubles_of_a_script(limit: int, ppm: int) -> None:
    low = float(limit) % PPM
    in_doubles = (float(limit) - low) / PPM * ppm + math.floor(low * ppm / PPM)
    assert in_doubles == allowed(limit, ppm) <= limit


@given(LIMITS, LIMITS)
def test_the_first_ppm_above_what_is_spent_is_the_first(limit: int, spent: int) -> None:
    ppm = first_ppm_above(limit, spent)
    if ppm is None:
        assert spent >= limit
    else:
        assert 0 < ppm <= PPM
        assert allowed(limit, ppm) > spent >= allowed(limit, ppm - 1)


@given(WEIGHTS)
def test_a_curve_of_any_weights_is_complete_five_minutes_before_midnight(weights: list[int]) -> None:
    curve = from_weights(weights)
    assert curve.seconds[-1] == DAY_S - 300
    assert curve.ppm_at(FIVE_MINUTES_BEFORE_MIDNIGHT) == PPM


def test_an_hour_with_three_times_the_weight_has_three_times_the_budget() -> None:
    curve = from_weights([1, 3, *([0] * 22)])
    assert curve.ppms[:4] == (0, 250_000, PPM, PPM)


def test_nothing_is_due_outside_of_the_windows_and_all_before_the_last_one_ends() -> None:
    curve = from_weights([1] * 24, [(9 * 60, 12 * 60), (14 * 60, 15 * 60)])
    at = [curve.ppm_at(hour * HOUR_MS) for hour in (0, 9, 12, 13, 14, 15, 24)]
    assert at == [0, 0, 750_000, 750_000, 750_000, PPM, PPM]
    assert curve.first_ms(PPM) == 15 * HOUR_MS - 300_000


def test_windows_in_hours_without_any_traffic_are_paced_evenly() -> None:
    curve = from_weights([1] * 12 + [0] * 12, [(20 * 60, 22 * 60)])
    assert curve.ppm_at(20 * HOUR_MS) == 0
    assert curve.ppm_at(20 * HOUR_MS + 115 * 60_000 // 2) == 500_000


def test_a_window_of_five_minutes_may_use_all_of_them() -> None:
    assert from_weights([1], [(60, 65)]).first_ms(PPM) == 65 * 60_000


def test_a_longer_day_stretches_the_curve() -> None:
    assert of_day(25 * HOUR_MS // 2, 25 * HOUR_MS) == 12 * HOUR_MS
    assert of_day(23 * HOUR_MS, 23 * HOUR_MS) == DAY_MS


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([(0, PPM)], "has 1 points: give 2 to 97"),
        ([(0, 0)] * 98, "has 98 points: give 2 to 97"),
        ([(0, 0), (90_001, PPM)], "a point at second 90001"),
        ([(0, 0), (-1, PPM)], "a point at second -1"),
        ([(0, 0), (9, PPM + 1)], "is 1000001 ppm at second 9"),
        ([(0, 0), (9, 5), (9, PPM)], "from second 9 to 9: points must be in order"),
        ([(0, 7), (9, 5), (10, PPM)], "falls from 7 to 5 ppm at second 9"),
        ([(1, 0), (9, PPM)], "begins at second 1"),
        ([(0, 0), (9, PPM - 1)], "ends at 999999 ppm"),
    ],
)
def test_points_that_are_no_curve_are_named(points: list[tuple[int, int]], said: str) -> None:
    with pytest.raises(InvalidCurve, match=said) as refused:
        curve_of(points, "c1")
    assert str(refused.value).startswith("c1 ")


@pytest.mark.parametrize("text", ["", "0", "0000000000 0" * 2, "00000000000x864001000000", "٠" * 24])
def test_a_text_that_is_no_curve_is_refused(text: str) -> None:
    with pytest.raises(InvalidCurve):
        read_curve(text)


@pytest.mark.parametrize(("weights", "windows"), [([], [(0, 60)]), ([1, -1], [(0, 60)]), ([1], [])])
def test_a_curve_of_nothing_is_refused(weights: list[int], windows: list[tuple[int, int]]) -> None:
    with pytest.raises(InvalidCurve, match="needs a window"):
        from_weights(weights, windows)
