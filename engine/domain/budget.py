"""The budget decision as pure functions: what Lua does on the hot path (`lua/lib/charge.lua`), said once in Python.

The budgets that a spend is checked against are a list, so that a campaign's own budget or a flight fits in later.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budget:
    """One limit over one period: the cause it gives when used up, its limit in micros (None = no limit) and what is spent of it."""

    cause: str
    limit: int | None
    spent: int

    @property
    def used_up(self) -> bool:
        """Nothing is left: spend >= budget. A budget of 0 is used up from the start."""
        return self.limit is not None and self.spent >= self.limit

    def allows(self, amount: int) -> bool:
        """Whether the amount still fits."""
        return self.limit is None or self.spent + amount <= self.limit

    @property
    def remaining(self) -> int | None:
        """Micros left, negative when facts went past the limit; None when there is no limit."""
        return None if self.limit is None else self.limit - self.spent


def used_up_causes(budgets: Iterable[Budget]) -> tuple[str, ...]:
    """The causes of the budgets of which nothing is left."""
    return tuple(budget.cause for budget in budgets if budget.used_up)


def refusal_causes(budgets: Iterable[Budget], amount: int) -> tuple[str, ...]:
    """The causes for which a `try_spend` of `amount` micros is refused; empty when it fits everywhere."""
    return tuple(budget.cause for budget in budgets if budget.used_up or not budget.allows(amount))


def daily_above_monthly(daily: int | None, monthly: int | None) -> bool:
    """Whether a daily budget can never be reached, because its month's is smaller: allowed, and most likely a slip."""
    return daily is not None and monthly is not None and daily > monthly
