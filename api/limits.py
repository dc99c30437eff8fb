"""/limits: scheduled changes of daily and monthly budgets, at an instant and, where wanted, until another."""

from __future__ import annotations

from typing import Annotated, Literal

from flask import Response, g
from pydantic import Field

from api import access
from api.flights import Instant
from api.keyed import keyed
from api.lists import PageQuery, packed, page, place_of
from api.reading import Answer, Body, KeyHeader, Path, reads
from api.results import answer
from api.routes import routes
from engine.domain.flights import parse_instant
from engine.domain.ids import MAX_BRAND_ID, MAX_CAMPAIGN_ID, MIN_CAMPAIGN_ID
from engine.domain.limit_changes import parse_change
from engine.errors import InvalidInput, NotFound
from engine.flows.catalog.manage import ChangedLimit
from engine.ledger.changes import Entity
from engine.ledger.limit_changes import Scheduled
from engine.views.control_documents import limit_document
from web.services import services

blueprint = routes("limits", __name__)
BrandId = Annotated[int, Field(ge=1, le=MAX_BRAND_ID)]
CampaignId = Annotated[int, Field(ge=MIN_CAMPAIGN_ID, le=MAX_CAMPAIGN_ID)]


class LimitIn(Body):
    """A change of a brand's budget, or of a campaign's own one."""

    brand_id: BrandId | None = None
    campaign_id: CampaignId | None = None
    period: Literal["daily", "monthly"]
    change: str = Field(max_length=60, description="set:200.00, set:none, add:50.00, add:-50.00 or percent:150")
    at: Instant | None = Field(None, description="Included; null is now")
    until: Instant | None = Field(None, description="Not included; null: the change stays")


class LimitsQuery(PageQuery):
    """Scheduled changes: of a brand with its campaigns, of a campaign, or all."""

    brand_id: BrandId | None = None
    campaign_id: CampaignId | None = None
    over: bool = Field(False, description="Those too of which nothing follows")


class LimitPath(Path):
    """The address of a scheduled change."""

    limit_id: Annotated[int, Field(ge=1, le=2**62)]


class LimitOut(Answer):
    """A scheduled change. becomes, then: the budget from its begin and from its end; null where that is past, or no limit."""

    id: int
    brand_id: int
    campaign_id: int | None
    period: str
    change: str
    starts_at: str
    ends_at: str | None
    state: str = Field(description="ahead, in force, over or cancelled")
    becomes: str | None
    then: str | None


class LimitsOut(Answer):
    """A page of scheduled changes, by brand."""

    items: list[LimitOut]
    next: str | None


@blueprint.get("/limits", responses={200: LimitsOut})
@reads
def limits(query: LimitsQuery) -> Response:
    """List scheduled changes of budgets."""
    asked = [query.brand_id, query.campaign_id, query.over]
    place = place_of(query.cursor, asked, (int, int))
    found = _found(query)
    first = 0
    if place is not None:
        index, last = place
        # After the last change of the page before, wherever it stands now.
        first = next((at + 1 for at, one in enumerate(found) if one.change.id == last), max(index, 0))
    shown = found[first : first + query.limit]
    more = first + query.limit < len(found)
    cursor = packed(asked, (first + len(shown), shown[-1].change.id)) if more else None
    return answer(page([limit_document(services().catalog.limits, one) for one in shown], cursor))


@blueprint.post("/limits", responses={201: LimitOut})
@reads
@keyed
def schedule_limit(body: LimitIn, header: KeyHeader) -> Response:
    """Schedule a change of a budget. It happens on the millisecond, whatever job runs."""
    entity, owner_id, brand_id = _owner(body)
    change = parse_change(body.change)
    local = services().overview.local(brand_id)
    starts = None if body.at is None else parse_instant(body.at, "at", local)
    ends = None if body.until is None else parse_instant(body.until, "until", local)
    return _told(services().manage.schedule_limit(entity, owner_id, g.actor, body.period, change, starts, ends), 201)


@blueprint.get("/limits/<int:limit_id>", responses={200: LimitOut})
@reads
def limit(path: LimitPath) -> Response:
    """Read a scheduled change."""
    return answer(limit_document(services().catalog.limits, _seen(path.limit_id)))


@blueprint.delete("/limits/<int:limit_id>", responses={200: LimitOut})
@reads
def cancel_limit(path: LimitPath) -> Response:
    """Take a scheduled change back. One that is in force ends now; one that was taken stays."""
    return _told(services().manage.cancel_limit(_seen(path.limit_id).change.id, g.actor))


def _found(query: LimitsQuery) -> list[Scheduled]:
    """The changes that are asked for, of brands that the token sees. Raises InvalidInput, NotFound."""
    every, brands = services().catalog.limits.every, access.token().brands
    if query.brand_id is not None and query.campaign_id is not None:
        raise InvalidInput("give brand_id or campaign_id, not both", "campaign_id")
    if query.campaign_id is not None:
        found = services().catalog.campaign(access.check_campaign(query.campaign_id))
        return every("campaign", found.id, over=query.over)
    if query.brand_id is not None:
        return every("brand", services().catalog.brand(access.check_brand(query.brand_id)).id, over=query.over)
    if brands is None:
        return every(over=query.over)
    return [one for brand_id in sorted(brands) for one in every("brand", brand_id, over=query.over)]


def _owner(body: LimitIn) -> tuple[Entity, int, int]:
    """Whose budget changes, and its brand. Raises InvalidInput, NotFound."""
    if (body.brand_id is None) == (body.campaign_id is None):
        raise InvalidInput("give either brand_id or campaign_id: whose budget changes", "brand_id")
    if body.brand_id is not None:
        brand_id = services().catalog.brand(access.check_brand(body.brand_id)).id
        return "brand", brand_id, brand_id
    assert body.campaign_id is not None
    campaign = services().catalog.campaign(access.check_campaign(body.campaign_id))
    return "campaign", campaign.id, campaign.brand_id


def _seen(limit_id: int) -> Scheduled:
    """A change, of a brand that the token sees. Raises NotFound."""
    found, brands = services().catalog.limits.one(limit_id), access.token().brands
    if brands is not None and found.brand_id not in brands:
        raise NotFound(f"there is no change of a limit {limit_id}: `limit list` shows all")
    return found


def _told(changed: ChangedLimit, status: int = 200) -> Response:
    limits = services().catalog.limits
    told = answer(limit_document(limits, limits.one(changed.change_id)), status)
    if not changed.published:
        told.headers["Published-Later"] = "true"
    return told
