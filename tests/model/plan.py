"""A brand and its campaigns as the rules see them at an instant: what was published, what is spent, what is on hold, and the causes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from engine.domain.brake import NO_BRAKE, Brake
from engine.domain.budget import NO_LIMITS, Budget, OwnLimits, used_up_causes
from engine.domain.causes import (
    ARCHIVED,
    BRAND_PAUSED,
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
from engine.domain.limit_changes import Step
from engine.domain.periods import MINUTE_MS, day_start_ms
from engine.domain.schedule import Schedule
from engine.domain.zone_text import UTC, Zone
from tests.model import pacing
from tests.model.answers import Figures
from tests.model.rollover import NO_CARRY, Carry, walk, with_carry
from tests.model.steps import Turned, limits_at, turned


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


def periods_of(ms: int, zone: Zone = UTC) -> tuple[str, str]:
    """The day and the month that an instant belongs to, by the clock of a brand."""
    return f"d:{zone.day_of(ms)}", f"m:{zone.month_of(ms)}"


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
    limits_then: tuple[int, tuple[int | None, ...]] | None = None
    """A day, and the limits that it had at its end."""
    day_ends: dict[int, tuple[int | None, ...]] = field(default_factory=dict)
    """The same by the catalog, of days after which they changed."""
    pace: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    spent: Counter = field(default_factory=Counter)
    since: dict[str, int] = field(default_factory=dict)
    brake: Brake = NO_BRAKE
    minute: tuple[int, int] = (0, 0)
    rate: pacing.Rate | None = None
    begun: pacing.Rate | None = None
    base: tuple[int, int] = (0, 0)
    broken_ms: int | None = None
    zone: Zone = UTC
    """Of its brand."""

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
        return start if start is not None and self.schedule.is_within_ms(self.zone.local_ms(start)) else None

    def budgets(self, now: int) -> tuple[Budget, ...]:
        """Its own, in order. The flight in force stands in the place of the life."""
        flight = self.flight(now)
        daily, monthly, lifetime = limits_at(self.limits, self.steps, now)
        limits = (self.daily_limit(now, daily), monthly, flight.limit if flight else lifetime)
        periods = (*periods_of(now, self.zone), flight.field if flight else LIFETIME)
        own = zip(OWN_BUDGETS, limits, periods, strict=True)
        budgets = (Budget(cause, limit, self.spent[period]) for cause, limit, period in own)
        return (*budgets, Budget(RATE, self.brake.limit, self.in_minute(now)))

    def daily_limit(self, now: int, own: int | None) -> int | None:
        """Its own daily budget, or the day's part of a flight that is spread evenly, where that is less."""
        flight = self.flight(now)
        if flight is None or not flight.even:
            return own
        day = self.zone.day_of(now)
        morning = self.zone.midnight_ms(day)
        begins, ends = max(morning, flight.starts_ms), min(self.zone.midnight_ms(day + 1), flight.ends_ms)
        share = (ends - begins) * 10_000_000 // (flight.ends_ms - begins)
        today, all_of_it = self.spent[periods_of(now, self.zone)[0]], self.spent[flight.field]
        if flight.counter == flight.no and flight.starts_ms > morning:
            # Its counter began today, beside what the day had spent before.
            part = max(0, flight.limit * share // 10_000_000 + today - all_of_it)
        else:
            before_today = max(0, all_of_it - today)
            part = max(0, flight.limit - before_today) * share // 10_000_000
        return part if own is None else min(own, part)

    def used_up(self, now: int) -> tuple[str, ...]:
        return used_up_causes(self.budgets(now))

    def turned(self, now: int) -> dict[str, Turned]:
        """What the last step turned and no call told since, by the budgets' causes."""
        found = {
            cause: turned(
                self.limits, self.steps, self.spent[period], place, self.since.get(cause), now,
                lambda limit, place=place: self.daily_limit(now, limit) if place == 0 else limit,
            )
            for place, (cause, period) in enumerate(zip(OWN_BUDGETS[:2], periods_of(now, self.zone), strict=True))
        }  # fmt: skip
        return {cause: one for cause, one in found.items() if one}

    def paced(self, now: int, held: int, at: int | None = None) -> pacing.Owner | None:
        """Its pacing, where its daily budget has one. held: what it has on hold. at: the instant whose limit counts, now by default."""
        limit = self.daily_limit(now, limits_at(self.limits, self.steps, now if at is None else at)[0])
        if not self.pace or limit is None:
            return None
        spent = self.spent[periods_of(now, self.zone)[0]]
        return pacing.Owner(self.pace, limit, spent, self.in_minute(now), held, self.zone)


@dataclass(slots=True)
class Brand:
    """A brand as it was last published, what it spent, and its open holds by (campaign, hold id). since: when each budget last turned."""

    brand_id: int
    version: int
    limits: tuple[int | None, int | None]
    archived: bool
    limits_then: tuple[int, tuple[int | None, ...]] | None = None
    """A day, and the limits that it had at its end."""
    day_ends: dict[int, tuple[int | None, ...]] = field(default_factory=dict)
    """The same by the catalog, of days after which they changed."""
    pace: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    spent: Counter = field(default_factory=Counter)
    since: dict[str, int] = field(default_factory=dict)
    holds: dict[tuple[int, str], Hold] = field(default_factory=dict)
    minute: tuple[int, int] = (0, 0)
    rate: pacing.Rate | None = None
    begun: pacing.Rate | None = None
    """The rate of the present call's minute, which is kept where the call asks or counts anything."""
    zone: Zone = UTC
    paused: bool = False
    closed: int = 0
    """With a zone: the last of its days that takes no late spends."""
    total: int = 0
    """The last of its days that the log has closed."""
    born_ms: int = 0
    """When it was made, by the catalog."""
    cap: int | None = None
    """Of its rollover."""
    kept: Carry = NO_CARRY
    """The carry that was last written and told."""
    opened: Carry = NO_CARRY
    """That of the present day, as the day's first call found it."""

    def carry(self, now: int) -> Carry:
        """What its day begins with."""
        day = self.zone.day_of(now)
        if self.cap is not None and self.opened.day != day:
            self.opened = walk(self.kept, day, self.cap, self.limits, self.steps, self.spent, self.zone)
        return self.opened

    def carried(self, now: int) -> int:
        """What is carried into its day."""
        return 0 if self.cap is None else min(self.cap, self.carry(now).left)

    def limits_on(self, now: int, at: int | None = None) -> tuple[int | None, ...]:
        """The limits at an instant, now by default, with what is carried into the present day."""
        daily, monthly = limits_at(self.limits, self.steps, now if at is None else at)
        return with_carry(daily, self.carried(now)), monthly

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
            for cause, limit, period in zip(BUDGETS, self.limits_on(now), periods_of(now, self.zone), strict=True)
        )

    def used_up(self, now: int) -> tuple[str, ...]:
        return used_up_causes(self.budgets(now))

    def turned(self, now: int) -> dict[str, Turned]:
        """As of a campaign."""
        found = {
            cause: turned(
                self.limits, self.steps, self.spent[period], place, self.since.get(cause), now,
                lambda limit, place=place: with_carry(limit, self.carried(now)) if place == 0 else limit,
            )
            for place, (cause, period) in enumerate(zip(BUDGETS, periods_of(now, self.zone), strict=True))
        }  # fmt: skip
        return {cause: one for cause, one in found.items() if one}

    def paced(self, now: int, held: int, at: int | None = None) -> pacing.Owner | None:
        """As of a campaign."""
        limit = self.limits_on(now, at)[0]
        if not self.pace or limit is None:
            return None
        spent = self.spent[periods_of(now, self.zone)[0]]
        return pacing.Owner(self.pace, limit, spent, self.in_minute(now), held, self.zone, self.cap is not None)

    def figures(self, now: int) -> Figures:
        daily, monthly = self.budgets(now)
        return Figures(daily.spent, monthly.spent, daily.limit, monthly.limit)


