"""/activity: what happened, newest first: changes with who made them, starts and stops, and for admins logins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from flask import Response
from pydantic import Field

from api import access
from api.catalog_models import BrandPath
from api.lists import PageQuery, packed, page, place_of
from api.reading import Answer, reads
from api.results import answer, instant
from api.routes import routes
from api.when import InstantText, instant_of
from engine.domain.ids import MAX_BRAND_ID
from engine.errors import InvalidInput
from engine.ledger.activity import SOURCES, Cursor, Wanted
from engine.views.activity import Entry, Item
from engine.views.control_documents import changes_document
from web.services import services

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO: Final = timedelta(microseconds=1)
Kind = Literal["", "operation", "change", "status", "note", "people", "login"]
_OF: Final[dict[str, tuple[str, ...]]] = {
    "": SOURCES,
    "operation": ("operation",),
    "change": ("operation", "change"),
    "status": ("status",),
    "note": ("change",),
    "people": ("change",),
    "login": ("login",),
}
_FOR_ADMINS: Final = ("people", "login")
blueprint = routes("activity", __name__)


class TrailQuery(PageQuery):
    """Which lines of the feed."""

    kind: Kind = Field("", description="Of one kind only; people and login need the scope admin")
    actor: str | None = Field(None, max_length=200, description="Who did it, as `actor` has it")
    since: InstantText = Field(None, alias="from", description="Included")
    until: InstantText = Field(None, alias="to", description="Not included")


class ActivityQuery(TrailQuery):
    """Which lines of the feed, and of which brand."""

    brand_id: Annotated[int, Field(ge=1, le=MAX_BRAND_ID)] | None = None


class RowChangedOut(Answer):
    """A row of an operation. changes: {field: [old, new]}, amounts as decimal strings."""

    entity: str
    id: int
    name: str | None
    brand: str | None
    changes: dict[str, Any]


class LineOut(Answer):
    """A line of the feed. Which fields it has depends on its kind: operation, change, status or login."""

    kind: str
    id: int
    at: str
    actor: str
    brand_id: int | None = None
    brand: str | None = None
    words: str | None = Field(None, description="Of an operation: what it did; of a status: why")
    note: str | None = None
    state: str | None = None
    rows: int | None = Field(None, description="Of an operation: how many; `items` has the first ones")
    items: list[RowChangedOut] | None = None
    undo_of: int | None = None
    undone_by: int | None = None
    entity: str | None = None
    entity_id: int | None = None
    name: str | None = None
    field: str | None = None
    old: str | None = None
    new: str | None = None
    status: str | None = None
    reasons: list[str] | None = None
    campaign_id: int | None = None
    campaigns: list[str] | None = Field(None, description="Names of those that changed together")
    outcome: str | None = None
    address: str | None = None


class LinesOut(Answer):
    """A page of the feed. Lines of one cause and minute are one, so a page may have fewer than `limit`."""

    items: list[LineOut]
    next: str | None


@blueprint.get("/activity", responses={200: LinesOut})
@reads
def activity(query: ActivityQuery) -> Response:
    """Read what happened, the newest first."""
    return _lines(query, None if query.brand_id is None else access.check_brand(query.brand_id))


@blueprint.get("/brands/<int:brand_id>/activity", responses={200: LinesOut})
@reads
def of_brand(path: BrandPath, query: TrailQuery) -> Response:
    """Read what happened to a brand and its campaigns, the newest first."""
    return _lines(query, services().catalog.brand(access.check_brand(path.brand_id)).id)


def _lines(query: TrailQuery, brand_id: int | None) -> Response:
    mine = access.token()
    admin = "admin" in mine.scopes and mine.brands is None
    if query.kind in _FOR_ADMINS and not admin:
        raise access.OutOfScope(f"kind {query.kind} needs the scope admin and a token that sees every brand", "kind")
    if query.actor is not None and "\0" in query.actor:
        raise InvalidInput("actor has a NUL: leave it out", "actor")
    asked = [query.kind, query.actor, query.since, query.until, brand_id]
    wanted = Wanted(
        sources=_OF[query.kind],
        only=query.kind if query.kind in ("note", "people") else None,
        actor=query.actor,
        brand_id=brand_id,
        since=None if query.since is None else instant_of(query.since, "from"),
        until=None if query.until is None else instant_of(query.until, "to"),
        within=mine.brands,
        people=admin,
    )
    found = services().activity.page(wanted, query.limit, _read(place_of(query.cursor, asked, (int, int, int))))
    cursor = None if found.older is None else packed(asked, _written(found.older))
    return answer(page([document(entry) for entry in found.entries], cursor))


def _written(cursor: Cursor) -> list[int]:
    return [(cursor.at - _EPOCH) // _MICRO, cursor.source, cursor.id]


def _read(place: list[Any] | None) -> Cursor | None:
    """The place of a cursor. Raises InvalidInput."""
    if place is None:
        return None
    micros, source, id_ = place
    try:
        fits = 0 <= source < len(SOURCES) and 0 <= id_ < 2**63
        found = Cursor(_EPOCH + micros * _MICRO, source, id_)
    except OverflowError:
        fits = False
    if not fits:
        raise InvalidInput("cursor is not of this list: take `next` of its page before", "cursor")
    return found


def document(entry: Entry) -> dict[str, Any]:
    """A line of the feed; what it has not is left out."""
    of = entry.values
    told: dict[str, Any] = {"kind": entry.kind, "id": entry.id, "at": instant(entry.at), "actor": of["actor"]}
    if entry.kind == "operation":
        told |= {name: of[name] for name in ("words", "note", "state", "rows", "undo_of", "undone_by")}
        told["items"] = [_row(item) for item in entry.items]
    elif entry.kind == "change":
        names = ("brand_id", "brand", "entity", "entity_id", "name", "field", "old", "new", "note")
        told |= {name: of[name] for name in names}
    elif entry.kind == "status":
        told |= {name: of[name] for name in ("brand_id", "brand", "campaign_id", "status")}
        told |= {"reasons": list(of["reasons"]), "campaigns": list(entry.campaigns), "words": entry.sentence}
    else:
        told |= {"outcome": of["outcome"], "address": of["address"]}
    return told


def _row(item: Item) -> dict[str, Any]:
    return {
        "entity": item.entity,
        "id": item.entity_id,
        "name": item.name,
        "brand": item.brand,
        "changes": changes_document(item.changes),
    }
