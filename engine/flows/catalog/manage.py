"""Every change of the catalog by a person or a program: it is committed, published, and followed by a status update
at once.

With Redis away the change is committed all the same and published later; the result shows it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, Unpack

from engine.domain.brake import NO_BRAKE, Brake
from engine.domain.budget import NO_LIMITS, OwnLimits
from engine.domain.curves import Points
from engine.domain.flights import ASAP
from engine.domain.limit_changes import Period
from engine.domain.pacing import NO_PACING, Pacing
from engine.errors import BudgetError, ServerAway
from engine.flows.catalog.publish import Publisher
from engine.flows.catalog.restored import Restored, TakenBack
from engine.flows.catalog.status import StatusWriter
from engine.ledger.catalog import Catalog
from engine.ledger.changes import Entity
from engine.ledger.flights import FlightChanges
from engine.ledger.records import KEEP, BrandRecord, CampaignRecord, Keep

log = logging.getLogger(__name__)

Row = TypeVar("Row", BrandRecord, CampaignRecord)


@dataclass(frozen=True, slots=True)
class Changed(Generic[Row]):
    """A committed change: the row after it, and whether Redis has it yet (`why_not` has the reason).

    before: the row as it was, None for a new one. running_before, running: how many campaigns of the brand ran before
    and after the change, by the last written statuses; they reflect the change only where it is published.
    """

    row: Row
    published: bool
    why_not: str = ""
    before: Row | None = None
    running_before: int = 0
    running: int = 0

    @property
    def nothing(self) -> bool:
        """Whether the change changed nothing."""
        return self.before is not None and self.before.version == self.row.version

    @property
    def closed_breaker(self) -> bool:
        """Whether the change closed a campaign's open breaker."""
        before, row = self.before, self.row
        if not isinstance(before, CampaignRecord) or not isinstance(row, CampaignRecord):
            return False
        return before.breaker_round > 0 and row.breaker_round > before.breaker_round

    @property
    def starting(self) -> int:
        """How many more campaigns of the brand run; below 0 where fewer do."""
        return self.running - self.running_before


@dataclass(frozen=True, slots=True)
class ChangedLimit:
    """A scheduled change that was made or cancelled, and whether Redis has it yet (`why_not` has the reason)."""

    change_id: int
    published: bool
    why_not: str = ""


