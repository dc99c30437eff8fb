"""GET /spends: the rows of the spend log of an event, a request or a campaign. POST /spends is in `api/spending.py`."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final

from flask import Response
from pydantic import Field

from api import access
from api.lists import PageQuery, packed, place_of
from api.reading import Answer, reads
from api.results import answer, instant
from api.routes import routes
from api.spending import TextId
from api.when import InstantText, instant_of
from engine.domain.ids import MAX_CAMPAIGN_ID, MIN_CAMPAIGN_ID
from engine.domain.money import format_micros
from engine.errors import InvalidInput
from engine.ledger import find_spends
from engine.ledger.find_spends import LogRow, Place, Sought
from web.services import services

DAYS_BACK: Final = timedelta(days=31)
"""How far back a search looks without `from`."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO: Final = timedelta(microseconds=1)
blueprint = routes("audit", __name__)


class SpendsQuery(PageQuery):
    """Which spends: by at least one of event, request and campaign."""

    event_id: TextId | None = None
    request_id: TextId | None = Field(None, description="Of a call, or of one piece of a call that was split")
    campaign_id: Annotated[int, Field(ge=MIN_CAMPAIGN_ID, le=MAX_CAMPAIGN_ID)] | None = None
    since: InstantText = Field(None, alias="from", description="Included; 31 days before `to` without it")
    until: InstantText = Field(None, alias="to", description="Not included; now without it")


class RowOut(Answer):
    """A row of the spend log. amount is below 0 for what was given back. shard to position: its place in the journal."""

    recorded_at: str
    day: str
    brand_id: int
    campaign_id: int
    amount: str
    kind: str = Field(description="spend, late, over, unitemised, refund or correction")
    event_id: str | None
    request_id: str
    occurred_at: str | None
    hold_id: str | None
    shard: int
    generation: int
    n: int
    position: int


class RowsOut(Answer):
    """A page of rows, the newest day first. It may have few rows, or none, and yet a `next`: the search goes on there."""

    items: list[RowOut]
    next: str | None
    dropped_days: list[str] = Field(description="Days between `from` and `to` of which rows are in the log no more")


@blueprint.get("/spends", responses={200: RowsOut})
@reads
def spends(query: SpendsQuery) -> Response:
    """Find the spends of an event, a request or a campaign, as the log has them. Follow `next` until it is null."""
    if query.event_id is None and query.request_id is None and query.campaign_id is None:
        raise InvalidInput("give event_id, request_id or campaign_id: the whole log is exported, not searched", "event_id")  # fmt: skip
    if query.campaign_id is not None:
        services().catalog.campaign(access.check_campaign(query.campaign_id))
    asked = [query.event_id, query.request_id, query.campaign_id, query.since, query.until]
    place = place_of(query.cursor, asked, (str, int, int, int, int, str, str))
    # A page goes on with the instants of the first one, whose `to` may have been its now.
    until = _until(query) if place is None else instant_of(place[6], "to")
    since = _since(query, until) if place is None else instant_of(place[5], "from")
    if since >= until:
        raise InvalidInput(f"from {since:%Y-%m-%dT%H:%M:%SZ} is not before to {until:%Y-%m-%dT%H:%M:%SZ}", "from")
    wanted = Sought(since, until, query.event_id, query.request_id, query.campaign_id, access.token().brands)
    found = find_spends.find(services().db, wanted, query.limit, None if place is None else _read(place))
    instants = since.isoformat(), until.isoformat()
    document = {
        "items": [_document(row) for row in found.rows],
        "next": None if found.next is None else packed(asked, [*_written(found.next), *instants]),
        "dropped_days": [day.isoformat() for day in found.dropped],
    }
    return answer(document)


def _until(query: SpendsQuery) -> datetime:
    # A row that was recorded just now may be of an instant that is ahead of this machine's clock.
    return datetime.now(UTC) + timedelta(minutes=1) if query.until is None else instant_of(query.until, "to")


def _since(query: SpendsQuery, until: datetime) -> datetime:
    return max(until - DAYS_BACK, _EPOCH + DAYS_BACK) if query.since is None else instant_of(query.since, "from")


def _written(place: Place) -> list[Any]:
    at = 0 if place.recorded_at is None else (place.recorded_at - _EPOCH) // _MICRO
    return [place.day.isoformat(), at, place.generation, place.n, place.position]


def _read(place: list[Any]) -> Place:
    """The place of a cursor. Raises InvalidInput."""
    day, at, generation, n, position = place[:5]
    try:
        moment = None if at == 0 else _EPOCH + at * _MICRO
        fits = all(0 <= number < 2**62 for number in (generation, n)) and 0 <= position < 2**31
        found = Place(date.fromisoformat(day), moment, generation, n, position)
    except (ValueError, OverflowError):
        fits = False
    if not fits:
        raise InvalidInput("cursor is not of this list: take `next` of its page before", "cursor")
    return found


def _document(row: LogRow) -> dict[str, Any]:
    return {
        "recorded_at": instant(row.recorded_at),
        "day": row.day.isoformat(),
        "brand_id": row.brand_id,
        "campaign_id": row.campaign_id,
        "amount": format_micros(row.amount_micros),
        "kind": row.kind,
        "event_id": row.event_id,
        "request_id": row.request_id,
        "occurred_at": instant(row.occurred_at),
        "hold_id": row.hold_id,
        "shard": row.shard,
        "generation": row.generation,
        "n": row.n,
        "position": row.position,
    }
