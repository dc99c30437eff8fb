"""The page of what happened: changes, starts and stops, notes and logins in one feed, with its filters in the address; and all of it as CSV."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from flask import Blueprint, Flask, render_template, request, url_for
from flask.typing import ResponseReturnValue

from engine.errors import BudgetError, InvalidInput, NotFound, shown
from engine.ledger.activity import SOURCES, Cursor, Wanted
from engine.ledger.reports import CatalogLine
from engine.views.activity import Entry, Trail
from web import csv_text
from web.access import person
from web.guard import is_htmx
from web.services import services

A_PAGE: Final = 100
MOST_TEXT: Final = 200
KINDS: Final = {
    "": "Everything",
    "change": "Changes",
    "status": "Starts and stops",
    "note": "Notes",
    "people": "Users and tokens",
    "login": "Logins",
}
_ADMINS: Final = ("people", "login")
_SOURCES: Final = {
    "": SOURCES,
    "change": ("operation", "change"),
    "status": ("status",),
    "note": ("change",),
    "people": ("change",),
    "login": ("login",),
}
_COLUMNS: Final = (
    "at", "kind", "who", "operation", "brand_id", "brand", "campaign_id", "campaign", "what", "from", "to", "note",
)  # fmt: skip
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

blueprint = Blueprint("activity", __name__)


@dataclass(frozen=True, slots=True)
class State:
    """What the address looks for, as it was written."""

    who: str
    kind: str
    brand: str
    since: str
    until: str

    @classmethod
    def of(cls, query: Mapping[str, str]) -> State:
        """Parses the values of a query string. Raises InvalidInput."""
        given = [query.get(name, "").strip() for name in ("who", "kind", "brand", "from", "to")]
        for name, text in zip(("who", "kind", "brand", "from", "to"), given, strict=True):
            if len(text) > MOST_TEXT or "\0" in text:
                raise InvalidInput(f"{name} {shown(text)} is longer than {MOST_TEXT} characters, or has a NUL", name)
        if given[1] not in KINDS:
            raise InvalidInput(f"kind {shown(given[1])} is none of {', '.join(filter(None, KINDS))}", "kind")
        return cls(*given)

    def query(self, endpoint: str, **more: str) -> str:
        """The address of an endpoint with this state."""
        pairs = {"who": self.who, "kind": self.kind, "brand": self.brand, "from": self.since, "to": self.until, **more}
        text = urlencode({name: value for name, value in pairs.items() if value})
        return f"{url_for(endpoint)}?{text}" if text else url_for(endpoint)

    @property
    def filtered(self) -> bool:
        return bool(self.who or self.kind or self.brand or self.since or self.until)

    def wanted(self) -> Wanted:
        """What the feed is asked for, within what this person sees. Raises InvalidInput, NotFound."""
        who = person()
        return Wanted(
            sources=_SOURCES[self.kind],
            only=self.kind if self.kind in ("note", "people") else None,
            actor=self.who or None,
            brand_id=_brand(self.brand) if self.brand else None,
            since=_instant(self.since, "from", 0) if self.since else None,
            until=_instant(self.until, "to", 1) if self.until else None,
            within=who.brands,
            people=who.may("admin"),
        )


@blueprint.get("/activity")
def activity() -> ResponseReturnValue:
    """A page of the feed; to htmx its further lines alone."""
    state = State.of(request.args.to_dict())
    feed = services().activity.page(state.wanted(), A_PAGE, _cursor(request.args.get("after", "")))
    older = None if feed.older is None else state.query("activity.activity", after=_written(feed.older))
    context: dict[str, Any] = {
        "state": state,
        "entries": feed.entries,
        "older": older,
        "after": request.args.get("after"),
    }
    context["kinds"] = {kind: words for kind, words in KINDS.items() if person().may("admin") or kind not in _ADMINS}
    return render_template("_activity.html" if is_htmx() else "activity.html", **context)


@blueprint.get("/activity.csv")
def export() -> ResponseReturnValue:
    """All of what is filtered, a line for each field that was changed."""
    wanted = State.of(request.args.to_dict()).wanted()
    return csv_text.streamed(_COLUMNS, map(_cells, services().activity.trail(wanted)), "activity.csv")


def change_line(entry: Entry) -> CatalogLine:
    """A change that is of no operation, as the trail's filters take it."""
    of = entry.values
    return CatalogLine(
        entry.id, entry.at, of["actor"], of["entity"], of["entity_id"], of["name"], of["field"], of["old"], of["new"],
        of["note"],
    )  # fmt: skip


def install(app: Flask) -> None:
    """Registers the template filter."""
    app.jinja_env.filters.update(change_line=change_line)


def _cells(line: Trail) -> list[str]:
    cell = csv_text.cell
    at = f"{line.at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    return [
        at, line.kind, cell(line.actor), cell(line.operation_id), cell(line.brand_id), cell(line.brand), cell(line.campaign_id),
        cell(line.campaign), cell(line.what), cell(line.old), cell(line.new), cell(line.note),
    ]  # fmt: skip


def _brand(text: str) -> int:
    """The id of a brand by its number, `ext:` and its external id, or its name. Raises NotFound, also for one out of sight."""
    catalog = services().catalog
    found: int | None = None
    try:
        found = catalog.resolve_brand(text)
    except BudgetError:
        try:
            named = catalog.brand_by_name(text)
        except InvalidInput:
            named = None
        found = None if named is None else named.id
    if found is None or not person().sees(found):
        raise NotFound(f"there is no brand {shown(text)}: give its name, its id, or ext: and its external id")
    return found


def _instant(text: str, name: str, days: int) -> datetime:
    """A day, or an instant to the minute, in UTC; of a day its beginning, and with `days` 1 its end. Raises InvalidInput."""
    try:
        if len(text) == len("2026-11-29"):
            return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC) + timedelta(days=days)
        if len(text) == len("2026-11-29 14:00") and text[10] in " T":
            return datetime.fromisoformat(text).replace(tzinfo=UTC) + timedelta(minutes=days)
    except (ValueError, OverflowError):
        pass
    raise InvalidInput(f"{name} {shown(text)} is no day and no minute: write 2026-11-29 or 2026-11-29 14:00", name)


def _written(cursor: Cursor) -> str:
    micros = (cursor.at - _EPOCH) // timedelta(microseconds=1)
    return f"{micros}.{cursor.source}.{cursor.id}"


def _cursor(text: str) -> Cursor | None:
    """Where a page begins. Raises InvalidInput."""
    if not text:
        return None
    parts = text.split(".")
    whole = len(parts) == 3 and all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts)
    if not whole or int(parts[1]) >= len(SOURCES):
        raise InvalidInput(f"after {shown(text)} is no place in this list: begin at its first page", "after")
    try:
        at = _EPOCH + timedelta(microseconds=int(parts[0]))
    except OverflowError:
        raise InvalidInput(f"after {shown(text)} is no place in this list: begin at its first page", "after") from None
    return Cursor(at, int(parts[1]), int(parts[2]))
