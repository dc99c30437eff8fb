"""What a watch knows of budgets: of each whether it is used up, and until when that holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from engine.client.watch.messages import OwnSnapshot
from engine.domain.budget import CAMPAIGN_BUDGETS
from engine.domain.causes import cause_of
from engine.domain.periods import Period, period_of

NEVER: Final = -1
_ALWAYS: Final = 0
"""The one period of a budget for a whole life."""


class BudgetState:
    """The last known state of a budget: whether it is used up in its period `period`. The next period frees it, except
    for a limit of 0. kind: None is a budget whose period never ends.
    """

    __slots__ = ("bit", "kind", "period", "used_up", "zero_limit")

    def __init__(self, cause: str, kind: Period | None) -> None:
        self.bit = cause_of(cause).bit
        self.kind = kind
        self.zero_limit = self.used_up = False
        self.period = NEVER

    def set(self, used_up: bool, at_ms: int) -> None:
        """Sets the state at an instant."""
        self.used_up, self.period = used_up, _ALWAYS if self.kind is None else period_of(self.kind, at_ms)

    def counts(self, period: int) -> bool:
        """Whether the state is of this period (or of one that our clock has not reached yet) and changes anything in
        it.
        """
        return self.period >= period and self.used_up != self.zero_limit

    def stops(self, period: int) -> bool:
        return self.zero_limit != self.counts(period)


def stopping(states: Iterable[BudgetState], day: int, month: int) -> tuple[int, bool]:
    """The causes of budgets that stop in a day and month, as a mask, and whether the next period may change them."""
    mask, expires = 0, False
    for state in states:
        period = day if state.kind == "day" else month if state.kind == "month" else _ALWAYS
        if state.stops(period):
            mask |= state.bit
        expires = expires or (state.kind is not None and state.counts(period))
    return mask, expires


class OwnBudgets:
    """A campaign's own budgets, as of journal number `n`."""

    __slots__ = ("budgets", "n")

    def __init__(self) -> None:
        self.n = NEVER
        self.budgets = {kind.cause: BudgetState(kind.cause, kind.period) for kind in CAMPAIGN_BUDGETS}

    def see(self, seen: OwnSnapshot) -> None:
        """Takes the limits of a plan that is not older, and what is used up unless a later change is known."""
        for cause, state in self.budgets.items():
            state.zero_limit = cause in seen.zero_limits
            if seen.n >= self.n:
                state.set(cause in seen.used_up, seen.at_ms)
        self.n = max(self.n, seen.n)

    def move(self, cause: str, used_up: bool, at_ms: int, n: int) -> None:
        """One of them was used up or freed. An older message changes nothing."""
        if n >= self.n:
            self.n = n
            self.budgets[cause].set(used_up, at_ms)
