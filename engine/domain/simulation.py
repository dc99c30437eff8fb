"""A day of spends through the gate of a paced budget, and what is counted of it beside what really happened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from engine.domain.curves import PPM
from engine.domain.gate import Due, Gate
from engine.domain.periods import DAY_MS, HOUR_MS, MINUTE_MS

SLOT_MS: Final = 5 * MINUTE_MS
SLOTS: Final = DAY_MS // SLOT_MS
"""Of a day of 24 hours."""
_AN_HOUR: Final = HOUR_MS // SLOT_MS
Spends = Iterable[tuple[int, int]]
"""(ms since the day began, micros), in order."""


@dataclass(slots=True)
class Course:
    """What was spent of a budget over a day, and refused, in each five minutes; micros. due: the plan that it is
    compared with. length_ms: of the day, which clocks make longer or shorter; a whole number of quarters of an hour.
    """

    limit: int
    due: Due
    length_ms: int = DAY_MS
    spent: list[int] = field(init=False)
    refused: list[int] = field(init=False)
    tries: int = 0
    passed: int = 0

    def __post_init__(self) -> None:
        self.spent, self.refused = [0] * self.slots, [0] * self.slots

    @property
    def slots(self) -> int:
        """How many five minutes the day has."""
        return self.length_ms // SLOT_MS

    def add(self, ms: int, amount: int, *, passes: bool) -> None:
        """Counts one try."""
        (self.spent if passes else self.refused)[ms // SLOT_MS] += amount
        self.tries += 1
        self.passed += passes

    @property
    def total(self) -> int:
        """What was spent."""
        return sum(self.spent)

    @property
    def overspent(self) -> int:
        """What was spent past the limit."""
        return max(0, self.total - self.limit)

    @property
    def used_ppm(self) -> int:
        """The part of the budget that was spent."""
        return self.total * PPM // max(1, self.limit)

    @property
    def refused_ppm(self) -> int:
        """The part of the tries that were refused."""
        return (self.tries - self.passed) * PPM // max(1, self.tries)

    def marks(self) -> list[int]:
        """What is due at the beginning of each five minutes, and at the end of the day."""
        return [self.limit * self.due(slot * SLOT_MS) // PPM for slot in range(self.slots + 1)]

    def off(self) -> Iterator[int]:
        """What was spent above the plan by the end of each five minutes; negative below it."""
        so_far = 0
        for spent, planned in zip(self.spent, self.marks()[1:], strict=True):
            so_far += spent
            yield so_far - planned

    @property
    def most_off_ppm(self) -> int:
        """The largest distance from the plan at the end of five minutes, in ppm of the budget."""
        return max(map(abs, self.off())) * PPM // max(1, self.limit)

    @property
    def dark_hours(self) -> int:
        """The hours in which something was due and nothing was spent."""
        marks, hours = self.marks(), range(0, self.slots, _AN_HOUR)
        ends = {at: min(at + _AN_HOUR, self.slots) for at in hours}
        return sum(marks[ends[at]] > marks[at] and not any(self.spent[at : ends[at]]) for at in hours)

    @property
    def busiest_ppm(self) -> int:
        """The largest spend of five minutes, in ppm of what was due in them or of an even part of the budget, if that is more."""
        marks, least = self.marks(), max(1, self.limit // self.slots)
        plans = (max(least, marks[slot + 1] - marks[slot]) for slot in range(self.slots))
        return max(spent * PPM // plan for spent, plan in zip(self.spent, plans, strict=True))


def simulate(
    spends: Spends, limit: int, due: Due | None, catch_up: str, plan: Due, length_ms: int = DAY_MS
) -> tuple[Course, Course]:
    """Replays a day: what the gate lets through of it, and all of it.

    due: the curve of the gate; None is asap, which lets pass what fits into the limit. plan: the curve that both are
    compared with. length_ms: of the day.
    """
    gate = Gate(limit, due or plan, catch_up)
    simulated, actual = Course(limit, plan, length_ms), Course(limit, plan, length_ms)
    for ms, amount in spends:
        if due is not None:
            passes = gate.try_spend(ms, amount)
        elif passes := gate.spent + amount <= limit:
            gate.record_spend(ms, amount)
        simulated.add(ms, amount, passes=passes)
        actual.add(ms, amount, passes=True)
    return simulated, actual
