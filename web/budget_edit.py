"""Both budgets of a brand, changed in its row of the list: what follows is shown as one types, and the second editor overwrites nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from flask import Blueprint, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from engine.domain.budget import daily_above_monthly
from engine.domain.money import parse_budget
from engine.errors import BudgetError, Conflict, NotFound, shown
from engine.ledger import changes
from engine.views.budget_line import BudgetLine
from web import messages
from web.budget_list import CONTENT_S, State
from web.formats import NO_LIMIT, clock, count, money
from web.services import services

MOST_COUNTED: Final = 2_000
"""What starts and stops is counted for a brand of at most so many campaigns while a person types."""
LARGEST_VERSION: Final = 2**62
FIELDS: Final = {"daily": "daily_budget_micros", "monthly": "monthly_budget_micros"}

blueprint = Blueprint("budget_edit", __name__)


@blueprint.get("/budgets/<int:brand_id>/preview")
def preview(brand_id: int) -> ResponseReturnValue:
    """What follows from the budgets in the query, as a fragment of the row."""
    return render_template("_follows.html", follows=follows(_line(brand_id), request.args.to_dict()))


@blueprint.post("/budgets/<int:brand_id>/change")
def change(brand_id: int) -> ResponseReturnValue:
    """Sets both budgets where the row is at the version that the form was made from; else the person is told what it is now."""
    typed = {name: request.form.get(name, "").strip()[:30] for name in FIELDS}
    try:
        if "look" in request.form:
            return _again(brand_id, typed)
        wanted = {column: parse_budget(typed[name], f"{name}_budget") for name, column in FIELDS.items()}
        version = _version(request.form.get("version", ""))
        changed = services().manage.update_brand(brand_id, g.actor, **wanted, expected_version=version)
    except Conflict as error:
        if error.field != "version":
            raise
        now = services().catalog.brand(brand_id)
        who = changes.last_actor(services().db, "brand", brand_id)
        stored = f"daily budget {_words(now.daily_budget_micros)}, monthly budget {_words(now.monthly_budget_micros)}"
        messages.tell(
            ("warn", f"{who or 'Somebody'} changed {now.name} meanwhile. Nothing was saved."),
            ("then", f"It has now: {stored}. What you typed is still in its row: save again to set it."),
        )
        services().budget_board.changed()
        return _again(brand_id, typed)
    except BudgetError as error:
        if isinstance(error, NotFound) or getattr(error, "field", None) not in (
            "daily_budget",
            "monthly_budget",
            "version",
        ):
            raise
        messages.tell(("warn", f"{error}. Nothing was saved."))
        return _again(brand_id, typed)
    messages.of_change(changed, f"{changed.row.name} saved.")
    return redirect(f"{_state().at(page=_state().page).query(url_for('budgets.budgets'))}#b-{brand_id}")


def follows(line: BudgetLine, typed: Mapping[str, str]) -> list[tuple[str, str]]:
    """What a change of both budgets of a brand does, before it is made: (style of a message, sentence)."""
    view = line.view
    now = {"daily": view.own_daily_budget, "monthly": view.monthly_budget}
    try:
        wanted = {name: parse_budget(typed[name], f"{name}_budget") if name in typed else now[name] for name in FIELDS}
    except BudgetError as error:
        return [("warn", f"{error}.")]
    apart = [
        f"{name} budget {_words(now[name])} → {_words(wanted[name])}" for name in FIELDS if wanted[name] != now[name]
    ]
    if not apart:
        return [("then", "Nothing changes.")]
    out = [("done", f"{'; '.join(apart).capitalize()}.")]
    out += [
        ("then", sentence) for sentence in (_effect(line, now, wanted), _end_of_day(line, wanted["daily"])) if sentence
    ]
    daily, monthly = wanted["daily"], wanted["monthly"]
    if daily is not None and monthly is not None and daily_above_monthly(daily, monthly):
        out.append(("warn", "The daily budget is above the monthly one, which is used up first."))
    return out


def _effect(line: BudgetLine, now: Mapping[str, int | None], wanted: Mapping[str, int | None]) -> str:
    if line.view.campaigns > MOST_COUNTED:
        return ""
    fields = {column: [now[name], wanted[name]] for name, column in FIELDS.items() if now[name] != wanted[name]}
    starts, stops = services().operations.effect_on_brand(line.id, fields)
    if starts is None or stops is None:
        return ""
    if starts:
        return f"{count(starts, 'campaign')} {'starts' if starts == 1 else 'start'} again."
    if stops:
        return f"{count(stops, 'campaign')} {'stops' if stops == 1 else 'stop'} at once."
    return "No campaign starts or stops by it."


def _end_of_day(line: BudgetLine, daily: int | None) -> str:
    """When the new daily budget is used up at the rate of today."""
    view = line.view
    if daily is None or view.paused or not view.campaigns:
        return ""
    daily += view.carried
    if view.daily_spend >= daily:
        return f"It is used up: {money(view.daily_spend)} is spent today."
    out_ms = view.runs_out_at(daily)
    if out_ms is not None:
        return f"At this rate it is used up about {clock(out_ms, view.local)}."
    end = view.projected_day_micros
    return "" if end is None else f"At this rate it lasts the day, which ends at {money(end)}."


def _words(micros: int | None) -> str:
    return NO_LIMIT if micros is None else money(micros)


def _line(brand_id: int) -> BudgetLine:
    """The line of a brand. Raises NotFound."""
    for line in services().budget_board.look(CONTENT_S).lines:
        if line.id == brand_id:
            return line
    raise NotFound(f"there is no brand {shown(brand_id)}: `brand list` shows all")


def _version(text: str) -> int:
    """Raises Conflict where it is none, as for a row of another version."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Conflict(f"version {shown(text)} is not a version", "version")
    return int(text)


def _state() -> State:
    """The state of the list from which the form was sent."""
    asked = urlsplit(request.referrer or "")
    if asked.netloc != request.host or asked.path != url_for("budgets.budgets"):
        return State()
    try:
        return State.of_query(asked.query)
    except BudgetError:
        return State()


def _again(brand_id: int, typed: Mapping[str, str]) -> ResponseReturnValue:
    """The list with the row still open, and what was typed in it."""
    state = _state().at(page=_state().page, edit=brand_id, typed=tuple(sorted(typed.items())))
    return redirect(f"{state.query(url_for('budgets.budgets'))}#b-{brand_id}")
