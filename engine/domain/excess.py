"""Why spend is above the budget: the budget was lowered below it, spend was recorded past it, or both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BudgetChange:
    """A change of one budget (None = no limit), and what was spent in its period at that instant (epoch ms)."""

    at_ms: int
    old: int | None
    new: int | None
    spent: int


@dataclass(frozen=True, slots=True)
class Excess:
    """The amount spent past a budget, in micros.

    lowered: the change that took the budget below what was spent, None where none did. late: how much of it was
    recorded past the budget in force.
    """

    micros: int
    late: int
    lowered: BudgetChange | None


def excess_of(spent: int, budget: int | None, changes: Iterable[BudgetChange]) -> Excess | None:
    """The excess of a period, by the changes of its budget since it began, oldest first; None when nothing is spent
    past it.

    The most that was ever spent within a budget in force is due to a later, lower budget; the rest was recorded late.
    """
    if budget is None or spent <= budget:
        return None
    within, lowered = budget, None
    for change in changes:
        allowed = change.spent if change.old is None else min(change.spent, change.old)
        if allowed > budget and allowed >= within:
            within, lowered = allowed, change
    return Excess(spent - budget, max(0, spent - within), lowered)
