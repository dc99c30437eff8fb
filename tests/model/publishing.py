"""Publish: the catalog's word on a brand and its campaigns, version by version. A version not above the one that is there changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from engine.domain.brake import NO_BRAKE, Brake
from engine.domain.budget import NO_LIMITS, OwnLimits
from engine.domain.flights import PlannedFlight
from engine.domain.ids import brand_of
from engine.domain.limit_changes import Step
from engine.domain.periods import MINUTE_MS
from engine.domain.schedule import Schedule
from engine.domain.zone_text import UTC, Zone
from tests.model.journal import Entry
from tests.model.late import keep_limits, limits_then
from tests.model.plan import Brand, Campaign
from tests.model.rollover import NO_CARRY, Carry
from tests.model.shard import Shard, keep_carry


class BrandPlan(NamedTuple):
    """A brand as the catalog has it; limits in micros, None = none."""

    brand_id: int
    version: int
    daily_limit: int | None
    monthly_limit: int | None
    archived: bool = False
    pace: tuple[str, ...] = ()
    zone: str = ""
    """The text of its time zone."""
    steps: tuple[Step, ...] = ()
    paused: bool = False
    rollover_cap: int | None = None


class CampaignPlan(NamedTuple):
    """A campaign as the catalog has it."""

    campaign_id: int
    version: int
    enabled: bool = True
    archived: bool = False
    schedule: Schedule = Schedule()
    limits: OwnLimits = NO_LIMITS
    flights: tuple[PlannedFlight, ...] = ()
    brake: Brake = NO_BRAKE
    pace: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()


def publish(shard: Shard, plan: BrandPlan, campaigns: Sequence[CampaignPlan], clock: int) -> dict[int, int]:
    """Brings one brand and some of its campaigns, in the order of their ordinals. A budget that turns by it is told to the journal.
    Answers what is kept against it, {id: version}. Raises shard.NotReady."""
    now = shard.now(clock)
    ahead = kept_against(shard, plan, campaigns)
    brand = shard.brands.get(plan.brand_id)
    before = brand.zone if brand else UTC
    if brand and plan.version > brand.version:
        brand.carry(now)  # of the days until now, by the zone that they had
        _set_zone(shard, brand, plan)
    _keep_limits(shard, plan, campaigns, now)
    carry = brand.carry(now) if brand and brand.cap is not None else NO_CARRY
    fresh = brand is None or plan.version > brand.version
    with shard.watching([brand] if brand else [], now) as changes:
        put(shard, plan, [], now)
        put(shard, None, campaigns, now)
        brand = shard.brands[plan.brand_id]
        carries = _set_carry(brand, carry, now) if fresh else frozenset()
    if shard.grace_minutes and before == UTC and brand.zone != UTC:
        brand.closed = brand.zone.day_of(now) - 1
    if changes or carries:
        shard.append(Entry(shard.n + 1, now, changes=frozenset(changes), carries=carries))
    shard.kept_now = now
    return ahead


def _set_carry(brand: Brand, carry: Carry, now: int) -> frozenset[tuple[int, int, int, int | None]]:
    """The carry of the present day under a new plan, and what is told of it. carry: by the plan before."""
    if brand.cap is None:
        return frozenset()
    before, brand.opened = brand.kept, Carry(brand.zone.day_of(now), carry.left, carry.before)
    if brand.opened == before and carry.day:
        return frozenset()
    return frozenset([(brand.brand_id, *keep_carry(brand, now))])


def _set_zone(shard: Shard, brand: Brand, plan: BrandPlan) -> None:
    """Takes a plan's zone."""
    brand.zone = Zone.parse(plan.zone)
    for campaign in shard.campaigns.values():
        if brand_of(campaign.campaign_id) == brand.brand_id:
            campaign.zone = brand.zone


def _keep_limits(shard: Shard, plan: BrandPlan, campaigns: Sequence[CampaignPlan], now: int) -> None:
    """Before limits change: those of the day before, for late spends."""
    brand, limits = shard.brands.get(plan.brand_id), (plan.daily_limit, plan.monthly_limit)
    if brand is not None and plan.version > brand.version and (brand.steps or limits != brand.limits):
        keep_limits(brand, limits_then(brand, now), now, bool(shard.grace_minutes))
    for item in campaigns:
        campaign = shard.campaigns.get(item.campaign_id)
        if (
            campaign is not None
            and item.version > campaign.version
            and (campaign.steps or item.limits != campaign.limits)
        ):
            keep_limits(campaign, limits_then(campaign, now), now, bool(shard.grace_minutes))


def kept_against(shard: Shard, plan: BrandPlan, campaigns: Sequence[CampaignPlan]) -> dict[int, int]:
    """What is there in a higher version than the plan's, or in the same one with another content."""
    ahead: dict[int, int] = {}
    brand = shard.brands.get(plan.brand_id)
    if brand is not None:
        given = (
            (plan.daily_limit, plan.monthly_limit),
            plan.archived,
            plan.pace,
            plan.zone,
            plan.steps,
            plan.paused,
            plan.rollover_cap,
        )
        same = (
            brand.limits,
            brand.archived,
            brand.pace,
            brand.zone.text,
            brand.steps,
            brand.paused,
            brand.cap,
        ) == given
        if brand.version > plan.version or (brand.version == plan.version and not same):
            ahead[plan.brand_id] = brand.version
    for item in campaigns:
        campaign = shard.campaigns.get(item.campaign_id)
        if campaign is not None:
            same = (
                campaign.enabled, campaign.archived, campaign.schedule.compiled, campaign.limits, campaign.flights, campaign.pace, campaign.brake,
                campaign.steps,
            ) == (item.enabled, item.archived, item.schedule.compiled, item.limits, item.flights, item.pace, item.brake, item.steps)  # fmt: skip
            if campaign.version > item.version or (campaign.version == item.version and not same):
                ahead[item.campaign_id] = campaign.version
    return ahead


def put(shard: Shard, plan: BrandPlan | None, campaigns: Sequence[CampaignPlan], now: int = 0) -> None:
    """Writes a plan down: what is spent and on hold stays. A later round of a brake closes an open breaker."""
    if plan is not None:
        limits = (plan.daily_limit, plan.monthly_limit)
        brand = shard.brands.setdefault(plan.brand_id, Brand(plan.brand_id, 0, limits, plan.archived, born_ms=now))
        if plan.version > brand.version:
            brand.version, brand.limits, brand.archived, brand.pace = plan.version, limits, plan.archived, plan.pace
            brand.steps, brand.paused, brand.cap = plan.steps, plan.paused, plan.rollover_cap
            _set_zone(shard, brand, plan)
    for item in campaigns:
        campaign = shard.campaigns.setdefault(item.campaign_id, Campaign(item.campaign_id, 0, False, False, Schedule()))
        campaign.zone = shard.brands[brand_of(item.campaign_id)].zone
        if item.version > campaign.version:
            if campaign.broken_ms is not None and item.brake.round > campaign.brake.round:
                campaign.broken_ms, campaign.base = None, (now // MINUTE_MS, campaign.in_minute(now))
            (
                campaign.version,
                campaign.enabled,
                campaign.archived,
                campaign.schedule,
                campaign.limits,
                campaign.flights,
                campaign.brake,
                campaign.pace,
                campaign.steps,
            ) = item[1:]
