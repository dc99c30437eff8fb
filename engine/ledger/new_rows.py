"""New brands and campaigns as rows of an operation: a change of a row without a version, whose id is known once it is made."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from engine.domain.brake import Brake
from engine.domain.budget import CAMPAIGN_BUDGETS, OwnLimits
from engine.domain.operations import ENABLED, OF_BRAND, PAUSED, Change
from engine.domain.pacing import NO_PACING, Pacing
from engine.domain.schedule import Schedule
from engine.errors import NotFound, shown
from engine.ledger import brands, campaigns, catalog_rows
from engine.ledger.changes import Entity
from engine.ledger.records import BrandRecord, CampaignRecord


def create(
    connection: Connection, entity: Entity, brand_id: int, actor: str, change: Change
) -> BrandRecord | CampaignRecord:
    """The new row of a change `{field: [None, value]}`. brand_id: of a campaign; 0 where its brand is new too, and is found by its name.

    Raises InvalidInput's kinds, Conflict, NotFound.
    """
    new: dict[str, Any] = {field: value for field, (_, value) in change.items()}
    pacing = Pacing(new.get("pacing", NO_PACING.mode), new.get("catch_up", NO_PACING.catch_up))
    if entity == "brand":
        budgets = (new.get("daily_budget_micros"), new.get("monthly_budget_micros"))
        made = brands.create(
            connection, new["name"], *budgets, new.get("external_id"), actor, pacing, new.get("time_zone")
        )
        return brands.pause(connection, made.id, actor, paused=True, note=None) if new.get(PAUSED) else made
    if not brand_id:
        named = new[OF_BRAND]
        found = catalog_rows.brands_named(connection, [named]).get(named)
        if found is None:
            raise NotFound(f"there is no brand {shown(named)}, because its own row was not made")
        brand_id = found
    (campaign,) = campaigns.create(
        connection, brand_id, [new["name"]], actor,
        schedule=Schedule.parse(new.get("schedule")), external_id=new.get("external_id"), pacing=pacing,
        limits=OwnLimits(*(new.get(kind.column) for kind in CAMPAIGN_BUDGETS)),
        brake=Brake(new.get("rate_limit_micros"), new.get("breaker_micros")),
    )  # fmt: skip
    if new.get(ENABLED, True):
        return campaign
    return campaigns.switch(connection, campaign.id, actor, enabled=False)
