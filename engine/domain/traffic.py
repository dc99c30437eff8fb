"""What the hours of the last four weeks say about a day: the usual shape of each weekday, and the usual sum.

A history is {day number: 24 sums of micros, one an hour}. Refunds can make an hour negative: it counts as none here.
Each day has the same weight, however much was spent on it, so one large day does not decide the shape.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from engine.domain.curves import PPM
from engine.domain.periods import DAY_MS, HOUR_MS
from engine.domain.schedule import weekday_of
from engine.errors import TooLittleHistory

DAYS_BACK: Final = 28
HOURS: Final = 24
LEAST_DAYS: Final = 7
"""Days with spend before anything is said: a week has each weekday once."""
LEAST_OF_A_WEEKDAY: Final = 2
"""So many days of one weekday give it a shape of its own. One with fewer has the shape of all days."""
_UNIT: Final = 10**9
"""What the hours of one day add up to. Hours keep nine digits, so rounding does not reach a ppm."""

History = Mapping[int, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Shape:
    """The usual hours of one kind of day. weights: 24, of one unit. usual: the mean sum of such days in micros."""

    weights: tuple[int, ...]
    usual: int

    def part_by(self, ms: int) -> int:
        """The ppm of a day's sum that is usually spent by a time of the day."""
        return part_by(self.weights, ms) * PPM // max(1, sum(self.weights))

    @property
    def points(self) -> tuple[tuple[int, int], ...]:
        """The shape as points of a curve, one an hour: (second of the day, ppm due by then)."""
        whole = sum(self.weights)
        sums = accumulate(self.weights, initial=0)
        return tuple((hour * HOUR_MS // 1000, so_far * PPM // whole) for hour, so_far in enumerate(sums))


def part_by(hours: Sequence[int], ms: int) -> int:
    """The sum of a day by a time: whole hours, and of the present one as much as has passed."""
    hour, into = divmod(min(ms, DAY_MS), HOUR_MS)
    return sum(hours[:hour]) + (hours[hour] * into // HOUR_MS if into else 0)


def known_days(found: Mapping[tuple[int, int], int], today: int) -> dict[int, tuple[int, ...]]:
    """The history before `today` from {(day number, hour): micros}: from the first day with spend on, at most 28 days.

    A day without spend between others is one of 24 zeros.
    """
    spent = [day for (day, _), micros in found.items() if today - DAYS_BACK <= day < today and micros > 0]
    first = min(spent, default=today)
    return {day: tuple(max(0, found.get((day, hour), 0)) for hour in range(HOURS)) for day in range(first, today)}


def check_enough(history: History, of: str) -> None:
    """Raises TooLittleHistory where fewer than seven days have spend. of: what has the history, for the message."""
    spent = sum(any(hours) for hours in history.values())
    if spent < LEAST_DAYS:
        days = "1 day" if spent == 1 else f"{spent} days"
        raise TooLittleHistory(
            f"{of} has too little history: {days} with spend of the last {DAYS_BACK}, {LEAST_DAYS} are needed"
        )


def usable(history: History, used_up: Collection[int], of: str) -> History:
    """The days from which a curve can be learned.

    used_up: days on which a budget ran out. They show when the money ended and not when there was traffic, so they are
    left out. Raises TooLittleHistory where fewer than seven days with spend are left.
    """
    left = {day: hours for day, hours in history.items() if day not in used_up}
    check_enough(left, of if len(left) == len(history) else f"{of}, without the days on which a budget ran out,")
    return left


def shape_of(history: History, weekday: int, without: int | None = None) -> Shape:
    """The usual shape of a weekday (Monday = 0), by the days of the history but one."""
    days = {day: hours for day, hours in history.items() if day != without}
    alike = [hours for day, hours in days.items() if weekday_of(day) == weekday]
    shaped = [hours for hours in alike if any(hours)]
    if len(shaped) < LEAST_OF_A_WEEKDAY:
        shaped = [hours for hours in days.values() if any(hours)]
    summed = alike if len(alike) >= LEAST_OF_A_WEEKDAY else list(days.values())
    parts = [tuple(hour * _UNIT // sum(hours) for hour in hours) for hours in shaped]
    weights = tuple(map(sum, zip(*parts, strict=True))) or (0,) * HOURS
    return Shape(weights, sum(map(sum, summed)) // max(1, len(summed)))
