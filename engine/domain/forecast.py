"""The spend at the end of a day and of its month, by the usual shape of the weekday, with a band.

Two rules are tried on each of the last 28 days, as of the same time of day and without knowing that day:
- as today: what is spent by now, divided by the part that is usually spent by now;
- as usual: what is spent by now, and the part of a usual day that is still to come.
The first forecasts today where it was clearly nearer over these days, else the second. Its errors on them are the band: the actual sum was in the
band on about eight of ten days.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from engine.domain.curves import PPM
from engine.domain.periods import DAY_MS, date_of, days_of_month, month_of_date
from engine.domain.schedule import weekday_of
from engine.domain.traffic import History, Shape, check_enough, part_by, shape_of
from engine.domain.zone_text import UTC, Zone

AS_TODAY: Final = "as today"
AS_USUAL: Final = "as usual"
_LEAST_PART: Final = PPM // 1000
"""Of a day. What is spent before a thousandth of a day is usually spent forecasts nothing."""
_CLEARLY: Final = 100
"""A rule is clearly nearer by a hundredth of all that was spent."""

Rule = Callable[[int, Shape, int], "int | None"]


@dataclass(frozen=True, slots=True)
class Band:
    """Micros: what is expected, and from where to where it is on about eight of ten days."""

    expected: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """day, month: the sums at their ends, budgets respected. rule: how the day was forecast. days: how many past days
    the band is of. part: the ppm of a day that is usually spent by now. runs_out_ms: when the day's budget is used up. shape: the usual
    hours of such a day.
    """

    now_ms: int
    day: Band
    month: Band
    rule: str
    days: int
    part: int
    runs_out_ms: int | None = None
    shape: Shape | None = None

    def part_by(self, ms: int) -> int:
        """The ppm of a day that is usually spent by a time of the day; without a shape, that of an even day."""
        return ms * PPM // DAY_MS if self.shape is None else self.shape.part_by(ms)


@dataclass(frozen=True, slots=True)
class Spent:
    """What is spent, and the budgets (None is no limit), in micros."""

    day: int
    month: int
    daily: int | None = None
    monthly: int | None = None


def forecast(history: History, spent: Spent, now_ms: int, of: str = "the brand", clock: Zone = UTC) -> Forecast:
    """The forecast at an instant, by the brand's clock. Raises TooLittleHistory where fewer than seven days of the history have spend."""
    check_enough(history, of)
    today, ms = clock.day_of(now_ms), clock.local_ms(now_ms) % DAY_MS
    name, errors = _nearest(history, ms)
    shape = shape_of(history, weekday_of(today))
    expected = _RULES[name](spent.day, shape, ms)
    if expected is None:
        name, expected = AS_USUAL, _as_usual(spent.day, shape, ms)
    low, high = _quantiles(errors)
    raw = Band(expected, max(spent.day, expected * low // PPM), max(spent.day, expected * high // PPM))
    day = _within(raw, spent.daily, spent.day)
    month = _month(history, spent, day, today)
    out = None if spent.daily is None else _runs_out(shape, spent, expected, ms)
    out_ms = None if out is None else clock.clock_ms(today, out)
    return Forecast(now_ms, day, month, name, len(errors), shape.part_by(ms), out_ms, shape)


def _as_today(spent: int, shape: Shape, ms: int) -> int | None:
    part = shape.part_by(ms)
    return spent * PPM // part if part >= _LEAST_PART else None


def _as_usual(spent: int, shape: Shape, ms: int) -> int:
    return spent + shape.usual * (PPM - shape.part_by(ms)) // PPM


_RULES: Final[dict[str, Rule]] = {AS_TODAY: _as_today, AS_USUAL: _as_usual}


def _nearest(history: History, ms: int) -> tuple[str, list[int]]:
    """The rule that was nearer to the sums of past days, and the actual sum of each in ppm of its forecast."""
    missed: dict[str, int] = dict.fromkeys(_RULES, 0)
    errors: dict[str, list[int]] = {name: [] for name in _RULES}
    for day, hours in history.items():
        shape, actual = shape_of(history, weekday_of(day), without=day), sum(hours)
        for name, rule in _RULES.items():
            found = rule(part_by(hours, ms), shape, ms)
            # A rule that has no forecast missed all of the day.
            missed[name] += abs(actual - (found or 0))
            if found:
                errors[name].append(actual * PPM // found)
    # Where both are as near, a brand that has not begun yet is not forecast as one that never will.
    clearly = missed[AS_TODAY] + sum(map(sum, history.values())) // _CLEARLY < missed[AS_USUAL]
    name = AS_TODAY if clearly and errors[AS_TODAY] else AS_USUAL
    return name, errors[name]


def _quantiles(errors: list[int]) -> tuple[int, int]:
    """The errors between which eight of ten are."""
    ordered = sorted(errors) or [PPM]
    out = len(ordered) // 10
    return ordered[out], ordered[-1 - out]


def _within(band: Band, limit: int | None, spent: int) -> Band:
    """The band where nothing passes a limit, but what is spent already."""
    if limit is None:
        return band
    most = max(limit, spent)
    return Band(min(band.expected, most), min(band.low, most), min(band.high, most))


def _month(history: History, spent: Spent, day: Band, today: int) -> Band:
    """The days to come are as their weekdays usually are. They may all err in one direction, so their bands add up."""
    left = [n for n in days_of_month(month_of_date(date_of(today))) if n > today]
    whole = Band(0, 0, 0)
    low, high = _quantiles(_of_whole_days(history))
    for number in left:
        usual = shape_of(history, weekday_of(number)).usual
        one = _within(Band(usual, usual * low // PPM, usual * high // PPM), spent.daily, 0)
        whole = Band(whole.expected + one.expected, whole.low + one.low, whole.high + one.high)
    before = spent.month - spent.day
    found = Band(before + day.expected + whole.expected, before + day.low + whole.low, before + day.high + whole.high)
    return _within(found, spent.monthly, spent.month)


def _of_whole_days(history: History) -> list[int]:
    """The sum of each day in ppm of what is usual by the others."""
    found = []
    for day, hours in history.items():
        usual = shape_of(history, weekday_of(day), without=day).usual
        if usual:
            found.append(sum(hours) * PPM // usual)
    return found


def _runs_out(shape: Shape, spent: Spent, expected: int, ms: int) -> int | None:
    """The first minute of the day by which the daily budget is used up; None where it is already, or lasts the day."""
    assert spent.daily is not None
    if not spent.day < spent.daily < expected:
        return None
    now, rest = shape.part_by(ms), expected - spent.day
    for minute in range(ms // 60_000 + 1, DAY_MS // 60_000):
        if spent.day + rest * (shape.part_by(minute * 60_000) - now) // max(1, PPM - now) >= spent.daily:
            return minute * 60_000
    return None