def switched_off(brand: Brand, campaign: Campaign, now: int) -> tuple[str, ...]:
    """The causes that do not depend on money."""
    causes = {
        MANUAL: not campaign.enabled,
        ARCHIVED: campaign.archived or brand.archived,
        SCHEDULE: not campaign.schedule.is_within_ms(brand.zone.local_ms(now)),
        FLIGHT: bool(campaign.flights) and campaign.flight(now) is None,
        BREAKER: campaign.broken_ms is not None,
        BRAND_PAUSED: brand.paused,
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


def owners(brand: Brand, campaign: Campaign, now: int, at: int | None = None) -> list[pacing.Owner]:
    """Those of a brand and its campaign that are paced now, with the limits of another instant where that is given."""
    found = [
        owner.paced(now, held, at)
        for owner, held in ((brand, brand.held), (campaign, brand.held_by(campaign.campaign_id)))
        if owner.paced(now, held)
    ]
    return [owner for owner in found if owner]


def is_held_back(brand: Brand, campaign: Campaign, now: int) -> bool:
    """Whether pacing refuses the next try or hold."""
    return any(pacing.gap(owner, now) <= 0 for owner in owners(brand, campaign, now))


def retry_ms(brand: Brand, campaign: Campaign, now: int) -> int | None:
    """When a try that the clock alone refuses would pass, if nothing is spent and no hold ends until then."""
    wanted = campaign.retry_ms(now) if campaign.flights and not campaign.flight(now) else now
    if wanted is None or (wanted == now and not is_held_back(brand, campaign, now)):
        return None
    flight = campaign.flight(now)
    if (brand.steps or campaign.steps) and flight and flight.even:
        return None
    ahead = sorted({step.at_ms for owner in (brand, campaign) for step in owner.steps if step.at_ms > now})
    for begins, ends in itertools.pairwise((now, *ahead, math.inf)):
        start = max(wanted, int(begins))
        if start >= ends:
            continue
        at = pacing.passes_ms(owners(brand, campaign, now, start), now, start)
        if at is None or at >= ends or (wanted == now and campaign.counter(at) != campaign.counter(now)):
            continue
        if not switched_off(brand, campaign, at):
            return at
    return None


def begin_minute(brand: Brand, campaigns: Iterable[Campaign], now: int) -> None:
    """At the beginning of a call: the rates of its minute."""
    for owner, held in ((brand, brand.held), *((c, brand.held_by(c.campaign_id)) for c in campaigns)):
        paced = owner.paced(now, held)
        owner.begun = pacing.rate_at(paced, owner.rate, now) if paced else None


def keep_rate(owner: Brand | Campaign, now: int) -> None:
    """Keeps the rate of the minute; of an owner that is not paced, nothing."""
    owner.rate = owner.begun
    if owner.rate and owner.minute[0] != owner.rate.minute:
        owner.minute = (now // MINUTE_MS, 0)


def ask(brand: Brand, campaign: Campaign, micros: int, now: int) -> None:
    """A try or hold that was accepted, or that pacing refused for this minute."""
    for owner in (brand, campaign):
        if owner.begun:
            asked = min(owner.begun.asked + micros, pacing.MOST_ASKED)
            owner.begun = owner.begun._replace(asked=asked)
            keep_rate(owner, now)


def is_asked(causes: tuple[str, ...]) -> bool:
    """Whether a try with these causes counts as asked."""
    return PACING in causes and set(causes) <= {PACING, RATE}


def pass_rate(brand: Brand, campaign: Campaign) -> int:
    """The ppm of a campaign's offers to try: its brand's rate and its own together."""
    of_brand, own = (owner.begun.ppm if owner.begun else pacing.PPM for owner in (brand, campaign))
    return max(of_brand * own // pacing.PPM, 1000)


def count(brand: Brand, campaign: Campaign, micros: int, now: int, day: int | None = None) -> None:
    """Money that is gone: it counts to the day and month of now, or of a given day, of the brand and of the campaign, to the
    campaign's life and its flight, and to the minute of now."""
    for owner in (brand, campaign):
        for period in periods_of(now, owner.zone) if day is None else periods_of(day_start_ms(day)):
            owner.spent[period] += micros
        if owner.paced(now, 0) or (isinstance(owner, Campaign) and owner.brake.round):
            owner.minute = (now // MINUTE_MS, owner.in_minute(now) + micros)
            keep_rate(owner, now)
    campaign.spent[LIFETIME] += micros
    flight = campaign.flight(now)
    if flight:
        campaign.spent[flight.field] += micros
    left = campaign.before_trip(now)
    if left is not None and left < 0 and campaign.broken_ms is None:
        campaign.broken_ms = now
