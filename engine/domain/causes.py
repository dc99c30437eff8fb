"""Why a campaign is not running: a set of causes. It runs when the set is empty.

`CAUSES` is the one table of causes, for all code that reads, writes, shows or counts them.
A person's switch (`manual`) is one cause among others, so no job can undo it. In Redis a set is a bit mask.
The set is open: a bit or name of a later release reads as `other` everywhere, and stops a campaign like any standing
cause.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from engine.domain.periods import Period
from engine.domain.schedule import Schedule
from engine.domain.zone_text import IN_UTC, Local

Status = Literal["active", "paused"]

MANUAL: Final = "manual"
ARCHIVED: Final = "archived"
SCHEDULE: Final = "schedule"
DAILY_BUDGET: Final = "daily_budget"
MONTHLY_BUDGET: Final = "monthly_budget"
CAMPAIGN_DAILY_BUDGET: Final = "campaign_daily_budget"
CAMPAIGN_MONTHLY_BUDGET: Final = "campaign_monthly_budget"
FLIGHT_BUDGET: Final = "flight_budget"
"""The cause of the budget of a flight, and of a campaign's lifetime budget, which is a flight without ends."""
FLIGHT: Final = "flight"
PACING: Final = "pacing"
"""More is spent than is due by now, or the minute has spent its cap: a passing cause."""
RATE: Final = "rate"
"""The limit of a minute: a passing cause."""
BREAKER: Final = "breaker"
BRAND_PAUSED: Final = "brand_paused"
"""A person paused the whole brand: its campaigns keep their own switches."""
OTHER: Final = "other"
"""The name for causes that this release does not know."""


class Cause(NamedTuple):
    """One row of the table.

    bit: its bit in a mask. kind: `switch` (a person ends it), `clock` or `money` (time ends it).
    lasting: a `standing` cause stops a campaign and is its status; a `passing` one refuses spends of this moment and
    is never stored.
    sentence and label: for people, in full and as a word or two.
    since: which instant is its beginning. period: of a money cause, the period after which it ends; None: never by itself.
    """

    bit: int
    name: str
    kind: Literal["switch", "clock", "money"]
    lasting: Literal["standing", "passing"]
    sentence: str
    label: str
    since: Literal[
        "switch", "archive", "window", "budget", "own_budget", "flight", "breaker", "brand", "passing", "unknown"
    ]
    period: Period | None = None


CAUSES: Final = (
    Cause(1, MANUAL, "switch", "standing", "switched off by a person", "switched off", "switch"),
    Cause(2, ARCHIVED, "switch", "standing", "archived", "archived", "archive"),
    Cause(4, SCHEDULE, "clock", "standing", "outside its schedule", "off schedule", "window"),
    Cause(8, DAILY_BUDGET, "money", "standing", "daily budget used up", "daily budget", "budget", "day"),
    Cause(16, MONTHLY_BUDGET, "money", "standing", "monthly budget used up", "monthly budget", "budget", "month"),
    Cause(
        32,
        CAMPAIGN_DAILY_BUDGET,
        "money",
        "standing",
        "its own daily budget used up",
        "own daily budget",
        "own_budget",
        "day",
    ),
    Cause(
        64,
        CAMPAIGN_MONTHLY_BUDGET,
        "money",
        "standing",
        "its own monthly budget used up",
        "own monthly budget",
        "own_budget",
        "month",
    ),
    Cause(
        128,
        FLIGHT_BUDGET,
        "money",
        "standing",
        "its lifetime or flight budget used up",
        "flight budget",
        "own_budget",
    ),
    Cause(256, FLIGHT, "clock", "standing", "outside its flights", "between flights", "flight"),
    Cause(512, PACING, "clock", "passing", "held back by its pacing", "pacing", "passing"),
    Cause(1024, RATE, "money", "passing", "its limit for this minute reached", "minute's limit", "passing"),
    Cause(2048, BREAKER, "switch", "standing", "switched off by its breaker", "breaker open", "breaker"),
    Cause(4096, BRAND_PAUSED, "switch", "standing", "brand paused", "brand paused", "brand"),
)
"""Append only: a bit is never given to another cause. `lua/lib/gates.lua` and `lua/lib/budgets.lua` have the same
bits.
"""
_OTHER: Final = Cause(
    1 << 52, OTHER, "switch", "standing", "stopped by a cause of a later release", "other cause", "unknown"
)
"""The last bit that Lua's numbers represent exactly; no cause gets it."""

