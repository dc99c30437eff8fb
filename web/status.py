"""The status page, and its fragment that the page fetches every two seconds. The URL has the filter and the opened
brands.
"""

from __future__ import annotations

import gzip
from typing import Any
from urllib.parse import parse_qs, urlsplit

from flask import Blueprint, Response, current_app, render_template, request, url_for
from flask.typing import ResponseReturnValue

from engine.errors import InvalidInput, ServerAway
from web import messages
from web.access import person
from web.last_shown import LastShown
from web.query import whole_number
from web.services import services
from web.view import FEW_BRANDS, State, page_of

LATEST = 10
CHANGES_A_PAGE = 100
MOST_CHANGES = 5000
LARGEST_ID = 2**63 - 1


blueprint = Blueprint("status", __name__)


@blueprint.get("/status")
def status() -> ResponseReturnValue:
    """The whole page."""
    context = _context(State.of(request.args.to_dict()))
    return render_template("status.html", **context), 503 if context["away"] and context["page"] is None else 200


@blueprint.get("/live")
def live() -> ResponseReturnValue:
    """The fragment of the page that refreshes itself."""
    response = Response(render_template("_live.html", **_context(State.of(request.args.to_dict()))))
    # A tenth of the bytes every two seconds. The fragment has no token, so its compressed length reveals nothing.
    if request.accept_encodings["gzip"] > 0:
        response.set_data(gzip.compress(response.get_data(), 5))
        response.headers["Content-Encoding"] = "gzip"
    response.vary.add("Accept-Encoding")
    return response


@blueprint.get("/changes")
def changes() -> ResponseReturnValue:
    """The audit trail of the catalog: who changed what."""
    limit = whole_number(request.args, "limit", MOST_CHANGES) or CHANGES_A_PAGE
    before = whole_number(request.args, "before", LARGEST_ID)
    who = person()
    lines = services().overview.catalog_changes(limit, before, who.brands, users=who.may("admin"))
    older = lines[-1].id if len(lines) == limit else None
    brands = {brand.id: brand.name for brand in services().catalog.brands(include_archived=True)}
    return render_template("changes.html", lines=lines, older=older, before=before, limit=limit, brands=brands)


def render_live() -> ResponseReturnValue:
    """The reply to a button: the message, and on the status page the fragment for the state in its URL. Other pages refresh themselves."""
    asked = urlsplit(request.headers.get("HX-Current-URL", ""))
    if asked.path != url_for("status.status"):
        return Response(render_template("_toasts.html", toasts=messages.waiting()))
    query = parse_qs(asked.query)
    try:
        state = State.of({name: values[-1] for name, values in query.items()})
    except InvalidInput:
        state = State()  # the change was made, so an invalid URL must not look like a failure
    return Response(render_template("_answer.html", **_context(state)))


def _context(state: State) -> dict[str, Any]:
    """The values that the fragment shows. While a server is away it has those of the others, and names that server."""
    overview = services().overview
    context: dict[str, Any] = {"state": state, "page": None, "away": [], "spends": None, "switches": None, "old": None}
    seen = person().brands
    context["health"] = overview.health()
    try:
        many = not state.filtered and overview.count_brands() > FEW_BRANDS
        snapshot = overview.summary(state.opened, seen) if many else overview.snapshot(state.archived, seen)
        context["page"] = page_of(snapshot, state)
        context["spends"] = overview.latest_spends(LATEST, seen)
        context["switches"] = overview.latest_changes(LATEST, seen)
        _last_shown().keep(seen, snapshot, context["spends"], context["switches"])
    except ServerAway as away:
        context["away"].append(away)
        if (old := _last_shown().get(seen)) is not None:
            context |= {
                "page": page_of(old.snapshot, state),
                "spends": old.spends,
                "switches": old.switches,
                "old": old,
            }
    return context


def _last_shown() -> LastShown:
    found = current_app.extensions.setdefault("last_shown", LastShown())
    assert isinstance(found, LastShown)
    return found
