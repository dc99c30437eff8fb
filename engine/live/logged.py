"""The content of a journal entry as values: spends, steps of holds, refunds, corrections of counters, and changes of
budgets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from engine.domain.ids import brand_of

UNITEMISED: Final = "unitemised"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedSpend:
    """One counted spend of an entry; position is its place in the call. kind: `spend`; `late` or `over` of a hold;
    `unitemised` for the sum of a campaign whose packed log does not add up to it; `refund` and `correction` (of an
    earlier day), with negative micros. day: its day number where that may not be the UTC day of its entry. late: it occurred on an
    earlier day than that of its entry.
    """

    position: int
    campaign_id: int
    amount_micros: int
    event_id: str | None = None
    occurred_ms: int | None = None
    kind: str = "spend"
    hold_id: str | None = None
    day: int | None = None
    refund_id: str | None = None
    late: bool = False

    @property
    def brand_id(self) -> int:
        return brand_of(self.campaign_id)


@dataclass(frozen=True, slots=True)
class HoldStep:
    """A step of a hold: it was made (`open`) or ended: `settled`, `over`, `late`, `released`, `expired`. Money in
    micros.
    """

    campaign_id: int
    hold_id: str
    state: str
    held_micros: int
    settled_micros: int = 0
    expires_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund that was given or, where `asked`, one that the log has to decide. micros: the amount to give back,
    above 0; day: a day number.
    """

    campaign_id: int
    event_id: str
    micros: int
    day: int
    refund_id: str | None
    asked: bool


@dataclass(frozen=True, slots=True)
class Adjustment:
    """Reconcile added a difference to a counter (`field`) of a brand or campaign."""

    owner: str
    owner_id: int
    field: str
    difference_micros: int
    name: str


@dataclass(frozen=True, slots=True)
class Change:
    """A budget became used up (`exhausted`) or free again (`restored`). cause: `other` for a budget of a later release.
    campaign_id: of a campaign's own budget.
    """

    brand_id: int
    cause: str
    direction: str
    campaign_id: int | None = None
