"""A brand and its campaigns as the rules see them at an instant: what was published, what is spent, what is on hold, and the causes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from engine.domain.brake import NO_BRAKE, Brake
from engine.domain.budget import NO_LIMITS, Budget, OwnLimits, used_up_causes
from engine.domain.causes import (
    ARCHIVED,
    BREAKER,
    CAMPAIGN_DAILY_BUDGET,
    CAMPAIGN_MONTHLY_BUDGET,
    DAILY_BUDGET,
    FLIGHT,
    FLIGHT_BUDGET,
    MANUAL,
    MONTHLY_BUDGET,
    ORDER,
    PACING,
    RATE,
    SCHEDULE,
    in_order,
)
from engine.domain.flights import PlannedFlight
from engine.domain.periods import MINUTE_MS, day_of, month_of
from engine.domain.schedule import Schedule
from tests.model import pacing
from tests.model.answers import Figures


class Hold(NamedTuple):
    """Money set aside until it is settled, released or past its time. number: of the call that set a lease."""

    held: int
    expires_ms: int
    number: int = 0


class Counter(dict[str, int]):
    """What is spent in each period. A period is a name in the data (`d:20748`, `m:202611`), so a new one begins by itself at nothing."""

    def __missing__(self, period: str) -> int:
        return 0


BUDGETS: Final = (DAILY_BUDGET, MONTHLY_BUDGET)
OWN_BUDGETS: Final = (CAMPAIGN_DAILY_BUDGET, CAMPAIGN_MONTHLY_BUDGET, FLIGHT_BUDGET)
LIFETIME: Final = "f:0"
"""A campaign's whole life, as a period that never ends."""


def periods_of(ms: int) -> tuple[str, str]:
    """The day and the month that an instant belongs to."""
    return f"d:{day_of(ms)}", f"m:{month_of(ms)}"


@dataclass(slots=True)
class Campaign:
    """A campaign as it was last published, and what it spent. since: when each budget of its own last turned. minute: the number
    of the last minute in which it spent, and how much of that was spent. base: what of that minute the breaker does not count. broken_ms: since when
    the breaker is open.
    """

    campaign_id: int
    version: int
    enabled: bool
    archived: bool
    schedule: Schedule
    limits: OwnLimits = NO_LIMITS
    flights: tuple[PlannedFlight, ...] = ()
    pace: tuple[str, ...] = ()
    spent: Counter = field(default_factory=Counter)
    since: dict[str, int] = field(default_factory=dict)
    brake: Brake = NO_BRAKE
    minute: tuple[int, int] = (0, 0)
    base: tuple[int, int] = (0, 0)
    broken_ms: int | None = None

    @property
    def owner_id(self) -> int:
        return self.campaign_id

    def in_minute(self, now: int) -> int:
        """What it spent in the minute of an instant."""
        return self.minute[1] if self.minute[0] == now // MINUTE_MS else 0

    def before_trip(self, now: int) -> int | None:
        """What more the minute may have before the breaker opens. None without a breaker."""
        if self.brake.breaker is None:
            return None
        base = self.base[1] if self.base[0] == now // MINUTE_MS else 0
        return self.brake.breaker - self.in_minute(now) + base

    def flight(self, now: int) -> PlannedFlight | None:
        """The flight in force."""
        return next((flight for flight in self.flights if flight.starts_ms <= now < flight.ends_ms), None)

    def counter(self, now: int) -> int | None:
        """The number of the counter of the flight in force."""
        flight = self.flight(now)
        return flight.counter if flight else None

    def retry_ms(self, now: int) -> int | None:
        """When the next flight begins, outside all of them, if the campaign's hours are open then."""
        if not self.flights or self.flight(now):
            return None
        start = min((flight.starts_ms for flight in self.flights if flight.starts_ms > now), default=None)
        return start if start is not None and self.schedule.is_within_ms(start) else None

    def budgets(self, now: int) -> tuple[Budget, ...]:
        """Its own, in order. The flight in force stands in the place of the life."""
        flight = self.flight(now)
        daily, monthly, lifetime = self.limits
        limits = (daily, monthly, flight.limit if flight else lifetime)
        periods = (*periods_of(now), flight.field if flight else LIFETIME)
        own = zip(OWN_BUDGETS, limits, periods, strict=True)
        budgets = (Budget(cause, limit, self.spent[period]) for cause, limit, period in own)
        return (*budgets, Budget(RATE, self.brake.limit, self.in_minute(now)))

    def used_up(self, now: int) -> tuple[str, ...]:
        return used_up_causes(self.budgets(now))

    def paced(self, now: int, held: int) -> pacing.Owner | None:
        """Its pacing, where its daily budget has one. held: what it has on hold."""
        limit = self.limits.daily
        if not self.pace or limit is None:
            return None
        return pacing.Owner(self.pace, limit, self.spent[periods_of(now)[0]], self.in_minute(now), held)


