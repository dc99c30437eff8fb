"""Lines of a day's course and columns of days, as paths for SVG that templates draw. Pure; the scale is of the drawing, not of the screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from engine.domain.money import MICROS
from engine.views.day_course import BudgetMark, DayCourse, Mark, Point

WIDTH: Final = 960
HEIGHT: Final = 240
_PARTS: Final = 4
"""Of the height, and two of the width for each."""
_COLUMN: Final = 10
_STEPS: Final = (1, 2, 4, 5, 8, 10)


@dataclass(frozen=True, slots=True)
class PlacedMark:
    """A mark with its place from the left, and its number in the list below the chart."""

    x: float
    no: int
    mark: Mark

    @property
    def is_budget(self) -> bool:
        return isinstance(self.mark, BudgetMark)


@dataclass(frozen=True, slots=True)
class DayChart:
    """Paths in a box of WIDTH by HEIGHT; one that is empty is not drawn. heights: the figures beside it, from the top, in micros.
    hours: the times below it, from the left.
    """

    spent: str
    area: str
    plan: str
    limit: str
    band: str
    expected: str
    now_x: float
    marks: tuple[PlacedMark, ...]
    heights: tuple[int, ...]
    hours: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """A column for each day in a box of `width` by HEIGHT, in two paths: days within their budget, and those that reached it. ticks: where
    each day's budget is. heights: as of a DayChart.
    """

    width: int
    within: str
    reached: str
    ticks: str
    heights: tuple[int, ...]


def day_chart(course: DayCourse) -> DayChart:
    """The chart of a course."""
    top = _round_up(course.highest)
    length = course.end_ms - course.begin_ms

    def at(point: Point) -> tuple[float, float]:
        ms, micros = point
        return (ms - course.begin_ms) * WIDTH / length, HEIGHT - max(0, micros) * HEIGHT / top

    spent = _path(_thinned([at(point) for point in course.spent]))
    limits = [(max(ms, course.begin_ms), limit) for ms, limit in course.limits]
    ends = [ms for ms, _ in limits[1:]] + [course.end_ms]
    pieces = [
        _path([at((ms, limit)), at((end, limit))])
        for (ms, limit), end in zip(limits, ends, strict=False)
        if limit is not None
    ]
    lows = [at((point.at_ms, point.low)) for point in course.ahead]
    highs = [at((point.at_ms, point.high)) for point in course.ahead]
    now_x = at((course.now_ms, 0))[0]
    return DayChart(
        spent=spent,
        area=f"{spent}V{HEIGHT}H0z",
        plan=_path([at(point) for point in course.plan]),
        limit="".join(pieces),
        band=_path([*highs, *reversed(lows)]) + "z" if highs else "",
        expected=_path([at((point.at_ms, point.expected)) for point in course.ahead]),
        now_x=round(now_x, 1),
        marks=tuple(PlacedMark(round(at((mark.at_ms, 0))[0], 1), no, mark) for no, mark in enumerate(course.marks, 1)),
        heights=_heights(top),
        hours=tuple(
            course.local.time(course.begin_ms + length * part // (2 * _PARTS)).split(" ")[0]
            for part in range(2 * _PARTS + 1)
        ),
    )


def columns(days: Sequence[tuple[int, int | None]]) -> Columns:
    """Columns of (micros, the day's budget), from the left."""
    top = _round_up(max((max(spend, limit or 0) for spend, limit in days), default=1))
    within: list[str] = []
    reached: list[str] = []
    ticks: list[str] = []
    for place, (spend, limit) in enumerate(days):
        height = max(1, round(spend * HEIGHT / top)) if spend > 0 else 0
        if height:
            full = limit is not None and spend >= limit
            (reached if full else within).append(f"M{place * _COLUMN + 1} {HEIGHT}v-{height}h{_COLUMN - 2}v{height}z")
        if limit is not None:
            ticks.append(f"M{place * _COLUMN} {HEIGHT - limit * HEIGHT / top:.1f}h{_COLUMN}")
    return Columns(len(days) * _COLUMN, "".join(within), "".join(reached), "".join(ticks), _heights(top))


def _heights(top: int) -> tuple[int, ...]:
    return tuple(top * part // _PARTS for part in range(_PARTS, -1, -1))


def _round_up(micros: int) -> int:
    """The next figure whose quarters are short to write: 1, 2, 4, 5, 8 or 10 of a power of ten, from a unit's thousandth up."""
    power = MICROS // 1000
    while power * 10 < micros:
        power *= 10
    return next(step * power for step in _STEPS if step * power >= micros)


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "".join(f"{'L' if place else 'M'}{x:.1f} {y:.1f}" for place, (x, y) in enumerate(points))


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Without points that are closer than half a unit to the one before, but with the last."""
    kept = [points[0]]
    for place, point in enumerate(points[1:], 1):
        if point[0] - kept[-1][0] >= 0.5 or place == len(points) - 1:
            kept.append(point)
    return kept
