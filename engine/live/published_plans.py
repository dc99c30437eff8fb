"""Plans of brands and campaigns as publish takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from engine.domain.brake import NO_BRAKE, Brake
from engine.domain.budget import NO_LIMITS, OwnLimits
from engine.domain.flights import PlannedFlight
from engine.domain.limit_changes import Step, named_steps
from engine.domain.schedule import Schedule


@dataclass(frozen=True, slots=True)
class BrandPlan:
    """A brand's limits, to publish. create: never published and without log rows. pace: `domain/pacing.py`: `compiled`.
    zone: `lua/lib/local_day.lua`. steps: of scheduled changes.
    """

    brand_id: int
    version: int
    daily_limit: int | None
    monthly_limit: int | None
    archived: bool
    create: bool
    pace: tuple[str, ...] = ()
    zone: str = ""
    steps: tuple[Step, ...] = ()
    paused: bool = False
    rollover_cap: int | None = None

    @property
    def stops(self) -> str:
        """What stops all of it, as its field in Redis has it: 0, or the sum of 1 (archived) and 2 (paused)."""
        return str(self.archived + 2 * self.paused)

    @property
    def parts(self) -> str:
        """Its pacing, zone and steps as publish takes them; nothing where it has none."""
        zone = [f"zone={self.zone}"] if self.zone else []
        cap = [] if self.rollover_cap is None else [f"ro={self.rollover_cap}"]
        return "".join(f"|{named}" for named in (*self.pace, *zone, *named_steps(self.steps), *cap))


@dataclass(frozen=True, slots=True)
class CampaignPlan:
    """A campaign's switch, schedule, own limits, flights and brake, to publish. base: what its lifetime counter begins with, where it begins."""

    campaign_id: int
    version: int
    enabled: bool
    archived: bool
    schedule: Schedule
    create: bool
    limits: OwnLimits = NO_LIMITS
    base: LifetimeBase | None = None
    flights: tuple[PlannedFlight, ...] = ()
    brake: Brake = NO_BRAKE
    pace: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def own(self) -> str:
        """Its limits, flights, pacing, steps and brake as publish takes them; nothing where it has none."""
        brake = [f"br={self.brake.compiled}"] if self.brake.compiled else []
        return "|".join(
            [
                self.limits.compiled,
                *(flight.compiled for flight in self.flights),
                *self.pace,
                *named_steps(self.steps),
                *brake,
            ]
        )


class LifetimeBase(NamedTuple):
    """What the log has of a campaign before a month (`202611`), in micros, read when it had all entries up to number n."""

    micros: int
    month: int
    n: int
