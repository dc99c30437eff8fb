"""/campaigns: list, create, read, change, pause, archive. Changes go through the same flows as the command line's."""

from __future__ import annotations

from typing import Any

from flask import Response, g

from api import access
from api.brands import changes_of, refusing_stale
from api.catalog_models import (
    CampaignChange,
    CampaignIn,
    CampaignOut,
    CampaignPath,
    CampaignsOut,
    CampaignsQuery,
    NewName,
    Reason,
)
from api.keyed import keyed
from api.lists import packed, page, place_of
from api.reading import KeyHeader, MatchHeader, reads
from api.results import answer
from api.routes import routes
from api.versions import etag, expected
from engine.domain.brake import Brake, parse_per_minute
from engine.domain.budget import CAMPAIGN_BUDGETS, OwnLimits
from engine.domain.money import NO_LIMIT_WORD, parse_budget
from engine.domain.pacing import Pacing, check_catch_up, check_pacing
from engine.domain.schedule import Schedule
from engine.flows.catalog.manage import Changed
from engine.ledger.campaign_changes import PER_MINUTE
from engine.ledger.listing import campaign_places
from engine.ledger.records import CampaignRecord
from engine.views.documents import campaign_document
from engine.views.models import CampaignView
from web.services import services

blueprint = routes("campaigns", __name__)
BUDGETS = tuple(f"{kind.name}_budget" for kind in CAMPAIGN_BUDGETS)


@blueprint.get("/campaigns", responses={200: CampaignsOut})
@reads
def campaigns(query: CampaignsQuery) -> Response:
    """List campaigns with their figures of now."""
    asked = [query.brand_id, query.q, query.status, query.archived, query.sort]
    place = place_of(query.cursor, asked, (str, int))
    seen = access.token().brands
    if query.brand_id is not None:
        seen = (access.check_brand(query.brand_id),)
    found = campaign_places(
        services().db,
        brands=seen,
        text_in=query.q,
        status=query.status,
        archived=query.archived,
        by_name=query.sort.endswith("name"),
        down=query.sort.startswith("-"),
        after=None if place is None else (place[0], place[1]),
        limit=query.limit + 1,
    )
    shown = found[: query.limit]
    cursor = packed(asked, shown[-1]) if len(found) > query.limit else None
    views = services().overview.some([id_ for _, id_ in shown])
    return answer(page([document(view) for view in views], cursor))


@blueprint.post("/campaigns", responses={201: CampaignOut})
@reads
@keyed
def create_campaign(body: CampaignIn, header: KeyHeader) -> Response:
    """Create a campaign of a brand."""
    brand_id = access.check_brand(body.brand_id)
    limits = OwnLimits(*(parse_budget(getattr(body, name), name) for name in BUDGETS))
    brake = Brake(_per_minute(body.rate_limit, "rate_limit"), _per_minute(body.breaker, "breaker"))
    pacing = Pacing(check_pacing(body.pacing), check_catch_up(body.catch_up))
    schedule = Schedule.parse(body.schedule)
    made = services().manage.create_campaign(
        brand_id, body.name, schedule, body.external_id, g.actor, limits, pacing, brake
    )
    return _changed(made, 201)


@blueprint.get("/campaigns/<int:campaign_id>", responses={200: CampaignOut})
@reads
def campaign(path: CampaignPath) -> Response:
    """Read a campaign with its figures of now. ETag is its version."""
    return _told(access.check_campaign(path.campaign_id))


@blueprint.patch("/campaigns/<int:campaign_id>", responses={200: CampaignOut})
@reads
def change_campaign(path: CampaignPath, body: CampaignChange, header: MatchHeader) -> Response:
    """Change what is given of a campaign, if it still has the version of If-Match."""
    campaign_id = access.check_campaign(path.campaign_id)
    version = expected()
    changes = changes_of(body, BUDGETS)
    if "schedule" in changes:
        changes["schedule"] = Schedule.parse(changes["schedule"])
    for name in PER_MINUTE:
        if name in changes:
            changes[f"{name}_micros"] = _per_minute(changes.pop(name), name)
    with refusing_stale():
        changed = services().manage.update_campaign(campaign_id, g.actor, expected_version=version, **changes)
    return _changed(changed)


@blueprint.post("/campaigns/<int:campaign_id>/pause", responses={200: CampaignOut})
@reads
@keyed
def pause_campaign(path: CampaignPath, body: Reason, header: KeyHeader) -> Response:
    """Switch a campaign off. No job switches it on again."""
    return _changed(services().manage.pause_campaign(access.check_campaign(path.campaign_id), g.actor, body.reason))


@blueprint.post("/campaigns/<int:campaign_id>/resume", responses={200: CampaignOut})
@reads
@keyed
def resume_campaign(path: CampaignPath, body: Reason, header: KeyHeader) -> Response:
    """Switch a campaign on again, and close its breaker."""
    return _changed(services().manage.resume_campaign(access.check_campaign(path.campaign_id), g.actor, body.reason))


@blueprint.post("/campaigns/<int:campaign_id>/archive", responses={200: CampaignOut})
@reads
@keyed
def archive_campaign(path: CampaignPath, header: KeyHeader) -> Response:
    """Take a campaign out of use. Nothing is deleted."""
    return _changed(services().manage.archive_campaign(access.check_campaign(path.campaign_id), g.actor))


@blueprint.post("/campaigns/<int:campaign_id>/unarchive", responses={200: CampaignOut})
@reads
@keyed
def unarchive_campaign(path: CampaignPath, body: NewName, header: KeyHeader) -> Response:
    """Take a campaign into use again, switched as it was."""
    more = {} if body.name is None else {"name": body.name}
    return _changed(services().manage.unarchive_campaign(access.check_campaign(path.campaign_id), g.actor, **more))


def document(view: CampaignView) -> dict[str, Any]:
    """A campaign."""
    return {**campaign_document(view), "version": view.version, "archived": view.archived}


def _per_minute(written: str | None, field: str) -> int | None:
    return parse_per_minute(NO_LIMIT_WORD if written is None else written, field)


def _told(campaign_id: int, status: int = 200) -> Response:
    view = services().overview.campaign(campaign_id)
    return answer(document(view), status, etag(view.version))


def _changed(changed: Changed[CampaignRecord], status: int = 200) -> Response:
    """The campaign after a change. Published-Later: as of brands."""
    told = _told(changed.row.id, status)
    if not changed.published:
        told.headers["Published-Later"] = "true"
    return told
