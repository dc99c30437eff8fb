"""What some campaigns of the demo have beside budgets and schedules: flights, a limit a minute, a breaker that opens.

The breaker opens under the demo's own traffic, and the demo closes it as a person would: through the catalog.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from engine.domain.brake import NO_BRAKE, Brake, parse_per_minute
from engine.domain.money import parse_budget
from engine.domain.periods import HOUR_MS
from engine.errors import BudgetError
from engine.flows.catalog.manage import Manage
from engine.ledger.catalog import Catalog

ACTOR: Final = "demo"
BURST_FROM_S: Final = 40
"""Seconds after the start when a bidder goes wrong for the first time."""
BURST_EVERY_S: Final = 240
BURST_S: Final = 20
RESUME_AFTER_S: Final = 45
"""Seconds that a breaker stays open, so that people see it."""


@dataclass(frozen=True, slots=True)
class Control:
    """A sample campaign's control. flights: hours and budget (a decimal string) of each, one after the other; each goes
    on with what the one before left. burst_bids_a_second: more bids while a bidder is wrong.
    """

    brake: Brake = NO_BRAKE
    flights: tuple[tuple[int, str], ...] = ()
    burst_bids_a_second: float = 0


CONTROLS: Final = {
    "Series premiere": Control(flights=((1, "50"), (24, "250"))),
    "Trial month": Control(Brake(limit=parse_per_minute("2.50/min", "rate_limit"))),
    "Live concert": Control(Brake(breaker=parse_per_minute("8/min", "breaker")), burst_bids_a_second=120),
}
"""By the campaign's name."""


def keep_flights(catalog: Catalog, manage: Manage, campaign_id: int, wanted: Sequence[tuple[int, str]]) -> None:
    """Adds flights from now on where the campaign has none that is not over."""
    now = catalog.flights.now_ms()
    if any(flight.ends_ms > now for flight in catalog.flights.of([campaign_id])[campaign_id]):
        return
    starts: int | None = None
    for hours, budget in wanted:
        ends = (now if starts is None else starts) + hours * HOUR_MS
        manage.add_flight(campaign_id, ACTOR, starts, ends, parse_budget(budget, "budget"), True)
        starts = ends


class Person:
    """Looks after open breakers: waits a while, and resumes the campaign. clock: seconds that never go back."""

    def __init__(self, manage: Manage, names: dict[int, str], clock: Callable[[], float] = time.monotonic) -> None:
        """names: of the campaigns, for what is said."""
        self._manage = manage
        self._names = names
        self._clock = clock
        self._open_since: dict[int, float] = {}
        self._told: set[int] = set()

    def saw(self, campaign_id: int) -> None:
        """A bidder was told that the campaign's breaker is open."""
        self._open_since.setdefault(campaign_id, self._clock())

    def look(self, say: Callable[[str], None]) -> None:
        """Says which breakers opened, and resumes campaigns whose breaker has been open long enough."""
        for campaign_id, since in list(self._open_since.items()):
            name = f"campaign {campaign_id} {self._names.get(campaign_id, '')!r}"
            if campaign_id not in self._told:
                self._told.add(campaign_id)
                say(f"a bidder went wrong: {name} is stopped by its breaker; it is resumed in {RESUME_AFTER_S} s")
            if self._clock() - since < RESUME_AFTER_S:
                continue
            try:
                self._manage.resume_campaign(campaign_id, ACTOR)
            except BudgetError as error:
                self._open_since[campaign_id] = self._clock()
                say(f"{name} is not resumed yet: {error}")
                continue
            del self._open_since[campaign_id]
            self._told.discard(campaign_id)
            say(f"{name} is resumed: its breaker is closed")
