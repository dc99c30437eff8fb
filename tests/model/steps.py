"""Scheduled changes of limits as the rules say them: from a step's instant on its limits are in force. What a step uses up or frees is told by the next
call that counts, with the step's instant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from engine.domain.limit_changes import Step


class Turned(NamedTuple):
    """A budget that a step turned: whether it was used up before, and the step's instant."""

    was_used_up: bool
    at_ms: int


def limits_at(limits: tuple[int | None, ...], steps: Sequence[Step], now: int) -> tuple[int | None, ...]:
    """The daily and monthly limit at an instant, and what follows these unchanged."""
    passed = [step for step in steps if step.at_ms <= now]
    return (passed[-1].daily, passed[-1].monthly, *limits[2:]) if passed else limits


def turned(
    limits: tuple[int | None, ...],
    steps: Sequence[Step],
    spent: int,
    place: int,
    since: int | None,
    now: int,
    part: Callable[[int | None], int | None] = lambda limit: limit,
) -> Turned | None:
    """How the last step that has passed turned a budget, unless that was told since. part: what of a limit the day has."""
    passed = [step for step in steps if step.at_ms <= now]
    if not passed or (since is not None and since >= passed[-1].at_ms):
        return None
    before = part(limits_at(limits, passed[:-1], now)[place])
    after = part(limits_at(limits, passed, now)[place])
    was, is_ = (limit is not None and spent >= limit for limit in (before, after))
    return Turned(was, passed[-1].at_ms) if was != is_ else None
