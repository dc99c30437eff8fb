"""What an operation does to running campaigns, by the live figures: how many start, and how many stop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from engine.domain.budget import BUDGETS, CAMPAIGN_BUDGETS
from engine.domain.causes import ARCHIVED as ARCHIVED_CAUSE
from engine.domain.causes import BRAND_PAUSED, BREAKER, DAILY_BUDGET, MANUAL, SCHEDULE, standing
from engine.domain.operations import ARCHIVED, ENABLED, PAUSED, Change
from engine.domain.rollover import day_limit
from engine.domain.schedule import Schedule
from engine.errors import ServerAway
from engine.ledger.catalog import Catalog
from engine.ledger.operations import Draft
from engine.live.admin import LiveRedis
from engine.live.plans import LiveBrand, LiveCampaign

UNKNOWN: Final = (None, None)
_MOST_BRANDS: Final = 1000
"""Of more brands at once the effect is not counted: reading them takes longer than a person waits."""


def effect_of(catalog: Catalog, live: LiveRedis, items: Iterable[Draft]) -> tuple[int | None, int | None]:
    """(starts, stops) of campaigns; None where Redis is away, or more brands are concerned than are read for a preview.

    What a pause of whole brands stops is what runs as last written: in an incident nobody waits for Redis.
    """
    of_brands: dict[int, list[Draft]] = {}
    for item in items:
        if item.why is None and item.version:  # a new row starts, and stops nothing
            of_brands.setdefault(item.brand_id, []).append(item)
    changes = [draft.change for drafts in of_brands.values() for draft in drafts]
    if changes and all(change == {PAUSED: [False, True]} for change in changes):
        return 0, catalog.count_running(*of_brands)
    if len(of_brands) > _MOST_BRANDS:
        return UNKNOWN
    try:
        found = live.read_plans(catalog.highest_ordinals(list(of_brands)) if of_brands else {})
    except ServerAway:
        return UNKNOWN
    starts = stops = 0
    for brand_id, drafts in of_brands.items():
        brand = found.get(brand_id)
        if brand is None:
            return UNKNOWN
        for ran, runs in _runs(brand, drafts):
            starts += runs and not ran
            stops += ran and not runs
    return starts, stops


def _runs(brand: LiveBrand, drafts: list[Draft]) -> Iterable[tuple[bool, bool]]:
    """Of each campaign of a brand whether it runs, and whether it will."""
    of_campaigns = {draft.entity_id: draft.change for draft in drafts if draft.entity == "campaign"}
    of_brand: Change = next((draft.change for draft in drafts if draft.entity == "brand"), {})
    for campaign in brand.campaigns.values():
        mine = of_campaigns.get(campaign.campaign_id, {})
        if not mine and not of_brand:
            continue
        before = set(standing(campaign.reasons))
        after = _after(before, brand, campaign, mine)
        if ARCHIVED in of_brand:
            _put(after, ARCHIVED_CAUSE, of_brand[ARCHIVED][1])
        if PAUSED in of_brand:
            _put(after, BRAND_PAUSED, of_brand[PAUSED][1])
        for kind, budget in zip(BUDGETS, brand.budgets, strict=False):
            if kind.column in of_brand:
                limit = of_brand[kind.column][1]
                if kind.cause == DAILY_BUDGET and brand.carry is not None:
                    limit = day_limit(limit, brand.carry.carried)
                _put(after, kind.cause, _gone(limit, budget.spent))
        yield not before, not after


def _after(before: set[str], brand: LiveBrand, campaign: LiveCampaign, change: Change) -> set[str]:
    after = set(before)
    new: Mapping[str, Any] = {field: value for field, (_, value) in change.items()}
    if ENABLED in new:
        _put(after, MANUAL, not new[ENABLED])
    if new.get(ENABLED) or BREAKER in new:
        after.discard(BREAKER)
    if ARCHIVED in new:
        _put(after, ARCHIVED_CAUSE, new[ARCHIVED] or brand.archived)
    if "schedule" in new:
        _put(after, SCHEDULE, not Schedule.parse(new["schedule"]).is_within_ms(brand.now_ms, brand.zone))
    own = {budget.cause: budget.spent for budget in campaign.budgets}
    spent = {"day": campaign.daily_spend, "month": campaign.monthly_spend}
    for kind in CAMPAIGN_BUDGETS:
        if kind.column in new:
            known = own.get(kind.cause, spent.get(kind.period or "", 0))
            _put(after, kind.cause, _gone(new[kind.column], known))
    return after


def _gone(limit: int | None, spent: int) -> bool:
    return limit is not None and spent >= limit


def _put(causes: set[str], cause: str, there: bool) -> None:
    causes.add(cause) if there else causes.discard(cause)
