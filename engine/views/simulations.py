"""Simulations: days of a campaign, from the spend log or from a file, through the gate of a paced budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, NamedTuple

from sqlalchemy import Engine

from engine.domain.curves import PPM, Points
from engine.domain.gate import Due
from engine.domain.pacing import CATCH_UP, LANDED_MS, TRAFFIC, Pace, Pacing, compiled
from engine.domain.periods import DAY_MS, date_of, day_number
from engine.domain.schedule import Schedule, weekday_of
from engine.domain.simulation import Course, simulate
from engine.domain.traffic import shape_of
from engine.domain.zone_text import Zone
from engine.domain.zones import BrandZone
from engine.errors import InvalidInput, NotFound
from engine.ledger import hourly
from engine.ledger.catalog import Catalog
from engine.ledger.hourly import Owner
from engine.views.forecasts import teaching_days

MOST_DAYS: Final = 92
_STRAIGHT: Final = Pace((None,) * 7, PPM, str(CATCH_UP))
Offered = Mapping[int, Sequence[tuple[int, int]]]
"""{day number: [(ms since the day began, micros)] in order}."""


class Wanted(NamedTuple):
    """What to simulate: days from first to last, by the brand's clock, a pacing, and the daily limit in micros (None is that of the catalog)."""

    first: date
    last: date
    pacing: Pacing
    daily: int | None = None


@dataclass(frozen=True, slots=True)
class SimulatedDay:
    """A day: what the gate lets through, and what the log has of the day."""

    day: date
    gate: Course
    actual: Course


@dataclass(frozen=True, slots=True)
class Simulation:
    """owner: whose daily budget it was, the campaign's or else its brand's. zones: of the brand. days: those with a spend."""

    owner: Owner
    limit: int
    zones: BrandZone
    days: tuple[SimulatedDay, ...]


class Simulations:
    """Reads days of the log and replays them."""

    def __init__(self, db: Engine, catalog: Catalog) -> None:
        self._db = db
        self._catalog = catalog

    def run(self, campaign_id: int, wanted: Wanted, offered: Offered | None = None) -> Simulation:
        """Simulates the budget of a campaign, or of its brand where the campaign has none of its own.

        offered: the tries, of a file; without it they are what the log has. Raises NotFound, InvalidInput,
        TooLittleHistory.
        """
        if not 0 <= (wanted.last - wanted.first).days < MOST_DAYS:
            raise InvalidInput(
                f"{wanted.first} to {wanted.last} is not 1 to {MOST_DAYS} days: give the first and the last day", "to"
            )
        owner, limit, schedule = self._budget(campaign_id, wanted)
        numbers = range(day_number(wanted.first), day_number(wanted.last) + 1)
        zones = self._catalog.brand(owner.brand_id).zones
        days = [self._day(owner, limit, schedule, zones.clock, number, wanted.pacing, offered) for number in numbers]
        found = tuple(day for day in days if day.gate.tries or day.actual.tries)
        if not found:
            what = "the log" if offered is None else "the file"
            raise NotFound(
                f"{what} has no spend of {owner} from {wanted.first} to {wanted.last}: give days on which it spent"
            )
        return Simulation(owner, limit, zones, found)

    def _budget(self, campaign_id: int, wanted: Wanted) -> tuple[Owner, int, Schedule | None]:
        campaign = self._catalog.campaign(campaign_id)
        own = campaign.limits.daily if wanted.daily is None else wanted.daily
        if own is not None:
            return Owner("campaign", campaign_id), own, campaign.schedule
        of_brand = self._catalog.brand(campaign.brand_id).daily_budget_micros
        if of_brand is None:
            raise InvalidInput(
                f"neither campaign {campaign_id} nor its brand has a daily budget: give one with --daily", "daily"
            )
        return Owner("brand", campaign.brand_id), of_brand, None

    def _day(
        self,
        owner: Owner,
        limit: int,
        schedule: Schedule | None,
        clock: Zone,
        number: int,
        pacing: Pacing,
        offered: Offered | None,
    ) -> SimulatedDay:
        day, due, length = (
            date_of(number),
            self._due(owner, schedule, clock, number, pacing),
            clock.day_length_ms(number),
        )
        plan = due or due_over(_STRAIGHT, clock, number)
        with self._db.connect() as connection:
            if hourly.is_dropped(connection, owner, day):
                raise NotFound(f"the log has the rows of {day} no more (SPEND_LOG_KEEP_DAYS): give a later day")
            logged = hourly.spends_of_day(connection, owner, day, clock)
            if offered is None:
                return SimulatedDay(day, *simulate(logged, limit, due, pacing.catch_up, plan, length))
            gate, _ = simulate(offered.get(number, ()), limit, due, pacing.catch_up, plan, length)
            _, actual = simulate(logged, limit, None, pacing.catch_up, plan, length)
        return SimulatedDay(day, gate, actual)

    def _due(self, owner: Owner, schedule: Schedule | None, clock: Zone, number: int, pacing: Pacing) -> Due | None:
        """The curve of a day by what was known before it; None is asap."""
        weekday, curves = weekday_of(number), dict[int, Points]()
        if pacing.curve is not None:
            curves = self._catalog.curves.points(pacing.curve)
        if pacing.mode == TRAFFIC:
            with self._db.connect() as connection:
                curves = {weekday + 1: shape_of(teaching_days(connection, owner, number, clock), weekday).points}
        pace = Pace.of(compiled(pacing, schedule, curves))
        return None if pace is None else due_over(pace, clock, number)


def due_over(pace: Pace, clock: Zone, number: int) -> Due:
    """A pace over a day of a clock, which it fills however long that is, as the scripts' does."""
    begins_ms, length_ms = clock.midnight_ms(number), clock.day_length_ms(number)
    return lambda ms: PPM if ms * DAY_MS >= LANDED_MS * length_ms else pace.due(begins_ms + ms, clock)
