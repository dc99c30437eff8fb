"""The status page and its fragment, which the page fetches again every two seconds. What is filtered and opened stands in the address."""

from __future__ import annotations

import gzip
from typing import Any
from urllib.parse import parse_qs, urlsplit

from flask import Blueprint, Response, current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from engine.errors import InvalidInput, ServerAway
from web.guard import is_htmx
from web.kept import Kept
from web.parts import parts
from web.query import whole_number
from web.view import FEW_BRANDS, State, page_of

LATEST = 10
CHANGES_A_PAGE = 100
MOST_CHANGES = 5000
LARGEST_ID = 2**63 - 1

blueprint = Blueprint("status", __name__)


@blueprint.get("/")
def status() -> ResponseReturnValue:
    """The whole page."""
    context = _context(State.of(request.args.to_dict()))
    return render_template("status.html", **context), 503 if context["away"] and context["page"] is None else 200


@blueprint.get("/live")
def live() -> ResponseReturnValue:
    """The part of the page that refreshes itself."""
    response = Response(render_template("_live.html", **_context(State.of(request.args.to_dict()))))
    # Ten times less on the wire every two seconds. The fragment holds no token, so its length tells nobody anything.
    if request.accept_encodings["gzip"] > 0:
        response.set_data(gzip.compress(response.get_data(), 5))
        response.headers["Content-Encoding"] = "gzip"
    response.vary.add("Accept-Encoding")
    return response


@blueprint.get("/changes")
def changes() -> ResponseReturnValue:
    """Who changed what in the catalog."""
    limit = whole_number(request.args, "limit", MOST_CHANGES) or CHANGES_A_PAGE
    before = whole_number(request.args, "before", LARGEST_ID)
    lines = parts().overview.catalog_changes(limit, before)
    older = lines[-1].id if len(lines) == limit else None
    brands = {brand.id: brand.name for brand in parts().catalog.brands(include_archived=True)}
    return render_template("changes.html", lines=lines, older=older, before=before, limit=limit, brands=brands)


def render_live() -> ResponseReturnValue:
    """What answers a button of the page: the message for its list, and the fragment by the state of the page that asked."""
    query = parse_qs(urlsplit(request.headers.get("HX-Current-URL", "")).query)
    try:
        state = State.of({name: values[-1] for name, values in query.items()})
    except InvalidInput:
        state = State()  # the change is made: an address that makes no sense must not read as if it were not
    return Response(render_template("_answer.html", **_context(state)))


def back_to_status(brand_id: int) -> ResponseReturnValue:
    """To the status page with this brand opened; to the very page that asked, where that was it."""
    asked = urlsplit(request.referrer or "")
    if asked.path == url_for("status.status") and asked.netloc == request.host and not is_htmx():
        return redirect(f"{asked.path}?{asked.query}" if asked.query else asked.path)
    return redirect(url_for("status.status", open=brand_id, _anchor=f"brand-{brand_id}"))


def _context(state: State) -> dict[str, Any]:
    """Everything that the fragment shows. With a server away it shows what the others know, and says which is away."""
    overview = parts().overview
    context: dict[str, Any] = {"state": state, "page": None, "away": [], "spends": None, "switches": None, "old": None}
    context["health"] = overview.health()
    try:
        many = not state.filtered and overview.count_brands() > FEW_BRANDS
        snapshot = overview.summary(state.opened) if many else overview.snapshot(state.archived)
        context["page"] = page_of(snapshot, state)
        context["spends"] = overview.latest_spends(LATEST)
        context["switches"] = overview.latest_changes(LATEST)
        _kept().keep(snapshot, context["spends"], context["switches"])
    except ServerAway as away:
        context["away"].append(away)
        if (old := _kept().seen()) is not None:
            context |= {
                "page": page_of(old.snapshot, state),
                "spends": old.spends,
                "switches": old.switches,
                "old": old,
            }
    return context


def _kept() -> Kept:
    kept = current_app.extensions.setdefault("kept_figures", Kept())
    assert isinstance(kept, Kept)
    return kept
