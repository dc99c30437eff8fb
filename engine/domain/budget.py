"""The list of budgets that a spend is checked against, and the state of one budget.

The scripts decide about spends; their list is `lua/lib/budgets.lua`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from engine.domain.causes import (
    BREAKER,
    CAMPAIGN_DAILY_BUDGET,
    CAMPAIGN_MONTHLY_BUDGET,
    DAILY_BUDGET,
    FLIGHT_BUDGET,
    MONTHLY_BUDGET,
    RATE,
)
from engine.domain.periods import Period


class BudgetKind(NamedTuple):
    """One row of the list of budgets.

    cause: its public name, and the cause that it gives when used up. period: the period over which spend counts.
    stored: the field of its limit in a brand's hash; `<stored>_at` is the instant at which it last became used up or free.
    words and title: names for people, of the budget and of its current period.
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
"""Append only: replies of the scripts have budgets in this order. `lua/lib/budgets.lua` has the same list."""
_FIRST: Final = 2
"""The budgets whose fields alternate in a line (`limit:limit:spend:spend`); the fields of later budgets follow, budget by budget."""


class OwnBudgetKind(NamedTuple):
    """One row of the list of a campaign's own budgets. period: None is the campaign's whole life.

    name: of its option, its form field and, with `_budget`, its JSON field. words: for people.
    """

    cause: str
    period: Period | None
    name: str
    words: str

    @property
    def column(self) -> str:
        """The column of its limit in PostgreSQL."""
        return f"{self.name}_budget_micros"

    def limit_of(self, row: object) -> int | None:
        """Its limit in a row of the catalog."""
        limit: int | None = getattr(row, self.column)
        return limit


CAMPAIGN_BUDGETS: Final = (
    OwnBudgetKind(CAMPAIGN_DAILY_BUDGET, "day", "daily", "own daily budget"),
    OwnBudgetKind(CAMPAIGN_MONTHLY_BUDGET, "month", "monthly", "own monthly budget"),
    OwnBudgetKind(FLIGHT_BUDGET, None, "lifetime", "lifetime budget"),
)
"""Append only, as above. `lua/lib/budgets.lua` has the same list."""
OWN_CAUSES: Final = frozenset(kind.cause for kind in CAMPAIGN_BUDGETS)
MOVED_CAUSES: Final = OWN_CAUSES | {RATE, BREAKER}
"""The causes of a campaign alone that a call may begin."""
LIFETIME_FIELD: Final = "f:0"
"""The counter of a lifetime budget in a campaign's hash; there only while the campaign has one."""


class OwnLimits(NamedTuple):
    """A campaign's own limits in micros; None is no limit, 0 spends nothing."""

    daily: int | None = None
    monthly: int | None = None
    lifetime: int | None = None

    @property
    def compiled(self) -> str:
        """The field `x` of its hash: `<daily>:<monthly>:<lifetime>`, or nothing where none has a limit."""
        return ":".join(map(_digits, self)) if any(limit is not None for limit in self) else ""


NO_LIMITS: Final = OwnLimits()
LIFTED: Final = "::"
"""The field `x` of a campaign whose limits were all lifted."""


def _digits(limit: int | None) -> str:
    return "" if limit is None else str(limit)


class Budget(NamedTuple):
    """One limit over one period, in micros.

    cause: the cause that it gives when used up. limit: None is no limit. spent: in the current period.
    since_ms: when it last became used up or free again, where known.
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
        """Micros left, negative when record calls exceeded the limit; None when there is no limit."""
        return None if self.limit is None else self.limit - self.spent


def budgets_of(fields: Sequence[str], each: int) -> list[tuple[str, ...]]:
    """Splits a line's fields by budget, `each` fields a budget. Raises ValueError where the first two budgets are incomplete.

    The fields of the first two alternate (`limit:limit:spend:spend`); those of each further budget follow together (`:limit:spend`).
    Ignores budgets of later releases.
    """
    woven = _FIRST * each
    if len(fields) < woven:
        raise ValueError(f"{':'.join(fields)[:100]!r} has too few fields of a brand")
    found = [tuple(fields[place:woven:_FIRST]) for place in range(_FIRST)]
    if len(fields) > woven:
        found += [tuple(fields[start : start + each]) for start in range(woven, len(fields) - each + 1, each)]
    return found[: len(BUDGETS)]


def used_up_causes(budgets: Iterable[Budget]) -> tuple[str, ...]:
    """The causes of the budgets of which nothing is left."""
    return tuple(budget.cause for budget in budgets if budget.used_up)


def daily_above_monthly(daily: int | None, monthly: int | None) -> bool:
    """Whether a daily budget can never be reached, because the monthly one is smaller. Allowed, but probably a mistake."""
    return daily is not None and monthly is not None and daily > monthly
