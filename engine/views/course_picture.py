"""Draws the course of paced budgets over a day as one SVG: the plan, what was spent, and what was refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import accumulate
from typing import Final, NamedTuple

from engine.domain.periods import HOUR_MS
from engine.domain.simulation import SLOT_MS, Course
from engine.domain.zone_text import UTC, Zone

_WIDTH: Final = 576
_HEIGHT: Final = 200
_LEFT: Final = 56
_TOP: Final = 30
_A_PLOT: Final = _TOP + _HEIGHT + 40
_PLAN: Final = 'stroke="#888" stroke-width="1.5" stroke-dasharray="5 4"'
_SPENT: Final = 'stroke="#1668b8" stroke-width="2"'
_BESIDE: Final = 'stroke="#c4561d" stroke-width="1.5"'


def clock_hours(zone: Zone = UTC, day: int = 0) -> tuple[tuple[int, int], ...]:
    """(hour that clocks show, ms since the day began) of every third hour of a day."""
    begins = zone.midnight_ms(day)
    return tuple((hour, zone.clock_ms(day, hour * HOUR_MS) - begins) for hour in range(0, 25, 3))


class Plot(NamedTuple):
    """One plot. beside: a second course of the same day to compare with, and its name; None draws the first alone. hours: those
    below the plot.
    """

    title: str
    course: Course
    beside: Course | None = None
    beside_name: str = ""
    hours: Sequence[tuple[int, int]] = clock_hours()


def svg(plots: Sequence[Plot]) -> str:
    """The SVG document, a plot below the other. The scale of each is its budget, or more where more was spent."""
    height = len(plots) * _A_PLOT + 24
    width = _LEFT + _WIDTH + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        *_legend(next((plot.beside_name for plot in plots if plot.beside is not None), "")),
    ]
    for number, plot in enumerate(plots):
        parts += _plot(plot, number * _A_PLOT + 24 + _TOP)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _legend(beside: str) -> list[str]:
    kinds = [("plan", _PLAN), ("spent", _SPENT), *([(beside, _BESIDE)] if beside else [])]
    parts, x = [], _LEFT
    for name, line in kinds:
        parts.append(f'<line x1="{x}" x2="{x + 24}" y1="16" y2="16" {line}/>')
        parts.append(f'<text x="{x + 30}" y="20">{escape(name)}</text>')
        x += 44 + 7 * len(name)
    return [
        *parts,
        f'<rect x="{x}" y="10" width="14" height="12" fill="#e8b4b4"/>',
        f'<text x="{x + 20}" y="20">refused</text>',
    ]


def _plot(plot: Plot, top: int) -> list[str]:
    course, bottom = plot.course, top + _HEIGHT
    highest = max(1, course.limit, course.total, plot.beside.total if plot.beside is not None else 0)
    most_refused = max(1, *course.refused)
    slots = course.slots
    parts = [f'<text x="{_LEFT}" y="{top - 10}" font-weight="bold">{escape(plot.title)}</text>']
    # A quarter of the plot, so that the lines stay readable.
    bars = (
        f"M{_x(slot, slots) + 1:.0f},{bottom}v-{micros * _HEIGHT / most_refused / 4:.1f}"
        for slot, micros in enumerate(course.refused)
        if micros
    )
    parts.append(f'<path d="{"".join(bars)}" stroke="#e8b4b4" stroke-width="2" fill="none"/>')
    for percent in range(0, 101, 25):
        y = bottom - _HEIGHT * percent / 100
        parts.append(f'<line x1="{_LEFT}" x2="{_LEFT + _WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        part = highest * percent / max(1, course.limit)
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{part:.0f} %</text>')
    for hour, ms in plot.hours:
        x = _x(ms / SLOT_MS, slots)
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{hour:02}:00</text>')
    parts.append(_line(course.marks(), slots, highest, bottom, _PLAN))
    if plot.beside is not None:
        parts.append(_line(accumulate(plot.beside.spent, initial=0), slots, highest, bottom, _BESIDE))
    parts.append(_line(accumulate(course.spent, initial=0), slots, highest, bottom, _SPENT))
    return parts


def _line(values: Iterable[int], slots: int, highest: int, bottom: int, look: str) -> str:
    places = enumerate(values)
    points = " ".join(f"{_x(slot, slots):.1f},{bottom - _HEIGHT * value / highest:.1f}" for slot, value in places)
    return f'<polyline points="{points}" fill="none" {look}/>'


def _x(slot: float, slots: int) -> float:
    return _LEFT + _WIDTH * slot / slots
