"""Publish: the catalog's word on a brand and its campaigns, version by version. A version not above the one that is there changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from engine.domain.brake import NO_BRAKE, Brake
from engine.domain.budget import NO_LIMITS, OwnLimits
from engine.domain.flights import PlannedFlight
from engine.domain.periods import MINUTE_MS
from engine.domain.schedule import Schedule
from tests.model.journal import Entry
from tests.model.plan import Brand, Campaign
from tests.model.shard import Shard


class BrandPlan(NamedTuple):
    """A brand as the catalog has it; limits in micros, None = none."""

    brand_id: int
    version: int
    daily_limit: int | None
    monthly_limit: int | None
    archived: bool = False
    pace: tuple[str, ...] = ()


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


def publish(shard: Shard, plan: BrandPlan, campaigns: Sequence[CampaignPlan], clock: int) -> dict[int, int]:
    """Brings one brand and some of its campaigns, in the order of their ordinals. A budget that turns by it is told to the journal.
    Answers what is kept against it, {id: version}. Raises shard.NotReady."""
    now = shard.now(clock)
    ahead = kept_against(shard, plan, campaigns)
    brand = shard.brands.get(plan.brand_id)
    with shard.watching([brand] if brand else [], now) as changes:
        put(shard, plan, [])
        put(shard, None, campaigns, now)
    if changes:
        shard.append(Entry(shard.n + 1, now, changes=frozenset(changes)))
    shard.kept_now = now
    return ahead


def kept_against(shard: Shard, plan: BrandPlan, campaigns: Sequence[CampaignPlan]) -> dict[int, int]:
    """What is there in a higher version than the plan's, or in the same one with another content."""
    ahead: dict[int, int] = {}
    brand = shard.brands.get(plan.brand_id)
    if brand is not None:
        given = ((plan.daily_limit, plan.monthly_limit), plan.archived, plan.pace)
        same = (brand.limits, brand.archived, brand.pace) == given
        if brand.version > plan.version or (brand.version == plan.version and not same):
            ahead[plan.brand_id] = brand.version
    for item in campaigns:
        campaign = shard.campaigns.get(item.campaign_id)
        if campaign is not None:
            same = (
                campaign.enabled, campaign.archived, campaign.schedule.compiled, campaign.limits, campaign.flights, campaign.pace, campaign.brake,
            ) == (item.enabled, item.archived, item.schedule.compiled, item.limits, item.flights, item.pace, item.brake)  # fmt: skip
            if campaign.version > item.version or (campaign.version == item.version and not same):
                ahead[item.campaign_id] = campaign.version
    return ahead


def put(shard: Shard, plan: BrandPlan | None, campaigns: Sequence[CampaignPlan], now: int = 0) -> None:
    """Writes a plan down: what is spent and on hold stays. A later round of a brake closes an open breaker."""
    if plan is not None:
        limits = (plan.daily_limit, plan.monthly_limit)
        brand = shard.brands.setdefault(plan.brand_id, Brand(plan.brand_id, 0, limits, plan.archived))
        if plan.version > brand.version:
            brand.version, brand.limits, brand.archived, brand.pace = plan.version, limits, plan.archived, plan.pace
    for item in campaigns:
        campaign = shard.campaigns.setdefault(item.campaign_id, Campaign(item.campaign_id, 0, False, False, Schedule()))
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
            ) = item[1:]
