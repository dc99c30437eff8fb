"""Why a campaign is not running: a set of causes kept apart. It runs when the set is empty.

A person's switch (`manual`) is one cause among others, so no job can undo it. On the wire a set is a bit mask; new causes get new bits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from engine.domain.periods import at_ms, next_day_ms, next_month_ms
from engine.domain.schedule import Schedule

Status = Literal["active", "paused"]

MANUAL: Final = "manual"
ARCHIVED: Final = "archived"
SCHEDULE: Final = "schedule"
DAILY_BUDGET: Final = "daily_budget"
MONTHLY_BUDGET: Final = "monthly_budget"
ORDER: Final = (MANUAL, ARCHIVED, SCHEDULE, DAILY_BUDGET, MONTHLY_BUDGET)
"""The order in which causes are listed; a cause's place is its bit in the mask. Append only."""

_PASSING: Final = frozenset({SCHEDULE, DAILY_BUDGET, MONTHLY_BUDGET})
"""Causes that end by themselves."""
_WORDS: Final = {
    MANUAL: "switched off by a person",
    ARCHIVED: "archived",
    SCHEDULE: "outside its schedule",
    DAILY_BUDGET: "daily budget used up",
    MONTHLY_BUDGET: "monthly budget used up",
}
_BITS: Final = {cause: 1 << place for place, cause in enumerate(ORDER)}
_SETS: Final = [tuple(c for place, c in enumerate(ORDER) if mask >> place & 1) for mask in range(1 << len(ORDER))]


def mask_of(reasons: Iterable[str]) -> int:
    """The bit mask of a set of causes."""
    mask = 0
    for cause in reasons:
        mask |= _BITS[cause]
    return mask


def reasons_of(mask: int) -> tuple[str, ...]:
    """The causes in a bit mask, in the listed order."""
    return _SETS[mask]


def status_of(reasons: Iterable[str]) -> Status:
    """A campaign is active when nothing stops it."""
    return "paused" if any(True for _ in reasons) else "active"


def again_ms(reasons: Iterable[str], schedule: Schedule | None, now_ms: int) -> int | None:
    """The instant at which every cause has ended by itself; None when there is none, or one that only a person ends, or none can be told.

    A schedule that opens before a budget's next period may be closed again by then, so it is asked at that instant. None is a schedule that is not known.
    """
    causes = set(reasons)
    if not causes or not causes <= _PASSING or (SCHEDULE in causes and schedule is None):
        return None
    at = now_ms
    if MONTHLY_BUDGET in causes:
        at = next_month_ms(now_ms)
    elif DAILY_BUDGET in causes:
        at = next_day_ms(now_ms)
    if schedule is None or schedule.is_within_ms(at):
        # Where the causes are older than now, its window may have opened since: nothing is left to wait for.
        return None if at == now_ms else at
    return schedule.next_change_ms(at)


def sentence(reasons: Iterable[str], schedule: Schedule | None, now_ms: int) -> str:
    """The causes in words: "paused: daily budget used up, again at 00:00 UTC"; "active" when there are none.

    One time at most, at which it runs again: that of one cause of several would promise what the others break.
    """
    causes = [cause for cause in ORDER if cause in set(reasons)]
    if not causes:
        return "active"
    again = again_ms(causes, schedule, now_ms)
    words = "paused: " + "; ".join(_WORDS[cause] for cause in causes)
    if again is None:
        return words
    return words + (", again at " if len(causes) == 1 else "; runs again at ") + _when(again, now_ms)


def _when(ms: int, now_ms: int) -> str:
    """A time of day within the coming 24 hours, else with its date."""
    near = ms - now_ms <= 24 * 3_600_000
    return f"{at_ms(ms):%H:%M} UTC" if near else f"{at_ms(ms):%d %b %H:%M} UTC"