ORDER: Final = tuple(row.name for row in CAUSES)
"""The order in which causes are listed; `other` comes last."""
_ROWS: Final = {row.name: row for row in CAUSES}
_KNOWN_BITS: Final = sum(row.bit for row in CAUSES)
_PASSING_BITS: Final = sum(row.bit for row in CAUSES if row.lasting == "passing")
_SETS: Final[dict[int, tuple[str, ...]]] = {}
"""The sets of known causes that were met."""


def cause_of(name: str) -> Cause:
    """The row of a cause; that of `other` for a name that is not in the table."""
    return _ROWS.get(name, _OTHER)


def mask_of(reasons: Iterable[str]) -> int:
    """The bit mask of a set of causes."""
    mask = 0
    for name in reasons:
        mask |= cause_of(name).bit
    return mask


def reasons_of(mask: int) -> tuple[str, ...]:
    """The causes in a bit mask, in the listed order; `other`, once, for all bits that are not in the table."""
    found = _SETS.get(mask)
    if found is None:
        found = tuple(row.name for row in CAUSES if mask & row.bit)
        if mask & ~_KNOWN_BITS:
            return (*found, OTHER)
        _SETS[mask] = found
    return found


def in_order(reasons: Iterable[str]) -> tuple[str, ...]:
    """Causes in the listed order, each once; `other` for all names that are not in the table."""
    given = set(reasons)
    known = tuple(name for name in ORDER if name in given)
    return known if len(known) == len(given) else (*known, OTHER)


def standing_mask(mask: int) -> int:
    """A bit mask without its passing causes; a campaign's status is written from it."""
    return mask & ~_PASSING_BITS


def standing(reasons: Iterable[str]) -> tuple[str, ...]:
    """The same for causes by name, in the listed order."""
    return tuple(name for name in in_order(reasons) if cause_of(name).lasting == "standing")


def status_of(reasons: Iterable[str]) -> Status:
    """A campaign is active when no standing cause stops it."""
    return "paused" if any(cause_of(name).lasting == "standing" for name in reasons) else "active"


def again_ms(
    reasons: Iterable[str],
    schedule: Schedule | None,
    now_ms: int,
    flight_ms: int | None = None,
    local: Local = IN_UTC,
) -> int | None:
    """The instant at which every cause has ended by itself; None when there is none, or one that only a person ends,
    or it is unknown.

    A schedule that opens before a budget's next period may be closed again by then, so it is evaluated at that
    instant. None is an unknown schedule. flight_ms: when the campaign's next flight begins, as far as it is known. local:
    the brand's clock.
    """
    causes = {cause_of(name) for name in reasons}
    if flight_ms is None and any(cause.since == "flight" for cause in causes):
        return None
    if not causes or any(cause.kind == "switch" or (cause.kind == "money" and not cause.period) for cause in causes):
        return None
    if schedule is None and any(cause.kind == "clock" for cause in causes):
        return None
    at = max([now_ms, *(local.zone.next_period_ms(cause.period, now_ms) for cause in causes if cause.period)])
    if any(cause.since == "flight" for cause in causes):
        at = max(at, flight_ms or at)
    if schedule is None or schedule.is_within_ms(at, local.zone):
        # Causes older than now: their window may have opened since.
        return None if at == now_ms else at
    return schedule.next_change_ms(at, local.zone)


def sentence(
    reasons: Iterable[str],
    schedule: Schedule | None,
    now_ms: int,
    flight_ms: int | None = None,
    local: Local = IN_UTC,
) -> str:
    """The causes for people: "paused: daily budget used up, again at 00:00 UTC"; "active" when there are none. local: the
    brand's clock, and how its zone is called.

    It names one time at most, at which the campaign runs again: the end of one cause of several would be misleading.
    """
    causes = standing(reasons)
    if not causes:
        return "active"
    again = again_ms(causes, schedule, now_ms, flight_ms, local)
    words = "paused: " + "; ".join(cause_of(name).sentence for name in causes)
    if again is None:
        return words
    return words + (", again at " if len(causes) == 1 else "; runs again at ") + _when(again, now_ms, local)


def _when(ms: int, now_ms: int, local: Local) -> str:
    """A time of day within the coming 24 hours, else with its date."""
    return local.words(ms, "%H:%M" if ms - now_ms <= 24 * 3_600_000 else "%d %b %H:%M")
