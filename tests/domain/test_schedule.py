"""Dayparting holds to the minute, in UTC: start included, end excluded, over midnight too; what Redis reads says the same."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.periods import DAY_MS, MINUTE_MS, ms_of
from engine.domain.schedule import DAYS, Schedule
from engine.errors import InvalidSchedule

MONDAY = ms_of(datetime(2026, 11, 23, tzinfo=UTC))
WEEK_MS = 7 * DAY_MS
OFFICE = {"days": ["mon", "tue", "wed", "thu", "fri"], "start_time": "09:00", "end_time": "17:00"}
NIGHT = {"days": ["fri"], "start_time": "22:00", "end_time": "06:00"}


def clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


@st.composite
def windows(draw: st.DrawFn) -> dict[str, Any]:
    window: dict[str, Any] = {}
    if draw(st.booleans()):
        window["days"] = draw(st.lists(st.sampled_from(DAYS), unique=True))
    if draw(st.booleans()):
        start = draw(st.integers(0, 1439) | st.sampled_from([0, 540, 1439]))
        window["start_time"] = clock(start)
        ends = st.integers(0, 1440) | st.sampled_from([0, 1, 540, 1440])
        window["end_time"] = clock(draw(ends.filter(lambda end: end != start)))
    return window


SCHEDULES = windows() | st.lists(windows(), max_size=5) | st.none()


def moment(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


def said_by_the_rule(value: Any, ms: int) -> bool:
    """The rule as the contract words it, on plain minutes: the twin that the compiled form is held to."""
    listed = value if isinstance(value, list) else [value] if value else []
    if not listed:
        return True
    day, minute = ms // DAY_MS, ms % DAY_MS // MINUTE_MS
    for window in listed:
        days = window.get("days") or list(DAYS)
        today, yesterday = DAYS[(day + 3) % 7], DAYS[(day + 2) % 7]
        if "start_time" not in window:
            if today in days:
                return True
            continue
        start, end = (int(window[n][:2]) * 60 + int(window[n][3:]) for n in ("start_time", "end_time"))
        if start < end:
            if today in days and start <= minute < end:
                return True
        elif (today in days and minute >= start) or (yesterday in days and minute < end):
            return True
    return False


def said_by_the_compiled_text(compiled: str, ms: int) -> bool:
    """lua/lib/schedule.lua, line by line."""
    if compiled == "":
        return True
    day = ms // DAY_MS
    minute, weekday = (ms - day * DAY_MS) // MINUTE_MS, str((day + 3) % 7 + 1)
    return any(
        int(start) <= minute < int(end) and weekday in days
        for days, start, end in re.findall(r"(\d+)@(\d+)-(\d+)", compiled)
    )


def test_the_start_minute_runs_and_the_end_minute_does_not() -> None:
    office = Schedule.parse(OFFICE)
    assert not office.is_within(moment(2026, 11, 23, 8, 59, 59, 999_999))
    assert office.is_within(moment(2026, 11, 23, 9, 0))
    assert office.is_within(moment(2026, 11, 23, 16, 59, 59, 999_999))
    assert not office.is_within(moment(2026, 11, 23, 17, 0))
    assert not office.is_within(moment(2026, 11, 28, 12, 0)), "a Saturday"


def test_a_window_over_midnight_belongs_to_the_day_it_starts_on() -> None:
    night = Schedule.parse(NIGHT)
    assert night.is_within(moment(2026, 11, 27, 22, 0))
    assert night.is_within(moment(2026, 11, 28, 5, 59)), "Saturday morning is Friday's night"
    assert not night.is_within(moment(2026, 11, 28, 22, 0))
    assert not night.is_within(moment(2026, 11, 27, 5, 59)), "Thursday's night is not asked for"


def test_sunday_night_runs_into_monday() -> None:
    sunday = Schedule.parse({"days": ["sun"], "start_time": "23:00", "end_time": "01:00"})
    assert sunday.is_within(moment(2026, 11, 30, 0, 59))
    assert not sunday.is_within(moment(2026, 11, 30, 1, 0))


def test_no_days_is_every_day_and_no_times_is_all_day() -> None:
    assert Schedule.parse({"start_time": "09:00", "end_time": "10:00"}).compiled == "1234567@540-600"
    assert Schedule.parse({"days": ["sat", "sun"]}).compiled == "67@0-1440"
    assert Schedule.parse({"days": [], "start_time": "00:00", "end_time": "24:00"}).always


@pytest.mark.parametrize(
    "value", [None, "always", " None ", {}, [], "{}", "[]", "null", [{}], {"days": []}, {"days": list(DAYS)}]
)
def test_an_empty_schedule_is_always(value: object) -> None:
    schedule = Schedule.parse(value)
    assert schedule.always
    assert schedule.compiled == ""
    assert schedule.next_change_ms(MONDAY) is None
    assert schedule.last_change_ms(MONDAY) is None
    assert schedule.is_within(moment(2026, 11, 28, 3, 3))
    assert schedule.words() == "always"


def test_another_zones_wall_clock_is_judged_in_utc() -> None:
    office = Schedule.parse(OFFICE)
    assert office.is_within(datetime(2026, 11, 23, 18, 30, tzinfo=timezone(timedelta(hours=9))))
    with pytest.raises(ValueError, match="time zone"):
        office.is_within(datetime(2026, 11, 23, 9, 30))  # noqa: DTZ001  # the lack is the test


@given(SCHEDULES, st.integers(0, 7 * 1440 - 1))
def test_rule_object_and_compiled_text_agree_on_every_minute(value: Any, minute: int) -> None:
    schedule, ms = Schedule.parse(value), MONDAY + minute * MINUTE_MS + 59_999
    expected = said_by_the_rule(value, ms)
    assert schedule.is_within_ms(ms) == expected
    assert said_by_the_compiled_text(schedule.compiled, ms) == expected


@given(SCHEDULES)
def test_a_schedule_survives_json_in_meaning(value: Any) -> None:
    schedule = Schedule.parse(value)
    again = Schedule.parse(json.dumps(schedule.to_json()))
    assert again.compiled == schedule.compiled
    assert again.to_json() == Schedule.parse(again.to_json()).to_json()
    assert Schedule.parse(schedule) is schedule


@settings(deadline=None)
@given(SCHEDULES, st.integers(0, 7 * 1440 - 1), st.integers(0, 59_999))
def test_next_and_last_change_are_those_that_counting_minutes_finds(value: Any, minute: int, rest: int) -> None:
    schedule, now = Schedule.parse(value), MONDAY + minute * MINUTE_MS + rest
    week = [schedule.always] * (7 * 1440)
    for days, start, end in re.findall(r"(\d+)@(\d+)-(\d+)", schedule.compiled):
        for day in days:
            for m in range(int(start), int(end)):
                week[(int(day) - 1) * 1440 + m] = True
    edges = [MONDAY + m * MINUTE_MS for m in range(7 * 1440) if week[m] != week[m - 1]]
    around = [edge + weeks * WEEK_MS for weeks in (-1, 0, 1) for edge in edges]
    assert schedule.next_change_ms(now) == min((edge for edge in around if edge > now), default=None)
    assert schedule.last_change_ms(now) == max((edge for edge in around if edge <= now), default=None)


def test_a_change_now_is_the_last_one_and_not_the_next() -> None:
    office, nine = Schedule.parse(OFFICE), MONDAY + 9 * 60 * MINUTE_MS
    assert office.last_change_ms(nine) == nine
    assert office.next_change_ms(nine) == nine + 8 * 60 * MINUTE_MS
    assert office.next_change_ms(nine - 1) == nine


def test_windows_that_touch_at_midnight_are_one_opening() -> None:
    joined = Schedule.parse([{"days": ["mon"]}, {"days": ["tue"], "start_time": "00:00", "end_time": "12:00"}])
    assert joined.next_change_ms(MONDAY) == MONDAY + DAY_MS + DAY_MS // 2


def test_overlapping_windows_compile_to_few_pieces() -> None:
    overlapping = [{"start_time": "09:00", "end_time": "12:00"}, {"start_time": "11:00", "end_time": "13:00"}]
    assert Schedule.parse(overlapping).compiled == "1234567@540-780"


def test_a_schedule_is_said_as_people_say_it() -> None:
    assert Schedule.parse(OFFICE).words() == "Mon-Fri 09:00-17:00 (UTC)"
    both = Schedule.parse([OFFICE, {"days": ["sat", "mon"]}])
    assert both.words() == "Mon-Fri 09:00-17:00, Mon, Sat all day (UTC)"


WRONG: list[tuple[object, str]] = [
    (7, "schedule"),
    (True, "schedule"),
    ("mon", "schedule"),
    ('"mon"', "schedule"),
    ("{", "schedule"),
    ("[" * 100_000, "schedule"),
    ("NaN", "schedule"),
    ("", "schedule"),
    (" \n", "schedule"),
    (["mon"], "schedule[0]"),
    ([OFFICE, 7], "schedule[1]"),
    ([{}] * 51, "schedule"),
    ({"day": ["mon"]}, "schedule.day"),
    ({**OFFICE, "tz": "CET"}, "schedule.tz"),
    ({"days": "mon"}, "schedule.days"),
    ({"days": None}, "schedule.days"),
    ({"days": {"mon": 1}}, "schedule.days"),
    ({"days": ["mon", "Tue"]}, "schedule.days[1]"),
    ({"days": ["monday"]}, "schedule.days[0]"),
    ({"days": [1]}, "schedule.days[0]"),
    ({"days": ["mon", "mon"]}, "schedule.days[1]"),
    ({"days": [["mon"]]}, "schedule.days[0]"),
    ({"start_time": "09:00"}, "schedule.end_time"),
    ({"end_time": "09:00"}, "schedule.start_time"),
    ({"start_time": "09:00", "end_time": "09:00"}, "schedule.end_time"),
    ({"start_time": "24:00", "end_time": "09:00"}, "schedule.start_time"),
    ({"start_time": "9:00", "end_time": "17:00"}, "schedule.start_time"),
    ({"start_time": "09:00", "end_time": "24:01"}, "schedule.end_time"),
    ({"start_time": "09:00", "end_time": "17:60"}, "schedule.end_time"),
    ({"start_time": "09:00", "end_time": "5pm"}, "schedule.end_time"),
    ({"start_time": "09:00", "end_time": "17:00\n"}, "schedule.end_time"),
    ({"start_time": "٠٩:٠٠", "end_time": "17:00"}, "schedule.start_time"),
    ({"start_time": 900, "end_time": "17:00"}, "schedule.start_time"),
    ({"start_time": None, "end_time": None}, "schedule.start_time"),
    ([OFFICE, {"start_time": "25:00", "end_time": "17:00"}], "schedule[1].start_time"),
    ('{"days": ["mon"], "days": ["tue"]}', "schedule.days"),
]


@pytest.mark.parametrize(("value", "field"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_schedule_is_refused_with_the_field_that_is_wrong(value: object, field: str) -> None:
    with pytest.raises(InvalidSchedule) as refused:
        Schedule.parse(value)
    assert refused.value.field == field
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300
