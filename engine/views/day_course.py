"""The course of a brand's or campaign's day: what was spent, what was due and what was allowed by when, and where it is heading. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from engine.domain.causes import cause_of
from engine.domain.curves import PPM
from engine.domain.forecast import Forecast
from engine.domain.pacing import Pace
from engine.domain.periods import DAY_MS, HOUR_MS, MINUTE_MS
from engine.domain.zone_text import Local

STEP_MS: Final = 15 * MINUTE_MS
"""Between two points of the plan and of the forecast."""

Point = tuple[int, int]
"""An instant and micros by then."""
Limit = tuple[int, "int | None"]
"""The instant from which on a budget holds, and the budget; None is no limit."""


@dataclass(frozen=True, slots=True)
class BudgetMark:
    """The daily budget changed; None is no limit."""

    at_ms: int
    old: int | None
    new: int | None
    actor: str


@dataclass(frozen=True, slots=True)
class StopMark:
    """Campaigns stopped in one minute for the same causes: how many, and the name of one of them."""

    at_ms: int
    reasons: tuple[str, ...]
    campaigns: int
    name: str

    @property
    def why(self) -> str:
        """The causes in words."""
        return "; ".join(cause_of(name).sentence for name in self.reasons)


Mark = BudgetMark | StopMark


@dataclass(frozen=True, slots=True)
class Ahead:
    """What is expected by an instant to come, and from where to where it is on about eight of ten days. Micros."""

    at_ms: int
    expected: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Line:
    """The figures by the end of an hour of the day, or by now. spent: None for an hour to come; ahead: None for one that is over."""

    at_ms: int
    spent: int | None
    plan: int | None
    limit: int | None
    ahead: Ahead | None


@dataclass(frozen=True, slots=True)
class DayCourse:
    """One day of a brand, from its first to its last instant. spent: sums by the end of each minute that had any, the last one by now.

    limits: the first holds from the day's beginning. plan: what is due by its pacing, or on an even day; empty without a daily budget.
    ahead: from now to the end of the day; empty where nothing is forecast.
    """

    begin_ms: int
    end_ms: int
    now_ms: int
    local: Local
    spent: tuple[Point, ...]
    limits: tuple[Limit, ...]
    plan: tuple[Point, ...]
    ahead: tuple[Ahead, ...]
    marks: tuple[Mark, ...]

    def limit_at(self, ms: int) -> int | None:
        """The budget that holds at an instant."""
        return limit_at(self.limits, ms)

    @property
    def highest(self) -> int:
        """The largest of all that a chart shows, in micros; at least 1."""
        limits = (limit or 0 for _, limit in self.limits)
        ahead = (point.high for point in self.ahead)
        return max(1, self.spent[-1][1], *limits, *ahead)

    def lines(self) -> list[Line]:
        """The figures as a table: by the end of each hour, and by now."""
        ends = range(self.begin_ms + HOUR_MS, self.end_ms, HOUR_MS)
        instants = sorted({*ends, self.end_ms, self.now_ms} - {self.begin_ms})
        return [
            Line(
                ms,
                value_at(self.spent, ms) if ms <= self.now_ms else None,
                self._plan_at(ms),
                self.limit_at(ms - 1),
                self._ahead_at(ms) if ms > self.now_ms else None,
            )
            for ms in instants
        ]

    def _plan_at(self, ms: int) -> int | None:
        """What is due by an instant, straight between two points."""
        before = [point for point in self.plan if point[0] <= ms]
        after = [point for point in self.plan if point[0] >= ms]
        if not before or not after:
            return None
        (since, low), (until, high) = before[-1], after[0]
        return high if until == since else low + (high - low) * (ms - since) // (until - since)

    def _ahead_at(self, ms: int) -> Ahead | None:
        return next((point for point in self.ahead if point.at_ms >= ms), None)


def course_of(
    now_ms: int,
    local: Local,
    minutes: Iterable[Point],
    spent_now: int,
    limits: Sequence[Limit],
    parts: Sequence[str] = (),
    forecast: Forecast | None = None,
    marks: Iterable[Mark] = (),
    each_ms: int = MINUTE_MS,
) -> DayCourse:
    """The course of the day of `now_ms`. minutes: (when it began, micros of it) of each minute, or of what lasts `each_ms`, in order; what
    is not among them yet is in `spent_now`. limits: of the daily budget, the first from the day's beginning. parts: its compiled pacing.
    """
    zone = local.zone
    begin, end = zone.period_start_ms("day", now_ms), zone.next_day_ms(now_ms)
    return DayCourse(
        begin,
        end,
        now_ms,
        local,
        _summed(minutes, begin, now_ms, spent_now, each_ms),
        tuple(limits),
        _plan(begin, end, limits, Pace.of(parts), local),
        _ahead(now_ms, end, spent_now, forecast, local),
        tuple(sorted(marks, key=lambda mark: mark.at_ms)),
    )


def limit_at(limits: Sequence[Limit], ms: int) -> int | None:
    """The budget that holds at an instant, the first one before all of them."""
    found = limits[0][1] if limits else None
    for at, limit in limits:
        if at <= ms:
            found = limit
    return found


def value_at(points: Sequence[Point], ms: int) -> int:
    """The micros by an instant: those of the last point up to it."""
    found = 0
    for at, micros in points:
        if at > ms:
            break
        found = micros
    return found


def _summed(minutes: Iterable[Point], begin: int, now_ms: int, spent_now: int, each_ms: int) -> tuple[Point, ...]:
    points, total = [(begin, 0)], 0
    for at, micros in minutes:
        if begin <= at < now_ms:
            # Before it nothing was spent, and in it evenly.
            points += [(at, total), (min(at + each_ms, now_ms), total + micros)]
            total += micros
    # The log is a moment behind Redis.
    return (*points, (now_ms, spent_now))


def _plan(begin: int, end: int, limits: Sequence[Limit], pace: Pace | None, local: Local) -> tuple[Point, ...]:
    found = []
    for ms in (*range(begin, end, STEP_MS), end):
        limit = limit_at(limits, min(ms, end - 1))
        if limit is not None:
            due = limit * (ms - begin) // (end - begin)
            if pace is not None:
                due = limit if ms == end else pace.allowed(limit, ms, local.zone)
            found.append((ms, due))
    return tuple(found)


def _ahead(now_ms: int, end: int, spent: int, forecast: Forecast | None, local: Local) -> tuple[Ahead, ...]:
    """From now to the day's end, as a usual day goes."""
    if forecast is None:
        return ()
    ends, zone = forecast.day, local.zone
    before = forecast.part_by(zone.local_ms(now_ms) % DAY_MS)
    found = [Ahead(now_ms, spent, spent, spent)]
    for ms in (*range(now_ms - now_ms % STEP_MS + STEP_MS, end, STEP_MS), end):
        by = PPM if ms == end else forecast.part_by(zone.local_ms(ms) % DAY_MS)
        # A day of which nothing is left by its usual shape goes on evenly.
        part = (by - before) * PPM // (PPM - before) if before < PPM else (ms - now_ms) * PPM // (end - now_ms)
        low, expected, high = (
            spent + max(0, micros - spent) * part // PPM for micros in (ends.low, ends.expected, ends.high)
        )
        found.append(Ahead(ms, expected, low, high))
    return tuple(found)