@dataclass(slots=True)
class Brand:
    """A brand as it was last published, what it spent, and its open holds by (campaign, hold id). since: when each budget last turned."""

    brand_id: int
    version: int
    limits: tuple[int | None, int | None]
    archived: bool
    pace: tuple[str, ...] = ()
    spent: Counter = field(default_factory=Counter)
    since: dict[str, int] = field(default_factory=dict)
    holds: dict[tuple[int, str], Hold] = field(default_factory=dict)
    minute: tuple[int, int] = (0, 0)

    @property
    def owner_id(self) -> int:
        return self.brand_id

    def in_minute(self, now: int) -> int:
        """As of a campaign."""
        return self.minute[1] if self.minute[0] == now // MINUTE_MS else 0

    @property
    def held(self) -> int:
        """What is on hold, in whatever period it was reserved: it could be settled in any."""
        return sum(hold.held for hold in self.holds.values())

    def held_by(self, campaign_id: int) -> int:
        """What one of its campaigns has on hold."""
        return sum(hold.held for (campaign, _), hold in self.holds.items() if campaign == campaign_id)

    def budgets(self, now: int) -> tuple[Budget, ...]:
        """What a spend is checked against, in order."""
        return tuple(
            Budget(cause, limit, self.spent[period])
            for cause, limit, period in zip(BUDGETS, self.limits, periods_of(now), strict=True)
        )

    def used_up(self, now: int) -> tuple[str, ...]:
        return used_up_causes(self.budgets(now))

    def paced(self, now: int, held: int) -> pacing.Owner | None:
        """As of a campaign."""
        limit = self.limits[0]
        if not self.pace or limit is None:
            return None
        return pacing.Owner(self.pace, limit, self.spent[periods_of(now)[0]], self.in_minute(now), held)

    def figures(self, now: int) -> Figures:
        daily, monthly = self.budgets(now)
        return Figures(daily.spent, monthly.spent, daily.limit, monthly.limit)


def switched_off(brand: Brand, campaign: Campaign, now: int) -> tuple[str, ...]:
    """The causes that do not depend on money."""
    causes = {
        MANUAL: not campaign.enabled,
        ARCHIVED: campaign.archived or brand.archived,
        SCHEDULE: not campaign.schedule.is_within_ms(now),
        FLIGHT: bool(campaign.flights) and campaign.flight(now) is None,
        BREAKER: campaign.broken_ms is not None,
    }
    return tuple(cause for cause in ORDER if causes.get(cause))


def reasons(brand: Brand, campaign: Campaign, now: int) -> tuple[str, ...]:
    """Why a campaign is not running; empty when it is. What is on hold is not spent, and stops nothing by itself."""
    return in_order(switched_off(brand, campaign, now) + brand.used_up(now) + campaign.used_up(now))


def refusal(brand: Brand, campaign: Campaign, micros: int, now: int) -> tuple[str, ...]:
    """Why a spend or hold may not be made: the campaign may not run, or a budget has no room left beside what is on hold."""
    held = brand.held_by(campaign.campaign_id)
    too_small = [budget.cause for budget in brand.budgets(now) if not budget.allows(brand.held + micros)]
    too_small += [budget.cause for budget in campaign.budgets(now) if not budget.allows(held + micros)]
    paced = (PACING,) if is_held_back(brand, campaign, now) else ()
    return in_order(switched_off(brand, campaign, now) + tuple(too_small) + paced)


def owners(brand: Brand, campaign: Campaign, now: int) -> list[pacing.Owner]:
    """Those of a brand and its campaign that are paced."""
    found = (brand.paced(now, brand.held), campaign.paced(now, brand.held_by(campaign.campaign_id)))
    return [owner for owner in found if owner]


def is_held_back(brand: Brand, campaign: Campaign, now: int) -> bool:
    """Whether pacing refuses the next try or hold."""
    return any(pacing.gap(owner, now) <= 0 for owner in owners(brand, campaign, now))


def retry_ms(brand: Brand, campaign: Campaign, now: int) -> int | None:
    """When a try that the clock alone refuses would pass, if nothing is spent and no hold ends until then."""
    wanted = campaign.retry_ms(now) if campaign.flights and not campaign.flight(now) else now
    paced = owners(brand, campaign, now)
    if wanted is None or (wanted == now and not is_held_back(brand, campaign, now)):
        return None
    at = pacing.passes_ms(paced, now, wanted)
    if at is None or (wanted == now and campaign.counter(at) != campaign.counter(now)):
        return None
    return None if switched_off(brand, campaign, at) else at


def count(brand: Brand, campaign: Campaign, micros: int, now: int) -> None:
    """Money that is gone: it counts to the day and month of now, of the brand and of the campaign, and to the campaign's life
    and its flight."""
    for owner in (brand, campaign):
        for period in periods_of(now):
            owner.spent[period] += micros
        if owner.paced(now, 0) or (isinstance(owner, Campaign) and owner.brake.round):
            owner.minute = (now // MINUTE_MS, owner.in_minute(now) + micros)
    campaign.spent[LIFETIME] += micros
    flight = campaign.flight(now)
    if flight:
        campaign.spent[flight.field] += micros
    left = campaign.before_trip(now)
    if left is not None and left < 0 and campaign.broken_ms is None:
        campaign.broken_ms = now
