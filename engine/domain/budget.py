"""The budgets that a spend is checked against, as one list, and the budget decision as pure functions.

`lua/lib/charge.lua` decides the same on the hot path.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from engine.domain.causes import DAILY_BUDGET, MONTHLY_BUDGET
from engine.domain.periods import Period


class BudgetKind(NamedTuple):
    """One row of the list of budgets.

    cause: its public name, and the cause it gives when used up. period: what its spend is counted over.
    stored: the field of its limit in a brand's hash; `<stored>_at` is the instant at which it last became used up or free.
    words and title: for people, of the budget and of the time that it is over.
    """

    cause: str
    period: Period
    stored: str
    words: str
    title: str

    @property
    def column(self) -> str:
        """The column of its limit in PostgreSQL."""
        return f"{self.cause}_micros"

    def limit_of(self, row: object) -> int | None:
        """Its limit in a row of the catalog."""
        limit: int | None = getattr(row, self.column)
        return limit


BUDGETS: Final = (
    BudgetKind(DAILY_BUDGET, "day", "daily", "daily budget", "Today"),
    BudgetKind(MONTHLY_BUDGET, "month", "monthly", "monthly budget", "This month"),
)
"""Append only: lines of Redis hold budgets in this order. `lua/lib/plan.lua` has the same list."""
_FIRST: Final = 2
"""Budgets of which lines hold all limits together, then all spends, and so on; those added since stand behind them one by one."""


class Budget(NamedTuple):
    """One limit over one period, in micros.

    cause: the cause it gives when used up. limit: None is no limit. spent: in its present period.
    since_ms: when it last became used up or free again, where that was told.
    """

    cause: str
    limit: int | None
    spent: int
    since_ms: int | None = None

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


def budgets_of(fields: Sequence[str], each: int) -> list[tuple[str, ...]]:
    """The fields of a line, budget by budget, of `each` fields a budget. Raises ValueError where the first two are not whole.

    The first two budgets are woven (`limit:limit:spend:spend`); each further one follows whole (`:limit:spend`). What is left over is of a
    later release.
    """
    woven = _FIRST * each
    if len(fields) < woven:
        raise ValueError(f"{':'.join(fields)[:100]!r} tells too little of a brand")
    found = [tuple(fields[place:woven:_FIRST]) for place in range(_FIRST)]
    if len(fields) > woven:
        found += [tuple(fields[start : start + each]) for start in range(woven, len(fields) - each + 1, each)]
    return found[: len(BUDGETS)]


def used_up_causes(budgets: Iterable[Budget]) -> tuple[str, ...]:
    """The causes of the budgets of which nothing is left."""
    return tuple(budget.cause for budget in budgets if budget.used_up)


def refusal_causes(budgets: Iterable[Budget], amount: int) -> tuple[str, ...]:
    """The causes for which a `try_spend` of `amount` micros is refused; empty when it fits everywhere."""
    return tuple(budget.cause for budget in budgets if budget.used_up or not budget.allows(amount))


def daily_above_monthly(daily: int | None, monthly: int | None) -> bool:
    """Whether a daily budget can never be reached, because its month's is smaller: allowed, and most likely a slip."""
    return daily is not None and monthly is not None and daily > monthly
