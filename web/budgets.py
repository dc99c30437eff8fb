"""The first page, the list of budgets: its fragment that the page fetches every two seconds, and what is filtered as CSV."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from engine.errors import ServerAway
from engine.views.budget_board import Picture
from engine.views.budget_line import ALERTS, BudgetLine
from web import csv_text
from web.access import person
from web.budget_edit import follows
from web.budget_list import (
    CONTENT_S,
    HEADS,
    NOBODY,
    TABS,
    Shown,
    State,
    filtered,
    page_of,
    seen_lines,
    state_words,
    why_words,
)
from web.charts import bars
from web.services import services

blueprint = Blueprint("budgets", __name__)

_OF_STATUS = frozenset({"open", "fold", "whole", "cause"})
_CHANGING = frozenset({"budget_edit", "catalog", "operations", "flights", "limits"})
_COLUMNS = (
    "brand_id", "external_id", "name", "state", "alerts", "spent_today", "daily_budget", "due_by_now", "end_of_day", "spent_this_month",
    "monthly_budget", "campaigns_running", "campaigns", "time_zone",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Read:
    """What a request shows, with the time that the figures are of."""

    html: str
    etag: str
    picture: Picture


@blueprint.get("/")
def budgets() -> ResponseReturnValue:
    """The whole page. An address of the status page from when that was the first one leads there."""
    if request.args.keys() & _OF_STATUS:
        return _with_query("status.status")
    state = State.of(request.args.to_dict())
    read = _read(state)
    return render_template("budgets.html", state=state, html=read.html, etag=read.etag, picture=read.picture)


@blueprint.get("/budgets")
def moved() -> ResponseReturnValue:
    """The address that the list had before."""
    return _with_query("budgets.budgets")


def _with_query(endpoint: str) -> ResponseReturnValue:
    """Another address with the query of this one, whatever is in it."""
    query = urlencode(list(request.args.items(multi=True)))
    return redirect(f"{url_for(endpoint)}?{query}" if query else url_for(endpoint))


@blueprint.get("/budgets/live")
def live() -> ResponseReturnValue:
    """The fragment for what a person does: from figures that are a moment old, so that no keystroke waits for a server."""
    return _fragment(CONTENT_S)


@blueprint.get("/budgets/poll")
def poll() -> ResponseReturnValue:
    """The fragment that refreshes itself."""
    return _fragment(0.0)


def _fragment(content_s: float) -> ResponseReturnValue:
    """Nothing but its head where it has not changed."""
    read = _read(State.of(request.args.to_dict()), content_s)
    response = Response(status=304) if read.etag in request.if_none_match else Response(read.html)
    response.set_etag(read.etag)
    response.headers["Figures-Age"] = f"{read.picture.age_s:.1f}"
    response.headers["Figures-Oldest"] = read.picture.oldest
    if response.status_code == 200 and request.accept_encodings["gzip"] > 0:
        # The fragment has no token, so its compressed length reveals nothing.
        response.set_data(gzip.compress(response.get_data(), 5))
        response.headers["Content-Encoding"] = "gzip"
    response.vary.add("Accept-Encoding")
    return response


@blueprint.after_app_request
def _figures_follow(response: Response) -> Response:
    """Whoever changed something sees it in the next look, however young the figures are."""
    if request.method == "POST" and response.status_code < 400 and request.blueprint in _CHANGING:
        services().budget_board.changed()
    return response


@blueprint.get("/budgets.csv")
def export() -> ResponseReturnValue:
    """All of what is filtered, not only a page of it."""
    state = State.of(request.args.to_dict())
    named = services().campaign_names.brands_with(state.text)
    lines = filtered(seen_lines(services().budget_board.look().lines, person().brands), state, named)
    return csv_text.streamed(_COLUMNS, _rows(lines), "budgets.csv")


def _rows(lines: list[BudgetLine]) -> Iterator[list[str]]:
    cell, exact = csv_text.cell, csv_text.exact
    for line in lines:
        view = line.view
        yield [
            cell(view.id), cell(view.external_id), cell(view.name), state_words(line), ", ".join(ALERTS[name] for name in line.alerts),
            exact(view.daily_spend), exact(view.daily_budget), exact(line.plan), exact(line.end), exact(view.monthly_spend),
            exact(view.monthly_budget), cell(view.active_campaigns), cell(view.campaigns), cell(view.time_zone),
        ]  # fmt: skip


def _read(state: State, content_s: float = 0.0) -> _Read:
    picture = services().budget_board.look(content_s)
    try:
        named = services().campaign_names.brands_with(state.text)
    except ServerAway:
        named = NOBODY  # the note says that PostgreSQL is away
    shown = page_of(seen_lines(picture.lines, person().brands), state, named)
    html = render_template("_budgets.html", **_context(state, shown, picture, named))
    return _Read(html, hashlib.sha256(html.encode()).hexdigest()[:32], picture)


def _context(state: State, shown: Shown, picture: Picture, named: frozenset[int]) -> dict[str, Any]:
    ids = [line.id for line in shown.lines]
    try:
        sparks = services().sparks.of(ids, picture.now_ms)
        hits = services().campaign_names.first_of(state.text, named.intersection(ids))
    except ServerAway:
        sparks, hits = {}, {}  # the note says that PostgreSQL is away
    return {
        "named": hits,
        "state": state,
        "shown": shown,
        "picture": picture,
        "sparks": {brand: bars(values) for brand, values in sparks.items()},
        "path": url_for("budgets.budgets"),
        "TABS": TABS,
        "HEADS": HEADS,
        "ALERTS": ALERTS,
        "state_words": state_words,
        "why_words": why_words,
        "follows": follows,
        "health": services().overview.parts.health(latest=True),
    }
