"""Spend curves: which part of a day's budget is due by each instant of the day. Integers only.

A point is (second of the day, ppm of the budget that is due by then). Between two points the curve is a straight line,
rounded down to a whole ppm. After its last point everything is due.
Redis has a curve as text of 12 digits a point: 5 of the second, 7 of the ppm. The scripts calculate the same figures
from it in doubles, which are exact here: no product exceeds 2^53.
A curve is complete five minutes before the day ends, so that the last amounts find a taker.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Protocol

from engine.domain.periods import DAY_MS
from engine.domain.schedule import DAY_MINUTES
from engine.errors import InvalidCurve, shown

PPM: Final = 1_000_000
DAY_S: Final = DAY_MS // 1000
LONGEST_DAY_S: Final = 25 * 3600
LANDING_S: Final = 300
"""How long before the end of its day, or of the day's last window, a curve is complete."""
MAX_POINTS: Final = 97
"""A point each quarter of an hour: 1,164 bytes."""
ALL_DAY: Final = ((0, DAY_MINUTES),)
_DIGITS: Final = 12


class Due(Protocol):
    """What is due by an instant, and the instant by which something is due. Instants are ms since the day began."""

    def ppm_at(self, ms: int) -> int:
        """The part of the budget that is due, 0 to 1,000,000 ppm. It never falls as time goes on."""
        ...

    def first_ms(self, ppm: int) -> int:
        """The first instant at which at least so much is due, for 0 to 1,000,000 ppm."""
        ...


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of one day, as two tuples of one length: seconds, strictly rising from 0, and ppm, never falling, up to
    1,000,000. Make one with `curve_of`, `read_curve` or `from_weights`, which check that.
    """

    seconds: tuple[int, ...]
    ppms: tuple[int, ...]

    @property
    def text(self) -> str:
        """The curve as Redis has it."""
        return "".join(f"{second:05d}{ppm:07d}" for second, ppm in zip(self.seconds, self.ppms, strict=True))

    def ppm_at(self, ms: int) -> int:
        """See `Due`."""
        place = bisect_right(self.seconds, ms // 1000)
        if place == 0:
            return self.ppms[0]
        if place == len(self.seconds):
            return PPM
        x0, x1 = self.seconds[place - 1] * 1000, self.seconds[place] * 1000
        y0, y1 = self.ppms[place - 1], self.ppms[place]
        return y0 + (y1 - y0) * (ms - x0) // (x1 - x0)

    def first_ms(self, ppm: int) -> int:
        """See `Due`."""
        place = bisect_left(self.ppms, ppm)
        if place == 0:
            return 0
        x0, x1 = self.seconds[place - 1] * 1000, self.seconds[place] * 1000
        y0, y1 = self.ppms[place - 1], self.ppms[place]
        return x0 - (y0 - ppm) * (x1 - x0) // (y1 - y0)


@dataclass(frozen=True, slots=True)
class Straight:
    """A straight line through a day of `length_ms`. lead: 1,000,000 is even; 1,200,000 is a fifth ahead of even until
    everything is due.
    """

    lead: int = PPM
    length_ms: int = DAY_MS

    def ppm_at(self, ms: int) -> int:
        """See `Due`."""
        return min(PPM, max(0, ms) * self.lead // self._span)

    def first_ms(self, ppm: int) -> int:
        """See `Due`."""
        return -(-ppm * self._span // self.lead)

    @property
    def _span(self) -> int:
        return self.length_ms - LANDING_S * 1000


EVEN: Final = Straight()


def allowed(limit: int, ppm: int) -> int:
    """The micros of a limit that are due: floor(limit * ppm / 1,000,000).

    A script computes it as (L - L % 1e6) / 1e6 * ppm + floor((L % 1e6) * ppm / 1e6), exact for limits up to 9 * 10^15.
    """
    return limit * ppm // PPM


def first_ppm_above(limit: int, spent: int) -> int | None:
    """The least ppm at which more than `spent` is allowed; None where the whole limit is not more than that."""
    return None if spent >= limit else -(-(spent + 1) * PPM // limit)


def of_day(ms: int, length_ms: int) -> int:
    """An instant of a day of another length (23 to 25 hours) on a curve of 24 hours, which is stretched to that day."""
    return ms * DAY_MS // length_ms


def curve_of(points: Iterable[tuple[int, int]], field: str = "curve") -> Curve:
    """Checks points and makes a curve of them. Raises InvalidCurve with the point that is wrong."""
    found = list(points)
    if not 2 <= len(found) <= MAX_POINTS:
        raise InvalidCurve(f"{field} has {len(found)} points: give 2 to {MAX_POINTS}", field)
    for second, ppm in found:
        if not 0 <= second <= LONGEST_DAY_S:
            raise InvalidCurve(f"{field} has a point at second {second}: give 0 to {LONGEST_DAY_S}", field)
        if not 0 <= ppm <= PPM:
            raise InvalidCurve(f"{field} is {ppm} ppm at second {second}: give 0 to {PPM}", field)
    for (before, lower), (after, higher) in pairwise(found):
        if after <= before:
            raise InvalidCurve(f"{field} goes from second {before} to {after}: points must be in order", field)
        if higher < lower:
            raise InvalidCurve(f"{field} falls from {lower} to {higher} ppm at second {after}: it may only rise", field)
    if found[0][0] != 0:
        raise InvalidCurve(f"{field} begins at second {found[0][0]}: its first point must be at 0", field)
    if found[-1][1] != PPM:
        raise InvalidCurve(f"{field} ends at {found[-1][1]} ppm: its last point must be at {PPM}", field)
    return Curve(tuple(second for second, _ in found), tuple(ppm for _, ppm in found))


def read_curve(text: str, field: str = "curve") -> Curve:
    """The curve of a stored text. Raises InvalidCurve where it is none."""
    if len(text) % _DIGITS or not (text.isascii() and text.isdigit()):
        raise InvalidCurve(f"{field} {shown(text)} is not of {_DIGITS} digits a point", field)
    starts = range(0, len(text), _DIGITS)
    return curve_of(((int(text[at : at + 5]), int(text[at + 5 : at + _DIGITS])) for at in starts), field)


def from_weights(weights: Sequence[int], windows: Sequence[tuple[int, int]] = ALL_DAY) -> Curve:
    """The curve of a day whose equal parts (24 for hours) have these weights.

    windows: (from, to) in minutes of the day, in order and apart: the curve is flat outside of them. Where all weights
    in the windows are 0, it rises evenly in them. The last window is complete five minutes before it ends, unless it
    is shorter than ten. Raises InvalidCurve for no window, no weight, a negative one, or too many points.
    """
    if not windows or not weights or min(weights) < 0:
        raise InvalidCurve("a curve needs a window, and weights of 0 and more: give both", "curve")
    spans = [(start * 60, end * 60) for start, end in windows]
    if not any(_weight_until(weights, end) - _weight_until(weights, start) for start, end in spans):
        weights = (1,)
    total = sum(_weight_until(weights, end) - _weight_until(weights, start) for start, end in spans)
    bounds = [part * DAY_S // len(weights) for part in range(len(weights))]
    points, before = [(0, 0)], 0
    for start, end in spans:
        low, length = _weight_until(weights, start), end - start
        landing = LANDING_S if end == spans[-1][1] and length >= 2 * LANDING_S else 0
        for second in (start, *(bound for bound in bounds if start < bound < end), end):
            so_far = before + _weight_until(weights, second) - low
            at = start + (second - start) * (length - landing) // length
            if at == points[-1][0]:
                points.pop()
            points.append((at, so_far * PPM // total))
        before = so_far
    return curve_of(points)


def _weight_until(weights: Sequence[int], second: int) -> int:
    """The weight of the day up to a second, times the seconds of a day."""
    place, into = divmod(second * len(weights), DAY_S)
    return sum(weights[:place]) * DAY_S + (weights[place] * into if into else 0)
