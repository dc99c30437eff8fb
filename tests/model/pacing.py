"""Pacing as the rules say it, by plain arithmetic: a try passes while spent + held is below what is due by now, and while its minute has spent less
than its cap. The script's short cuts (a curve read backwards, sums) are none of the model's.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from engine.domain.zone_text import UTC, Zone

DAY: Final = 86_400_000
LANDED: Final = DAY - 300_000
MINUTE: Final = 60_000
PPM: Final = 1_000_000
LARGE: Final = 10**13


class Owner(NamedTuple):
    """A brand or campaign whose daily budget is paced. parts: as it was published. spent: today, and in_minute of it."""

    parts: tuple[str, ...]
    limit: int
    spent: int
    in_minute: int
    held: int
    zone: Zone = UTC
    carries: bool = False
    """Its brand has a rollover: the limit of another day is not known."""


def due(parts: Sequence[str], ms: int, zone: Zone = UTC) -> int:
    """The ppm of the budget that are due at an instant. A day of another length than 24 hours stretches the curve."""
    named = dict(part.split("=") for part in parts)
    digits, lead, _ = named["p"].split(",")
    digit = digits if len(digits) == 1 else digits[(zone.day_of(ms) + 3) % 7]
    passed, length = zone.time_of_day(ms)
    at = passed * DAY // length
    if digit == "0":
        return PPM if at >= LANDED else min(PPM, at * int(lead) // LANDED)
    text = named[f"c{digit}"]
    points = [(int(text[i : i + 5]) * 1000, int(text[i + 5 : i + 12])) for i in range(0, len(text), 12)]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x0 <= at < x1:
            return y0 + (y1 - y0) * (at - x0) // (x1 - x0)
    return points[-1][1]


def allowed(parts: Sequence[str], limit: int, ms: int, zone: Zone = UTC) -> int:
    """What may be spent of a limit by an instant."""
    return limit * due(parts, ms, zone) // PPM


def cap(owner: Owner, ms: int) -> int | None:
    """What the minute of an instant may spend; None is no cap."""
    catch_up = dict(part.split("=") for part in owner.parts)["p"].split(",")[2]
    if catch_up == "0":
        return None
    begins = ms - ms % MINUTE
    before = allowed(owner.parts, owner.limit, begins, owner.zone)
    end = begins + MINUTE
    last = end == owner.zone.next_day_ms(begins)
    after = owner.limit if last else allowed(owner.parts, owner.limit, end, owner.zone)
    percent = (
        int(catch_up) if catch_up != "s" else _spread(owner.limit - owner.spent + owner.in_minute, owner.limit - before)
    )
    return max(max(after - before, owner.limit // 1440) * percent // 100, 1)


def _spread(left: int, planned: int) -> int:
    if planned > LARGE:
        left, planned = left // 1000, planned // 1000
    return 300 if left >= 3 * planned else 100 if left <= planned else left * 100 // planned


def gap(owner: Owner, ms: int) -> int:
    """How much more passes before the next try is refused."""
    most = cap(owner, ms)
    of_curve = allowed(owner.parts, owner.limit, ms, owner.zone) - owner.spent - owner.held
    return of_curve if most is None else min(of_curve, most - owner.in_minute)


class Rate(NamedTuple):
    """The pass rate of a minute (its number): what was asked in it, the smoothed demand, and the rate in ppm."""

    minute: int
    asked: int = 0
    demand: int = 0
    ppm: int = PPM


MOST_ASKED: Final = 10**14 - 1


def rate_at(owner: Owner, before: Rate | None, ms: int) -> Rate:
    """The rate of the minute of an instant, as its first call sets it. before: the last one that is known."""
    minute = ms // MINUTE
    if before is not None and before.minute == minute:
        return before
    demand = 0 if before is None else _smoothed(before, minute)
    if not demand:
        return Rate(minute)
    end = ms - ms % MINUTE + MINUTE
    last = end == owner.zone.next_day_ms(ms)
    due_then = owner.limit if last else allowed(owner.parts, owner.limit, end, owner.zone)
    wanted, most = due_then - owner.spent + owner.in_minute - owner.held, cap(owner, ms)
    wanted = max(wanted if most is None else min(wanted, most), 0)
    if wanted >= demand or wanted + wanted // 10 >= demand:
        return Rate(minute, 0, demand)
    # Demands that are large are taken in parts of 100,000 micros.
    part = 100_000 if demand > 9 * 10**9 else 1
    return Rate(minute, 0, demand, max((wanted + wanted // 10) // part * PPM // (demand // part), 1000))


def _smoothed(before: Rate, minute: int) -> int:
    whole = min(before.asked * PPM // before.ppm, MOST_ASKED)
    demand = (3 * before.demand + whole) // 4 if before.demand else whole
    for _ in range(min(minute - before.minute - 1, 200)):
        demand = demand * 3 // 4
    return demand


def passes_ms(owners: Sequence[Owner], now: int, wanted: int) -> int | None:
    """The first instant from `wanted` on at which all let a try pass, if nothing is spent and no hold ends until then."""
    caps = [(cap(owner, now), owner.in_minute) for owner in owners]
    full = any(most is not None and spent >= most for most, spent in caps)
    at = max(wanted, now - now % MINUTE + MINUTE) if full else wanted
    first = at
    for owner in owners:
        day = owner.zone.day_of(first)
        if owner.carries and day != owner.zone.day_of(now):
            return None
        total = (owner.spent if day == owner.zone.day_of(now) else 0) + owner.held
        span = range(owner.zone.midnight_ms(day), owner.zone.midnight_ms(day + 1))
        place = bisect_left(span, True, key=_is_above(owner, total))
        if place == len(span):
            return None
        at = max(at, span[place])
    return at


def _is_above(owner: Owner, total: int) -> Callable[[int], bool]:
    return lambda ms: allowed(owner.parts, owner.limit, ms, owner.zone) > total
