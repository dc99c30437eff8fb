"""/alerts: what a person should look at. Acknowledging and muting one is in the activity, with who did it."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from flask import Response, g
from pydantic import Field

from api import access
from api.keyed import keyed
from api.lists import PageQuery, packed, page, place_of
from api.reading import Answer, Body, KeyHeader, Path, reads
from api.results import answer
from api.routes import routes
from engine.domain.ids import MAX_BRAND_ID
from engine.errors import InvalidInput
from engine.ledger import alerts as ledger
from engine.ledger import webhooks
from engine.ledger.alerts import AlertRow
from web.services import services

MOST_OPEN: Final = 1000
"""Open alerts that a list looks at, those that count first."""
blueprint = routes("alerts", __name__)


class AlertsQuery(PageQuery):
    """Which alerts: those that are open, those that count first; or all, the newest first."""

    state: Literal["open", "all"] = "open"
    brand_id: Annotated[int, Field(ge=1, le=MAX_BRAND_ID)] | None = None


class AlertPath(Path):
    """The address of an alert."""

    alert_id: Annotated[int, Field(ge=1, le=2**63 - 1)]


class MuteIn(Body):
    """For how many hours what an alert is about is silent."""

    hours: int = Field(8, description="1, 8, 24 or 168")


class AlertOut(Answer):
    """An alert. level: in percent of a budget, where it has one."""

    id: int
    kind: str
    severity: str
    subject: str
    brand_id: int | None
    brand: str | None
    period: str
    level: int
    round: int
    detail: str
    spent: str | None
    budget: str | None
    opened_at: str
    ended_at: str | None
    end_reason: str | None
    acknowledged_by: str | None
    muted_until: str | None


class AlertsOut(Answer):
    """A page of alerts."""

    items: list[AlertOut]
    next: str | None


@blueprint.get("/alerts", responses={200: AlertsOut})
@reads
def alerts(query: AlertsQuery) -> Response:
    """List alerts of brands that the token sees; those of the engine are for tokens that see every brand."""
    brands = access.token().brands
    if query.brand_id is not None:
        brands = (services().catalog.brand(access.check_brand(query.brand_id)).id,)
    asked = [query.state, query.brand_id]
    place = place_of(query.cursor, asked, (int, int))
    if query.state == "all":
        before = None if place is None else place[1]
        if before is not None and not 0 < before < 2**63:
            raise InvalidInput("cursor is not of this list: take `next` of its page before", "cursor")
        found = ledger.history(services().db, brands, query.limit + 1, before)
        first = 0
    else:
        found = ledger.list_open(services().db, brands, MOST_OPEN)
        first = 0 if place is None else _after(found, *place)
    shown = found[first : first + query.limit]
    more = first + query.limit < len(found)
    cursor = packed(asked, (first + len(shown), shown[-1].id)) if more else None
    return answer(page([document(row) for row in shown], cursor))


@blueprint.get("/alerts/<int:alert_id>", responses={200: AlertOut})
@reads
def alert(path: AlertPath) -> Response:
    """Read an alert."""
    return answer(document(ledger.one(services().db, path.alert_id, access.token().brands)))


@blueprint.post("/alerts/<int:alert_id>/acknowledge", responses={200: AlertOut})
@reads
@keyed
def acknowledge_alert(path: AlertPath, header: KeyHeader) -> Response:
    """Say that somebody has seen an alert: it counts no more. A higher level alerts anew."""
    return answer(document(ledger.acknowledge(services().db, path.alert_id, g.actor, access.token().brands)))


@blueprint.post("/alerts/<int:alert_id>/mute", responses={200: AlertOut})
@reads
@keyed
def mute_alert(path: AlertPath, body: MuteIn, header: KeyHeader) -> Response:
    """Silence what an alert is about. Its alerts are written down meanwhile, and neither counted nor sent."""
    return answer(document(ledger.mute(services().db, path.alert_id, body.hours, g.actor, access.token().brands)))


@blueprint.post("/alerts/<int:alert_id>/unmute", responses={200: AlertOut})
@reads
@keyed
def unmute_alert(path: AlertPath, header: KeyHeader) -> Response:
    """End that silence."""
    return answer(document(ledger.unmute(services().db, path.alert_id, g.actor, access.token().brands)))


def document(row: AlertRow) -> dict[str, Any]:
    """An alert."""
    return webhooks.document(row)


def _after(found: list[AlertRow], index: int, last: int) -> int:
    """Where a page begins: after the last alert of the one before, wherever that stands now."""
    return next((at + 1 for at, row in enumerate(found) if row.id == last), max(index, 0))
