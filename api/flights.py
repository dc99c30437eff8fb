"""/campaigns/{id}/flights: spans of time with a budget each. Each change is one of the campaign, whose version is the ETag."""

from __future__ import annotations

from typing import Annotated, Any

from flask import Response, g
from pydantic import Field

from api import access
from api.brands import refusing_stale
from api.catalog_models import Budget, CampaignPath, FlightOut
from api.keyed import keyed
from api.lists import page
from api.reading import Answer, Body, KeyHeader, MatchHeader, reads
from api.results import answer
from api.routes import routes
from api.versions import etag, expected
from engine.domain.flights import MAX_NO, parse_instant
from engine.domain.ids import brand_of
from engine.domain.money import parse_budget
from engine.errors import InvalidInput, NotFound
from engine.flows.catalog.manage import Changed
from engine.ledger.records import CampaignRecord
from engine.views.documents import flight_document
from web.services import services

blueprint = routes("flights", __name__)
Instant = Annotated[
    str, Field(max_length=40, description="By the brand's clock, 2026-12-01T10:00, or with a zone, 2026-12-01T09:00Z")
]
Spread = Annotated[str, Field(max_length=10, description="asap, even or none: over its days")]


class FlightIn(Body):
    """A new flight. A campaign with flights runs inside them only."""

    starts_at: Instant | None = Field(None, description="Included; null is now")
    ends_at: Instant
    budget: Budget = None
    carries_on: bool = Field(False, description="What is left at its end goes on into the next flight")
    spread: Spread = "asap"


class FlightChange(Body):
    """What is to change of a flight; what is not given stays. ends_at: `now` ends a running one."""

    starts_at: Instant | None = None
    ends_at: Instant | None = None
    budget: Budget = None
    carries_on: bool | None = None
    spread: Spread | None = None


class FlightPath(CampaignPath):
    """The address of a flight."""

    no: Annotated[int, Field(ge=1, le=MAX_NO)]


class FlightsOut(Answer):
    """All flights of a campaign, in the order of their instants."""

    items: list[FlightOut]
    next: str | None


@blueprint.get("/campaigns/<int:campaign_id>/flights", responses={200: FlightsOut})
@reads
def flights(path: CampaignPath) -> Response:
    """List the flights of a campaign with what each may still spend."""
    found = services().overview.flights(access.check_campaign(path.campaign_id))
    return answer(page([flight_document(view) for view in found], None))


@blueprint.post("/campaigns/<int:campaign_id>/flights", responses={201: FlightOut})
@reads
@keyed
def add_flight(path: CampaignPath, body: FlightIn, header: KeyHeader) -> Response:
    """Add a flight to a campaign."""
    campaign_id = access.check_campaign(path.campaign_id)
    local = services().overview.local(services().catalog.campaign(campaign_id).brand_id)
    starts = None if body.starts_at is None else parse_instant(body.starts_at, "starts_at", local)
    ends, budget = parse_instant(body.ends_at, "ends_at", local), parse_budget(body.budget, "budget")
    had = _numbers(campaign_id)
    changed = services().manage.add_flight(campaign_id, g.actor, starts, ends, budget, body.carries_on, body.spread)
    return _changed(changed, max(_numbers(campaign_id) - had), 201)


@blueprint.get("/campaigns/<int:campaign_id>/flights/<int:no>", responses={200: FlightOut})
@reads
def flight(path: FlightPath) -> Response:
    """Read a flight. ETag is the version of its campaign."""
    campaign_id = access.check_campaign(path.campaign_id)
    return _told(campaign_id, path.no, services().catalog.campaign(campaign_id).version)


@blueprint.patch("/campaigns/<int:campaign_id>/flights/<int:no>", responses={200: FlightOut})
@reads
def change_flight(path: FlightPath, body: FlightChange, header: MatchHeader) -> Response:
    """Change what is given of a flight that is not over, if its campaign still has the version of If-Match."""
    campaign_id = access.check_campaign(path.campaign_id)
    version = expected()
    local = services().overview.local(brand_of(services().catalog.campaign(campaign_id).id))
    changes: dict[str, Any] = {}
    for field in sorted(body.model_fields_set):
        value = getattr(body, field)
        if value is None and field != "budget":
            raise InvalidInput(f"{field} is null: give a value, or leave it out", field)
        if field == "budget":
            changes["budget_micros"] = parse_budget(value, field)
        elif field == "starts_at":
            changes["starts_ms"] = parse_instant(value, field, local)
        elif field == "ends_at":
            changes["ends_ms"] = None if value == "now" else parse_instant(value, field, local)
        else:
            changes["carries" if field == "carries_on" else field] = value
    if not changes:
        raise InvalidInput("nothing is to change: give at least one field")
    with refusing_stale():
        changed = services().manage.change_flight(campaign_id, path.no, g.actor, expected_version=version, **changes)
    return _changed(changed, path.no)


@blueprint.delete("/campaigns/<int:campaign_id>/flights/<int:no>", responses={200: FlightsOut})
@reads
def remove_flight(path: FlightPath) -> Response:
    """Remove a flight that has not begun. The answer has those that are left."""
    campaign_id = access.check_campaign(path.campaign_id)
    changed = services().manage.remove_flight(campaign_id, path.no, g.actor)
    left = services().overview.flights(campaign_id)
    return _later(answer(page([flight_document(view) for view in left], None)), changed)


def _numbers(campaign_id: int) -> set[int]:
    return {known.no for known in services().catalog.flights.of([campaign_id])[campaign_id]}


def _told(campaign_id: int, no: int, version: int, status: int = 200) -> Response:
    view = next((view for view in services().overview.flights(campaign_id) if view.no == no), None)
    if view is None:
        raise NotFound(f"campaign {campaign_id} has no flight {no}")
    return answer(flight_document(view), status, etag(version))


def _changed(changed: Changed[CampaignRecord], no: int, status: int = 200) -> Response:
    return _later(_told(changed.row.id, no, changed.row.version, status), changed)


def _later(told: Response, changed: Changed[CampaignRecord]) -> Response:
    if not changed.published:
        told.headers["Published-Later"] = "true"
    return told
