"""What a watch knows of budgets: of each whether it is used up, and until when that holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from engine.client.watch.messages import OwnSnapshot
from engine.domain.budget import CAMPAIGN_BUDGETS
from engine.domain.causes import BREAKER, CAMPAIGN_DAILY_BUDGET, FLIGHT, FLIGHT_BUDGET, cause_of
from engine.domain.flights import PlannedFlight, in_force
from engine.domain.periods import Period, period_of
from engine.domain.zone_text import Zone

NEVER: Final = -1
_BREAKER: Final = cause_of(BREAKER).bit
_FLIGHT: Final = cause_of(FLIGHT).bit
_FLIGHT_BUDGET: Final = cause_of(FLIGHT_BUDGET).bit
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

    def set(self, used_up: bool, local_ms: int) -> None:
        """Sets the state at a local time of the brand."""
        self.used_up, self.period = used_up, _ALWAYS if self.kind is None else period_of(self.kind, local_ms)

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
    """A campaign's own budgets, flights and breaker, as of journal number `n`. edge_ms: the next edge of a flight that is waited
    for.
    """

    __slots__ = ("breaker_n", "broken", "budgets", "edge_ms", "flights", "full", "n", "part_of")

    def __init__(self) -> None:
        self.n = self.breaker_n = NEVER
        self.broken = False
        self.flights: tuple[PlannedFlight, ...] = ()
        self.full: frozenset[int] = frozenset()
        """The numbers of the flights whose budget is used up."""
        self.edge_ms: int | None = None
        self.part_of: int | None = None
        """The flight in force when the state of the daily budget was told. The part of a day is each flight's own."""
        self.budgets = {kind.cause: BudgetState(kind.cause, kind.period) for kind in CAMPAIGN_BUDGETS}

    def see(self, seen: OwnSnapshot, zone: Zone) -> None:
        """Takes the limits of a plan that is not older, and what is used up unless a later change is known."""
        for cause, state in self.budgets.items():
            state.zero_limit = cause in seen.zero_limits
            if seen.n >= self.n:
                state.set(cause in seen.used_up, zone.local_ms(seen.at_ms))
        self.flights = tuple(flight for flight, _ in seen.flights)
        if seen.n >= self.n:
            self.part_of = self._flight_no(seen.at_ms)
        if seen.n >= self.n:
            self.full = frozenset(flight.no for flight, used_up in seen.flights if used_up)
        if seen.n >= self.breaker_n:
            self.breaker_n, self.broken = seen.n, seen.broken
        self.n = max(self.n, seen.n)

    def move(self, cause: str, used_up: bool, at_ms: int, n: int, zone: Zone) -> None:
        """One of them was used up or freed, or the breaker opened. An older message changes nothing."""
        if cause == BREAKER:
            if n >= self.breaker_n:
                self.breaker_n, self.broken = n, used_up
            return
        if n >= self.n:
            self.n = n
            if cause == CAMPAIGN_DAILY_BUDGET:
                self.part_of = self._flight_no(at_ms)
            flight = in_force(self.flights, at_ms) if cause == FLIGHT_BUDGET else None
            if flight is not None:
                self.full = self.full | {flight.no} if used_up else self.full - {flight.no}
            self.budgets[cause].set(used_up, zone.local_ms(at_ms))

    def stopping(self, now_ms: int, day: int, month: int) -> tuple[int, bool]:
        """As `stopping`, with the breaker, and with flights, which stand in the place of a lifetime budget."""
        mask, expires = self._money(now_ms, day, month)
        return mask | (_BREAKER if self.broken else 0), expires

    def _money(self, now_ms: int, day: int, month: int) -> tuple[int, bool]:
        if not self.flights:
            return stopping(self.budgets.values(), day, month)
        flight = in_force(self.flights, now_ms)
        left_out = {FLIGHT_BUDGET}
        if any(known.even for known in self.flights) and self.part_of != (None if flight is None else flight.no):
            left_out.add(CAMPAIGN_DAILY_BUDGET)
        mask, expires = stopping((s for cause, s in self.budgets.items() if cause not in left_out), day, month)
        if flight is None:
            return mask | _FLIGHT, expires
        return mask | (_FLIGHT_BUDGET if flight.no in self.full else 0), expires

    def _flight_no(self, at_ms: int) -> int | None:
        flight = in_force(self.flights, at_ms)
        return None if flight is None else flight.no

    def next_edge_ms(self, now_ms: int) -> int | None:
        """When a flight begins or ends next."""
        return min((edge for flight in self.flights for edge in flight[2:4] if edge > now_ms), default=None)
