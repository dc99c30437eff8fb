"""Curves of pacing: which part of a day's budget is due by a time of the day. Pure; whole numbers only.

A part is in ppm (1,000,000 is the whole budget), a time in seconds of a day of 24 hours. `lua/lib/curve.lua` has the same rules.
"""

from __future__ import annotations

import csv
import io
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from engine.errors import InvalidInput, shown

PPM: Final = 1_000_000
DAY_S: Final = 86_400
LANDED_S: Final = DAY_S - 300
"""A curve is complete five minutes before its day ends, so that the last spends still fit."""
STRAIGHT: Final = ((0, 0), (DAY_S, PPM))
MAX_POINTS: Final = 50
POINT: Final = 12
"""Digits of a point in a curve's text: 5 of its second, 7 of its ppm."""
_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?|24:00", re.ASCII)
_DIGITS: Final = re.compile(r"\d{1,7}", re.ASCII)
_COLUMNS: Final = ["time", "share"]

Points = Sequence[tuple[int, int]]
"""(second of the day, ppm due by then): later and later, and never falling."""


class InvalidCurve(InvalidInput):
    """A curve that does not fit; `field` names what is wrong."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve as the scripts read it: it begins at second 0, ends with the whole budget, and has landed by LANDED_S."""

    points: tuple[tuple[int, int], ...]

    @property
    def text(self) -> str:
        """The field `c1` to `c9` of a brand's or campaign's hash."""
        return "".join(f"{second:05d}{ppm:07d}" for second, ppm in self.points)

    @classmethod
    def parse(cls, text: str) -> Curve:
        """The curve of a field. Raises ValueError."""
        return cls(tuple((int(text[i : i + 5]), int(text[i + 5 : i + POINT])) for i in range(0, len(text), POINT)))

    def due(self, ms: int) -> int:
        """The ppm that are due at a time of the day, in milliseconds."""
        places = [second * 1000 for second, _ in self.points]
        after = bisect_right(places, ms)
        if after == len(places):
            return self.points[-1][1]
        (x0, y0), (x1, y1) = self.points[after - 1], self.points[after]
        return y0 + (y1 - y0) * (ms - x0 * 1000) // ((x1 - x0) * 1000)


def curve_of(points: Points) -> Curve:
    """A curve from its points, which `check` has accepted."""
    return Curve(tuple(landed(points, DAY_S)))


def landed(points: Points, ends: int) -> list[tuple[int, int]]:
    """The points of a curve that is complete five minutes before `ends`; what comes earlier stays where it is."""
    last = ends - (DAY_S - LANDED_S)
    if points[-1][0] <= last:
        return list(points)
    return [*(point for point in points if point[0] < last), (last, PPM)]


def read_csv(text: str) -> tuple[tuple[int, int], ...]:
    """The points of a curve from lines `time,share`: `HH:MM` or `HH:MM:SS` (`24:00` is the end), and the ppm of the
    budget that are due by then. Raises InvalidCurve, which names line, field and value.
    """
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    if not rows or [name.strip() for name in rows[0]] != _COLUMNS:
        raise InvalidCurve(
            f"line 1 {shown(','.join(rows[0]) if rows else '')} is not time,share: write this head first", "share"
        )
    points: list[tuple[int, int]] = []
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(_COLUMNS):
            raise InvalidCurve(f"line {number} has {len(row)} values: give time,share such as 12:00,500000", "share")
        points.append((_second(row[0].strip(), number), _share(row[1].strip(), number)))
    return check(points)


def check(points: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The points of a curve, with one at second 0. Raises InvalidCurve where they are none."""
    listed = list(points)
    if not listed:
        raise InvalidCurve("the curve has no points: give at least 24:00,1000000", "share")
    most = MAX_POINTS - (listed[0][0] != 0)  # a point at 00:00 is added
    if len(listed) > most:
        raise InvalidCurve(f"the curve has {len(listed)} points: give at most {most}", "share")
    for (x0, y0), (x1, y1) in pairwise(listed):
        if x1 <= x0:
            raise InvalidCurve(
                f"time {clock(x1)} is not after {clock(x0)}: put the points in order, each time once", "time"
            )
        if y1 < y0:
            raise InvalidCurve(f"share {y1} at {clock(x1)} is below {y0} before it: what is due never falls", "share")
    if listed[-1][1] != PPM:
        raise InvalidCurve(
            f"share {listed[-1][1]} at {clock(listed[-1][0])} is the last one: end with {PPM}, the whole budget",
            "share",
        )
    first = listed[0]
    return tuple(listed) if first[0] == 0 else ((0, 0), *listed)


def clock(second: int) -> str:
    """A second of the day for people: `09:00`, with seconds where it has any."""
    minutes, seconds = divmod(second, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}" + (f":{seconds:02d}" if seconds else "")


def within(points: Points, windows: Sequence[tuple[int, int]], lead: int = PPM) -> Curve:
    """A curve that rises inside windows of a day only, in the shape of `points`; lead: in ppm, above 1,000,000 it is
    complete earlier. windows: (from, until) in minutes, in order, at least one.
    """
    spans = [(start * 60, end * 60) for start, end in windows]
    if sum(_share_at(points, end) - _share_at(points, start) for start, end in spans) == 0:
        points = STRAIGHT  # nothing of the curve falls into the windows
    whole = sum(_share_at(points, end) - _share_at(points, start) for start, end in spans)
    found: dict[int, int] = {0: 0}
    before = 0
    for start, end in spans:
        base = _share_at(points, start)
        for second in (start, *(x for x, _ in points if start < x < end), end):
            found[second] = (before + _share_at(points, second) - base) * lead // whole
        before += _share_at(points, end) - base
    last = spans[-1]
    ends = last[1] if last[1] - last[0] > 2 * (DAY_S - LANDED_S) else last[1] + DAY_S - LANDED_S
    return Curve(tuple(landed(_capped(sorted(found.items())), ends)))


def _capped(points: Points) -> list[tuple[int, int]]:
    """Points up to the first second at which the whole budget is due."""
    out: list[tuple[int, int]] = []
    for (x0, y0), (x1, y1) in pairwise(points):
        out.append((x0, y0))
        if y1 >= PPM:
            return [*out, (x0 + -(-(PPM - y0) * (x1 - x0) // (y1 - y0)), PPM)]
    return [*out, (points[-1][0], PPM)]


_FINE: Final = 1000
"""Shares inside a curve are in thousandths of a ppm, so that short windows keep their shape."""


def _share_at(points: Points, second: int) -> int:
    after = bisect_left([x for x, _ in points], second)
    if after == len(points):
        return points[-1][1] * _FINE
    if after == 0:
        return points[0][1] * _FINE
    (x0, y0), (x1, y1) = points[after - 1], points[after]
    return (y0 * (x1 - x0) + (y1 - y0) * (second - x0)) * _FINE // (x1 - x0)


def _second(text: str, line: int) -> int:
    match = _TIME.fullmatch(text)
    if match is None:
        raise InvalidCurve(f"line {line}: time {shown(text)} is not a time: write HH:MM from 00:00 to 24:00", "time")
    return DAY_S if match[1] is None else int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3] or 0)


def _share(text: str, line: int) -> int:
    if _DIGITS.fullmatch(text) is None or int(text) > PPM:
        raise InvalidCurve(f"line {line}: share {shown(text)} is not a share: write whole ppm from 0 to {PPM}", "share")
    return int(text)
