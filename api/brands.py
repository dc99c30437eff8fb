"""/brands: list, create, read, change, pause, archive. Changes go through the same flows as the command line's."""

from __future__ import annotations

from typing import Any, Final

from flask import Response, g

from api import access
from api.catalog_models import BrandChange, BrandIn, BrandOut, BrandPath, BrandsOut, BrandsQuery, NewName, Reason
from api.keyed import keyed
from api.lists import packed, page, place_of
from api.problems import Stale
from api.reading import KeyHeader, MatchHeader, reads
from api.results import answer
from api.routes import routes
from api.versions import etag, expected
from engine.domain.money import parse_budget
from engine.domain.pacing import Pacing, check_catch_up, check_pacing
from engine.errors import Conflict, InvalidInput, ServerAway
from engine.flows.catalog.manage import Changed
from engine.ledger.hourly import Owner
from engine.ledger.listing import paused_brands
from engine.ledger.records import BrandRecord
from engine.views.documents import brand_document, forecast_document
from engine.views.models import BrandView
from web.budget_list import State, filtered, seen_lines
from web.services import services

blueprint = routes("brands", __name__)
BUDGETS: Final = ("daily_budget", "monthly_budget", "rollover_cap")


@blueprint.get("/brands", responses={200: BrandsOut})
@reads
def brands(query: BrandsQuery) -> Response:
    """List brands with their figures, which are up to two seconds old."""
    state = State.of({"q": query.q, "tab": query.state, "only": query.only, "sort": query.sort})
    asked = [query.q, query.state, query.only, query.sort]
    place = place_of(query.cursor, asked, (int, int))
    found = filtered(seen_lines(services().budget_board.look().lines, access.token().brands), state)
    first = 0
    if place is not None:
        index, last = place
        # After the last brand of the page before, wherever it stands now.
        first = next((at + 1 for at, line in enumerate(found) if line.id == last), max(index, 0))
    lines = found[first : first + query.limit]
    more = first + query.limit < len(found)
    cursor = packed(asked, (first + len(lines), lines[-1].id)) if more else None
    paused = paused_brands(services().db, [line.id for line in lines])
    return answer(page([document(line.view, line.id in paused) for line in lines], cursor))


@blueprint.post("/brands", responses={201: BrandOut})
@reads
@keyed
def create_brand(body: BrandIn, header: KeyHeader) -> Response:
    """Create a brand. A token that sees some brands only makes none."""
    if access.token().brands is not None:
        raise access.OutOfScope("this token sees some brands only, and so makes no new one")
    daily, monthly, cap = (parse_budget(getattr(body, name), name) for name in BUDGETS)
    pacing = Pacing(check_pacing(body.pacing), check_catch_up(body.catch_up))
    wanted = (body.name, daily, monthly, body.external_id)
    made = services().manage.create_brand(*wanted, g.actor, pacing, body.time_zone, cap)
    return _changed(made, 201)


@blueprint.get("/brands/<int:brand_id>", responses={200: BrandOut})
@reads
def brand(path: BrandPath) -> Response:
    """Read a brand with its figures of now. ETag is its version."""
    brand_id = access.check_brand(path.brand_id)
    return _told(brand_id, forecast=_heading(brand_id))


@blueprint.patch("/brands/<int:brand_id>", responses={200: BrandOut})
@reads
def change_brand(path: BrandPath, body: BrandChange, header: MatchHeader) -> Response:
    """Change what is given of a brand, if it still has the version of If-Match."""
    brand_id = access.check_brand(path.brand_id)
    version = expected()
    changes = changes_of(body, BUDGETS)
    if "time_zone" in changes:
        changes["time_zone"] = changes["time_zone"] or "UTC"
    with refusing_stale():
        changed = services().manage.update_brand(brand_id, g.actor, expected_version=version, **changes)
    return _changed(changed)


@blueprint.post("/brands/<int:brand_id>/pause", responses={200: BrandOut})
@reads
@keyed
def pause_brand(path: BrandPath, body: Reason, header: KeyHeader) -> Response:
    """Stop a whole brand. Its campaigns keep their own switches."""
    return _changed(services().manage.pause_brand(access.check_brand(path.brand_id), g.actor, body.reason))


@blueprint.post("/brands/<int:brand_id>/resume", responses={200: BrandOut})
@reads
@keyed
def resume_brand(path: BrandPath, body: Reason, header: KeyHeader) -> Response:
    """Take the pause of a brand back."""
    return _changed(services().manage.resume_brand(access.check_brand(path.brand_id), g.actor, body.reason))


@blueprint.post("/brands/<int:brand_id>/archive", responses={200: BrandOut})
@reads
@keyed
def archive_brand(path: BrandPath, header: KeyHeader) -> Response:
    """Take a brand and all its campaigns out of use. Nothing is deleted."""
    return _changed(services().manage.archive_brand(access.check_brand(path.brand_id), g.actor))


@blueprint.post("/brands/<int:brand_id>/unarchive", responses={200: BrandOut})
@reads
@keyed
def unarchive_brand(path: BrandPath, body: NewName, header: KeyHeader) -> Response:
    """Take a brand into use again, with its campaigns as they were."""
    more = {} if body.name is None else {"name": body.name}
    return _changed(services().manage.unarchive_brand(access.check_brand(path.brand_id), g.actor, **more))


class refusing_stale:  # used as a statement
    """Turns the catalog's word for another version into 412."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Conflict) and error.field == "version":
            raise Stale(str(error)) from None


def changes_of(body: BrandChange | Any, budgets: tuple[str, ...]) -> dict[str, Any]:
    """The fields that were given, as the flows take them. Raises InvalidInput where none is, or one cannot be null."""
    changes: dict[str, Any] = {}
    for field in sorted(body.model_fields_set):
        value = getattr(body, field)
        if value is None and field in ("name", "pacing", "catch_up"):
            raise InvalidInput(f"{field} is null: give a value, or leave it out", field)
        if field in budgets:
            changes[f"{field}_micros"] = parse_budget(value, field)
        elif field == "pacing":
            changes[field] = check_pacing(value)
        elif field == "catch_up":
            changes[field] = check_catch_up(value)
        else:
            changes[field] = value
    if not changes:
        raise InvalidInput("nothing is to change: give at least one field")
    return changes


def document(view: BrandView, paused: bool) -> dict[str, Any]:
    """A brand without its campaigns, which have a list of their own."""
    told = brand_document(view)
    del told["campaigns"]
    return {**told, "version": view.version, "archived": view.archived, "paused": paused}


def _told(brand_id: int, status: int = 200, **more: Any) -> Response:
    view = services().overview.summed(brand_id)
    paused = bool(paused_brands(services().db, [brand_id]))
    return answer({**document(view, paused), **more}, status, etag(view.version))


def _heading(brand_id: int) -> dict[str, Any] | None:
    """A brand's forecast, up to a minute old; None where nothing is forecast."""
    owner = Owner("brand", brand_id)
    try:
        found = services().courses.heading(owner)
    except ServerAway:  # of Redis: the rest of the brand is the log's
        return None
    return None if isinstance(found, str) else forecast_document(owner, found)


def _changed(changed: Changed[BrandRecord], status: int = 200) -> Response:
    """The brand after a change. Published-Later says that Redis has it later, where it could not be told now."""
    told = _told(changed.row.id, status)
    if not changed.published:
        told.headers["Published-Later"] = "true"
    return told
