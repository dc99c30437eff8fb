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


def sentence(reasons: Iterable[str], schedule: Schedule, now_ms: int) -> str:
    """The causes in words: "paused: daily budget used up, again at 00:00 UTC"; "active" when there are none."""
    parts = [_words(cause, schedule, now_ms) for cause in ORDER if cause in set(reasons)]
    return "paused: " + "; ".join(parts) if parts else "active"


def _words(cause: str, schedule: Schedule, now_ms: int) -> str:
    if cause == MANUAL:
        return "switched off by a person"
    if cause == ARCHIVED:
        return "archived"
    if cause == DAILY_BUDGET:
        return f"daily budget used up, again at {_when(next_day_ms(now_ms), now_ms)}"
    if cause == MONTHLY_BUDGET:
        return f"monthly budget used up, again at {_when(next_month_ms(now_ms), now_ms)}"
    # Where the causes are older than now, it may have opened since: the next change would then be its end.
    opens = None if schedule.is_within_ms(now_ms) else schedule.next_change_ms(now_ms)
    return "outside its schedule" + (f", again at {_when(opens, now_ms)}" if opens is not None else "")


def _when(ms: int, now_ms: int) -> str:
    """A time of day within the coming 24 hours, else with its date."""
    near = ms - now_ms <= 24 * 3_600_000
    return f"{at_ms(ms):%H:%M} UTC" if near else f"{at_ms(ms):%d %b %H:%M} UTC"
