"""How far a day of a paced budget was off its plan, where the offers covered the plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from engine.domain.simulation import SLOTS, Course

_SETTLED: Final = SLOTS // 24
"""For so many slots all that was due could be bought, before a slot counts: an hour."""


@dataclass(frozen=True, slots=True)
class OffPlan:
    """most: the largest distance from the plan at the end of five minutes. errors: of each five minutes, what was spent
    beside its plan. possible: what could be bought of the plan in all. Micros.
    """

    most: int
    errors: Sequence[int]
    possible: int


def off_plan(course: Course, supply: Sequence[int], ends: int = SLOTS) -> OffPlan:
    """supply: micros offered in each slot. ends: the slot before which all count. A slot counts where all that was due could
    be bought for an hour before it, or since the day began.
    """
    most, possible, settled, marks = 0, 0, 0, course.marks()
    errors: list[int] = []
    for slot, (off, offered) in enumerate(zip(course.off(), supply, strict=True)):
        possible = min(marks[slot + 1], possible + offered)
        settled = settled + 1 if possible == marks[slot + 1] else 0
        if slot < ends and (settled > _SETTLED or settled == slot + 1):
            most = max(most, abs(off))
            errors.append(abs(course.spent[slot] - (marks[slot + 1] - marks[slot])))
    return OffPlan(most, errors, possible)