class Manage:
    """The catalog's calls, each followed by publish and a status update."""

    def __init__(
        self,
        catalog: Catalog,
        publisher: Callable[[], Publisher],
        status: Callable[[], StatusWriter],
        restored: Callable[[], Restored],
    ) -> None:
        self._catalog = catalog
        self._publisher = publisher
        self._status = status
        self._restored = restored

    def create_brand(
        self,
        name: str,
        daily_budget_micros: int | None,
        monthly_budget_micros: int | None,
        external_id: str | None,
        actor: str,
        pacing: Pacing = NO_PACING,
        time_zone: str | None = None,
        rollover_cap_micros: int | None = None,
    ) -> Changed[BrandRecord]:
        """A new brand; time_zone: an IANA name, None is UTC. Raises InvalidName, InvalidBudget, InvalidId, InvalidPacing,
        InvalidZone, Conflict.
        """
        self._free_ids(lambda: self._restored().before_a_brand())
        budgets = (daily_budget_micros, monthly_budget_micros)
        at_ms = None if time_zone is None else self._publisher().now_ms()
        return self._brand(
            self._catalog.create_brand(
                name, *budgets, external_id, actor, pacing, time_zone, at_ms, rollover_cap_micros
            ),
            actor,
        )

    def update_brand(self, brand_id: int, actor: str, **changes: Any) -> Changed[BrandRecord]:
        """Changes fields of a brand (see Catalog.update_brand). Raises as create_brand, and NotFound."""
        before, running = self._catalog.brand(brand_id), self._catalog.count_running(brand_id)
        if "time_zone" in changes:
            changes["at_ms"] = self._publisher().now_ms()
        return self._brand(self._catalog.update_brand(brand_id, actor, **changes), actor, before, running)

    def archive_brand(self, brand_id: int, actor: str) -> Changed[BrandRecord]:
        """Takes a brand and all its campaigns out of use. Raises NotFound."""
        before, running = self._catalog.brand(brand_id), self._catalog.count_running(brand_id)
        return self._brand(self._catalog.archive_brand(brand_id, actor), actor, before, running)

    def unarchive_brand(self, brand_id: int, actor: str, *, name: str | Keep = KEEP) -> Changed[BrandRecord]:
        """Takes a brand into use again, with its campaigns as they were. Raises NotFound, Conflict where its name is taken."""
        before = self._catalog.brand(brand_id)
        return self._brand(self._catalog.unarchive_brand(brand_id, actor, name=name), actor, before)

    def pause_brand(self, brand_id: int, actor: str, note: str | None = None) -> Changed[BrandRecord]:
        """Stops a whole brand; its campaigns keep their own switches. note: the reason. Raises NotFound, InvalidInput, Conflict
        if archived.
        """
        return self._pause(brand_id, actor, True, note)

    def resume_brand(self, brand_id: int, actor: str, note: str | None = None) -> Changed[BrandRecord]:
        """Takes a pause of a brand back: its campaigns run as their own switches, budgets and schedules permit. Raises as `pause_brand`."""
        return self._pause(brand_id, actor, False, note)

    def _pause(self, brand_id: int, actor: str, paused: bool, note: str | None) -> Changed[BrandRecord]:
        before, running = self._catalog.brand(brand_id), self._catalog.count_running(brand_id)
        row = self._catalog.pause_brand(brand_id, actor, paused=paused, note=note)
        return self._brand(row, actor, before, running)

    def create_campaign(
        self,
        brand_id: int,
        name: str,
        schedule: Any,
        external_id: str | None,
        actor: str,
        limits: OwnLimits = NO_LIMITS,
        pacing: Pacing = NO_PACING,
        brake: Brake = NO_BRAKE,
    ) -> Changed[CampaignRecord]:
        """A new campaign of a brand. Raises InvalidName, InvalidSchedule, InvalidBudget, InvalidId, InvalidPacing,
        Conflict, NotFound.
        """
        self._free_ids(lambda: self._restored().before_campaigns(brand_id))
        made = self._catalog.create_campaign(
            brand_id, name, schedule, external_id, actor, limits=limits, pacing=pacing, brake=brake
        )
        return self._campaign(made, actor)

    def create_campaigns(self, brand_id: int, names: Sequence[str], actor: str) -> list[CampaignRecord]:
        """Many campaigns of a brand by name, published together."""
        self._free_ids(lambda: self._restored().before_campaigns(brand_id))
        made = self._catalog.create_campaigns(brand_id, names, actor)
        self._bring(brand_id, actor)
        return made

    def update_campaign(self, campaign_id: int, actor: str, **changes: Any) -> Changed[CampaignRecord]:
        """Changes fields of a campaign (see Catalog.update_campaign). Raises as create_campaign, and NotFound."""
        before = self._catalog.campaign(campaign_id)
        return self._campaign(self._catalog.update_campaign(campaign_id, actor, **changes), actor, before)

    def add_flight(
        self,
        campaign_id: int,
        actor: str,
        starts_ms: int | None,
        ends_ms: int,
        budget_micros: int | None,
        carries: bool,
        spread: str = ASAP,
    ) -> Changed[CampaignRecord]:
        """A new flight of a campaign; starts_ms: None is now; spread: one of SPREADS. Raises InvalidFlight, InvalidBudget, Conflict, NotFound."""
        before = self._catalog.campaign(campaign_id)
        made = self._catalog.flights.add(campaign_id, actor, starts_ms, ends_ms, budget_micros, carries, spread)
        return self._campaign(made, actor, before)

    def change_flight(
        self, campaign_id: int, no: int, actor: str, **changes: Unpack[FlightChanges]
    ) -> Changed[CampaignRecord]:
        """Changes what is given of a flight. Raises as `add_flight`."""
        before = self._catalog.campaign(campaign_id)
        return self._campaign(self._catalog.flights.change(campaign_id, no, actor, **changes), actor, before)

    def remove_flight(self, campaign_id: int, no: int, actor: str) -> Changed[CampaignRecord]:
        """Removes a flight that has not begun. Raises as `add_flight`."""
        before = self._catalog.campaign(campaign_id)
        return self._campaign(self._catalog.flights.remove(campaign_id, no, actor), actor, before)

    def pause_campaign(self, campaign_id: int, actor: str, note: str | None = None) -> Changed[CampaignRecord]:
        """Switches a campaign off; no job switches it on again. note: the reason. Raises NotFound, InvalidInput."""
        before = self._catalog.campaign(campaign_id)
        return self._campaign(self._catalog.pause_campaign(campaign_id, actor, note), actor, before)

    def resume_campaign(self, campaign_id: int, actor: str, note: str | None = None) -> Changed[CampaignRecord]:
        """Switches a campaign on again, and closes its breaker where that is open; it runs when budget and schedule permit. Raises
        NotFound.
        """
        before = self._catalog.campaign(campaign_id)
        broken = before.breaker_round > 0 and self._publisher().is_broken(campaign_id)
        return self._campaign(
            self._catalog.resume_campaign(campaign_id, actor, broken=broken, note=note), actor, before
        )

    def archive_campaign(self, campaign_id: int, actor: str) -> Changed[CampaignRecord]:
        """Takes a campaign out of use. Raises NotFound."""
        before = self._catalog.campaign(campaign_id)
        return self._campaign(self._catalog.archive_campaign(campaign_id, actor), actor, before)

    def unarchive_campaign(self, campaign_id: int, actor: str, *, name: str | Keep = KEEP) -> Changed[CampaignRecord]:
        """Takes a campaign into use again, switched as it was. Raises NotFound, Conflict where its name is taken."""
        before = self._catalog.campaign(campaign_id)
        return self._campaign(self._catalog.unarchive_campaign(campaign_id, actor, name=name), actor, before)

    def schedule_limit(
        self, entity: Entity, owner_id: int, actor: str, period: Period, change: tuple[str, int | None],
        starts_ms: int | None, ends_ms: int | None = None,
    ) -> ChangedLimit:  # fmt: skip
        """A scheduled change of a brand's, or of a campaign's own, budget; starts_ms: None is now. Raises InvalidLimitChange,
        Conflict, NotFound.
        """
        row, made = self._catalog.limits.schedule(entity, owner_id, actor, period, change, starts_ms, ends_ms)
        why_not = self._bring(row.id if isinstance(row, BrandRecord) else row.brand_id, actor)
        return ChangedLimit(made, not why_not, why_not)

    def cancel_limit(self, change_id: int, actor: str) -> ChangedLimit:
        """Takes a scheduled change back; one that is in force ends now. Raises as `schedule_limit`."""
        row = self._catalog.limits.cancel(change_id, actor)
        why_not = self._bring(row.id if isinstance(row, BrandRecord) else row.brand_id, actor)
        return ChangedLimit(change_id, not why_not, why_not)

    def put_curve(
        self,
        name: str,
        points: Mapping[int, Points],
        actor: str,
        *,
        new: bool = False,
        seen: Mapping[int, Points] | None = None,
    ) -> list[str]:
        """Makes a curve, or another in its place, by weekday (0 is every day), and publishes what it paces. Returns why
        brands could not be published. Raises InvalidPacing, InvalidCurve, and Conflict as the catalog's `put` does.
        """
        changed = self._catalog.curves.put(name, points, actor, new=new, seen=seen)
        return [why_not for brand_id in changed if (why_not := self._bring(brand_id, actor))]

    def _brand(
        self, row: BrandRecord, actor: str, before: BrandRecord | None = None, running: int = 0
    ) -> Changed[BrandRecord]:
        why_not = self._bring(row.id, actor)
        runs = running if why_not else self._catalog.count_running(row.id)
        return Changed(self._catalog.brand(row.id), not why_not, why_not, before, running, runs)

    def _campaign(
        self, row: CampaignRecord, actor: str, before: CampaignRecord | None = None
    ) -> Changed[CampaignRecord]:
        why_not = self._bring(row.brand_id, actor)
        now = self._catalog.campaign(row.id)
        ran = before is not None and before.status == "active"
        return Changed(now, not why_not, why_not, before, int(ran), int(now.status == "active"))

    def free_ids(self, brand_id: int) -> None:
        """Ensures that the next ids of a brand's campaigns, or for 0 of brands, are none that Redis has from before a restore."""
        restored = self._restored()
        self._free_ids(lambda: restored.before_campaigns(brand_id) if brand_id else restored.before_a_brand())

    def _free_ids(self, look: Callable[[], TakenBack]) -> None:
        """Ensures that a new row gets no id that Redis still has from before a restore of PostgreSQL."""
        try:
            if look():
                self._status().refresh(self._publisher().publish_pending())
        except BudgetError as error:
            # Redis is away or another instance's: the change is committed all the same.
            log.warning("ids in Redis were not looked at: %s", error)

    def _bring(self, brand_id: int, actor: str) -> str:
        """Publishes and writes the statuses; returns why it could not, else an empty text."""
        try:
            if not self._publisher().publish([brand_id]):
                return "Redis is being rebuilt: the change is kept and published within seconds of its end"
            self._status().refresh([brand_id], actor, rests=False)
        except ServerAway as away:
            return f"{away}; the change is kept and published when it is back"
        except BudgetError as error:
            return f"{error}; the change is kept"
        return ""
