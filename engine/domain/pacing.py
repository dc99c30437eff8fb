"""Pacing: how much of a daily budget may be spent by now. Pure; money in micros, times in milliseconds.

A try passes while spent + held is below what the curve allows at its instant, and while its minute has spent less than its
cap. `lua/lib/pace.lua` has the same rules, and decides.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from engine.domain.curves import PPM, STRAIGHT, Curve, Points, curve_of, within
from engine.domain.periods import DAY_MS
from engine.domain.schedule import Schedule, weekday_of
from engine.domain.zone_text import UTC, Zone
from engine.errors import InvalidInput, shown

ASAP: Final = "asap"
EVEN: Final = "even"
AHEAD: Final = "ahead"
TRAFFIC: Final = "traffic"
CUSTOM: Final = "custom:"
SPREAD: Final = "spread"
AHEAD_PPM: Final = 1_200_000
LANDED_MS: Final = DAY_MS - 300_000
CATCH_UP: Final = 300
"""Percent of its plan that a minute may spend, by default."""
MODES: Final = {
    ASAP: "as soon as possible",
    EVEN: "even over the day",
    AHEAD: "ahead: 20 % faster than even",
    TRAFFIC: "as this brand's traffic was (learned)",
}
"""The modes without a name, in words. The others are `custom:NAME`."""
_LEADS: Final = {EVEN: PPM, AHEAD: AHEAD_PPM}
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,40}", re.ASCII)
_PERCENT: Final = re.compile(r"[1-9]\d{2,4}", re.ASCII)
EVERY_DAY: Final = 0
"""The weekday of a curve that is for all of them; else Monday is 1."""


class InvalidPacing(InvalidInput):
    """A pacing that does not fit; `field` names what is wrong."""


class Pacing(NamedTuple):
    """How a daily budget is spread over its day. mode: `asap` is none. catch_up: percent, `asap` (no cap) or `spread`."""

    mode: str = ASAP
    catch_up: str = str(CATCH_UP)

    @property
    def curve(self) -> str | None:
        """The name of the curve of `custom:NAME`."""
        return self.mode.removeprefix(CUSTOM) if self.mode.startswith(CUSTOM) else None


NO_PACING: Final = Pacing()


def check_pacing(value: str) -> str:
    """The mode as it is stored. Raises InvalidPacing."""
    mode = value.strip()
    if mode in MODES:
        return mode
    if mode.startswith(CUSTOM):
        check_curve_name(mode.removeprefix(CUSTOM), "pacing", given=value)
        return mode
    raise InvalidPacing(f"pacing {shown(value)} is none: use asap, even, ahead, traffic or custom:NAME", "pacing")


def check_catch_up(value: str) -> str:
    """The catch-up as it is stored. Raises InvalidPacing."""
    wanted = value.strip().removesuffix("%")
    if wanted in (ASAP, SPREAD) or _PERCENT.fullmatch(wanted):
        return wanted
    raise InvalidPacing(f"catch_up {shown(value)} is none: use percent from 100 to 99999, asap or spread", "catch_up")


def check_curve_name(name: str, field: str = "name", given: str | None = None) -> str:
    """The name of a curve. given: the value that it is a part of, for the message. Raises InvalidPacing."""
    if _NAME.fullmatch(name) is None:
        said = f"{shown(name)} is no curve's name" if given is None else f"{shown(given)} names no curve"
        raise InvalidPacing(f"{field} {said}: use 1 to 40 of A-Z a-z 0-9 . _ -", field)
    return name


def time_of_day(ms: int, zone: Zone = UTC) -> tuple[int, int]:
    """The time of a brand's day at an instant, and the length of that day, which is that of its time zone."""
    return zone.time_of_day(ms) if zone is not UTC else (ms % DAY_MS, DAY_MS)


def compiled(
    pacing: Pacing, schedule: Schedule | None = None, curves: Mapping[int, Points] | None = None
) -> tuple[str, ...]:
    """What publish takes: `p=<curves>,<lead>,<catch-up>` and `c1=<curve>` for each that differs; nothing without pacing.

    schedule: of a campaign, outside of which its curve is flat. curves: {weekday: points} of `custom` and `traffic`.
    """
    if pacing.mode == ASAP:
        return ()
    lead = _LEADS.get(pacing.mode, PPM)
    catch_up = {ASAP: "0", SPREAD: "s"}.get(pacing.catch_up, pacing.catch_up)
    texts = [_of_weekday(weekday, lead, schedule, curves or {}) for weekday in range(1, 8)]
    numbers = {text: number for number, text in enumerate(dict.fromkeys(filter(None, texts)), 1)}
    digits = "".join(str(numbers.get(text, 0)) for text in texts)
    chosen = digits[0] if len(set(digits)) == 1 else digits
    return (f"p={chosen},{lead},{catch_up}", *(f"c{number}={text}" for text, number in numbers.items()))


def _of_weekday(weekday: int, lead: int, schedule: Schedule | None, curves: Mapping[int, Points]) -> str:
    """A weekday's curve as text, empty for a straight line."""
    points = curves.get(weekday, curves.get(EVERY_DAY))
    if schedule is None or schedule.always:
        return curve_of(points).text if points else ""
    windows = schedule.week()[weekday - 1]
    # On a day without windows nothing is spent.
    return within(points or STRAIGHT, windows, lead).text if windows else ""


@dataclass(frozen=True, slots=True)
class Pace:
    """A compiled pacing. curves: of each weekday, Monday first; None is a straight line of `lead` ppm."""

    curves: tuple[Curve | None, ...]
    lead: int
    catch_up: str

    @classmethod
    def of(cls, parts: Sequence[str]) -> Pace | None:
        """From what `compiled` gives; None without pacing."""
        if not parts:
            return None
        named = dict(part.split("=", 1) for part in parts)
        digits, lead, catch_up = named["p"].split(",")
        curves = {name[1:]: Curve.parse(text) for name, text in named.items() if name != "p"}
        return cls(tuple(curves.get(digit) for digit in (digits * 7)[:7]), int(lead), catch_up)

    def due(self, ms: int, zone: Zone = UTC) -> int:
        """The ppm of the budget that are due at an instant."""
        at, length = time_of_day(ms, zone)
        at = at * DAY_MS // length
        curve = self.curves[weekday_of(zone.day_of(ms))]
        if curve is not None:
            return curve.due(at)
        return PPM if at >= LANDED_MS else min(at * self.lead // LANDED_MS, PPM)

    def allowed(self, limit: int, ms: int, zone: Zone = UTC) -> int:
        """What may be spent of a limit by an instant."""
        return limit * self.due(ms, zone) // PPM

    def passes_ms(self, limit: int, spent: int, ms: int, zone: Zone = UTC) -> int | None:
        """The first instant from `ms` on, of its day, at which more than `spent` is due; None where none is."""
        at, length = time_of_day(ms, zone)
        rest = range(ms, ms + length - at)
        place = bisect_left(rest, True, key=lambda instant: self.allowed(limit, instant, zone) > spent)
        return rest[place] if place < len(rest) else None
