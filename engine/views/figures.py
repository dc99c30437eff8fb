"""The figures of a brand and its campaigns from their rows in the catalog and what Redis, or the log, has of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import MappingProxyType

from engine.domain.budget import BUDGETS, CAMPAIGN_BUDGETS, OWN_CAUSES, Budget
from engine.domain.causes import (
    ARCHIVED,
    BRAND_PAUSED,
    BREAKER,
    FLIGHT,
    MANUAL,
    SCHEDULE,
    Status,
    again_ms,
    in_order,
    sentence,
    standing,
    status_of,
)
from engine.domain.flights import Flight, next_start_ms
from engine.domain.limit_changes import limits_at
from engine.domain.periods import Period
from engine.domain.rollover import day_limit
from engine.domain.zone_text import IN_UTC, Local
from engine.ledger.catalog import CampaignGroup
from engine.ledger.records import BrandRecord, CampaignRecord
from engine.live.plans import LiveBrand, LiveCampaign
from engine.views.flights import Earlier, flight_views
from engine.views.models import BrandView, CampaignView, Tally
from engine.views.pacing import pacing_view


def carried_into(brand: BrandRecord, live: LiveBrand | None) -> int:
    """What is carried into a brand's day, in micros; 0 where Redis does not tell."""
    if brand.rollover_cap_micros is None or live is None or live.carry is None:
        return 0
    return live.carry.carried


def budgets_of(brand: BrandRecord, live: LiveBrand | None, logged: tuple[int, int], now_ms: int) -> tuple[Budget, ...]:
    """A brand's budgets with Redis' figures. logged: the log's spend of its day and month, where Redis has no
    figures.
    """
    of_period: dict[Period, int] = {"day": logged[0], "month": logged[1]}
    found = [None if live is None else live.budget(kind.cause) for kind in BUDGETS]
    daily, monthly, *further = (getattr(brand, row.column) for row in BUDGETS)
    in_force, of_month = limits_at((daily, monthly), brand.steps, now_ms)
    limits = (day_limit(in_force, carried_into(brand, live)), of_month, *further)
    return tuple(
        Budget(kind.cause, limit, of_period[kind.period] if seen is None else seen.spent)
        for kind, limit, seen in zip(BUDGETS, limits, found, strict=True)
    )


def _own_budgets(
    campaign: CampaignRecord, live: LiveCampaign | None, logged: tuple[int, int, int], now_ms: int
) -> tuple[Budget, ...]:
    """A campaign's own budgets with Redis' figures. logged: the log's spend of its day, its month and its life."""
    day, month = logged[:2] if live is None else (live.daily_spend, live.monthly_spend)
    counted = live.budgets[-1] if live is not None and live.budgets else None
    lifetime = logged[2] if counted is None or counted.limit is None else counted.spent
    own = (*limits_at(campaign.limits[:2], campaign.steps, now_ms), campaign.limits.lifetime)
    return tuple(
        Budget(kind.cause, limit, micros)
        for kind, limit, micros in zip(CAMPAIGN_BUDGETS, own, (day, month, lifetime), strict=True)
    )


def tally_of(brand: BrandView, groups: Iterable[CampaignGroup]) -> Tally:
    """The numbers of a brand's campaigns: budgets by Redis' figures, or all as last written where Redis has none."""

    def of(alike: CampaignGroup) -> tuple[Status, tuple[str, ...], int]:
        if not (brand.ready and alike.published):
            return "active" if alike.status == "active" else "paused", in_order(alike.reasons), alike.campaigns
        manual = () if alike.enabled else (MANUAL,)
        outside = () if alike.schedule.is_within_ms(brand.now_ms, brand.zones.clock) else (SCHEDULE,)
        # Each campaign has its own budgets: their causes are those last written.
        own = (cause for cause in in_order(alike.reasons) if cause in OWN_CAUSES or cause in (FLIGHT, BREAKER))
        by_person = (BRAND_PAUSED,) if brand.paused else ()
        reasons = (*manual, *outside, *brand.used_up, *own, *by_person)
        return status_of(reasons), reasons, alike.campaigns

    return Tally.of(of(alike) for alike in groups)


def campaign_view(
    campaign: CampaignRecord,
    live: LiveCampaign | None,
    logged: tuple[int, int, int],
    now_ms: int,
    flights: Sequence[Flight] = (),
    local: Local = IN_UTC,
    earlier: Earlier = MappingProxyType({}),
) -> CampaignView:
    """A campaign. logged: the log's spend of its day, its month and its life. local: its brand's clock. earlier: as of `flight_views`."""
    starts_ms = next_start_ms(campaign.flights, now_ms)
    reasons = in_order(campaign.reasons) if live is None else standing(live.reasons)
    if campaign.archived and ARCHIVED not in reasons:
        reasons = in_order((*reasons, ARCHIVED))
    own = _own_budgets(campaign, live, logged, now_ms)
    paced = (
        campaign.pacing,
        campaign.catch_up,
        campaign.pace,
        own[0].limit,
        own[0].spent,
        now_ms,
        local,
    )
    return CampaignView(
        id=campaign.id,
        external_id=campaign.external_id,
        brand_id=campaign.brand_id,
        name=campaign.name,
        status="paused" if live is None and campaign.status == "paused" else status_of(reasons),
        reasons=reasons,
        sentence=sentence(reasons, campaign.schedule, now_ms, starts_ms, local),
        schedule=campaign.schedule,
        local=local,
        daily_spend=logged[0] if live is None else live.daily_spend,
        monthly_spend=logged[1] if live is None else live.monthly_spend,
        archived=campaign.archived,
        enabled=campaign.enabled,
        version=campaign.version,
        again_ms=again_ms(reasons, campaign.schedule, now_ms, starts_ms, local),
        budgets=own,
        flights=flight_views(campaign.id, flights, live, now_ms, earlier, zone=local.zone),
        pacing=pacing_view(*paced, live),
        brake=campaign.brake,
        broken_ms=live.brake.since_ms if live is not None and live.brake is not None else None,
        minute_spend=live.brake.spent if live is not None and live.brake is not None else 0,
    )
