"""Hours are the schedule: a boundary that a watcher waits for is the minute at which the scripts open and close."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.domain.hours import Hours
from engine.domain.periods import MINUTE_MS
from engine.domain.schedule import DAY_MINUTES, DAYS, Schedule

MONDAY_MS = 1_795_392_000_000
"""2026-11-23 00:00 UTC."""


@st.composite
def windows(draw: st.DrawFn) -> dict[str, object]:
    window: dict[str, object] = {"days": draw(st.lists(st.sampled_from(DAYS), unique=True))}
    if draw(st.booleans()):
        edges = st.integers(0, DAY_MINUTES - 1) | st.sampled_from([0, 1, DAY_MINUTES - 1])
        start, end = draw(edges), draw(edges | st.just(DAY_MINUTES))
        if start != end:
            window |= {"start_time": clock(start), "end_time": clock(end)}
    return window


def clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


@given(st.lists(windows(), max_size=4), st.integers(MONDAY_MS - 10**9, MONDAY_MS + 10**9))
def test_a_campaign_is_open_and_changes_when_its_schedule_says(given: list[dict[str, object]], ms: int) -> None:
    schedule = Schedule.parse(given)
    hours = Hours(schedule.compiled)
    assert hours.is_open(ms) == schedule.is_within_ms(ms)
    assert hours.next_change_ms(ms) == schedule.next_change_ms(ms)


def test_every_minute_of_a_week_that_is_open_over_its_end() -> None:
    schedule = Schedule.parse([{"days": ["sun"], "start_time": "22:00", "end_time": "06:00"}, {"days": ["wed"]}])
    hours = Hours(schedule.compiled)
    for minute in range(7 * DAY_MINUTES):
        at = MONDAY_MS + minute * MINUTE_MS
        assert hours.is_open(at) == schedule.is_within_ms(at)
        assert hours.next_change_ms(at) == schedule.next_change_ms(at)


def test_always_never_changes_and_what_is_no_schedule_never_opens() -> None:
    assert Hours("").is_open(MONDAY_MS)
    assert Hours("").next_change_ms(MONDAY_MS) is None
    assert not Hours("rubbish").is_open(MONDAY_MS)
    assert Hours("rubbish").next_change_ms(MONDAY_MS) is None
