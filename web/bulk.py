"""What is done to a selection in a list: the rows that are ticked, or all that its filter leaves, become a draft."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from flask import g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from engine.domain.ids import brand_of
from engine.domain.operations import ON_MANY, Wanted, wanted_of
from engine.errors import InvalidInput, NotFound, shown
from web import budget_list, messages
from web.access import person
from web.bulk_forms import BudgetChangeForm, ScheduleForm
from web.formats import count
from web.operations import blueprint
from web.query import numbers
from web.services import services
from web.view import State, page_of

MOST_TICKED: Final = 10_000
_MOST_DIGITS: Final = 13
_CARRIED: Final = ("list", "q", "cause", "tab", "only", "all", "brands", "campaigns")
"""What the form of an amount or a schedule carries of the list that was left."""


class Selection(NamedTuple):
    """The rows of a list that something is done to."""

    brand_ids: frozenset[int]
    campaign_ids: frozenset[int]

    @property
    def words(self) -> str:
        parts = [count(len(ids), one) for ids, one in zip(self, ("brand", "campaign"), strict=True) if ids]
        return " and ".join(parts)


@blueprint.post("/operations/new")
def new() -> ResponseReturnValue:
    """A draft of what is done to a selection, after a form for how much or when, where that is needed."""
    kind = request.form.get("kind", "")
    if kind not in ("", *ON_MANY):
        raise InvalidInput(f"kind {shown(kind)} is none of {', '.join(ON_MANY)}", "kind")
    selection = selected(request.form)
    if not kind or not any(selection):
        messages.tell(("warn", "Nothing is selected: tick rows of the list first. Nothing was changed."))
        return redirect(url_for(_list().endpoint))
    if kind not in ("budget", "schedule"):
        return _draft(wanted_of(kind), selection)
    asked = "asked" in request.form
    form = _FORMS[kind]() if asked else _FORMS[kind](formdata=None)
    if asked and (wanted := form.wanted()) is not None:
        return _draft(wanted, selection)
    template = f"bulk_{kind}.html"
    back = url_for(_list().endpoint)
    given = {"form": form, "kind": kind, "selection": selection, "carried": _carried(selection), "back": back}
    return render_template(template, **given), 422 if asked else 200


_FORMS: Final[Mapping[str, Callable[..., Any]]] = {"budget": BudgetChangeForm, "schedule": ScheduleForm}


def selected(form: MultiDict[str, str]) -> Selection:
    """The rows that were ticked, or all that the list's filter leaves. Raises InvalidInput; NotFound for a brand out of sight."""
    if form.get("all"):
        found = _list().of(form.to_dict())
    else:
        found = Selection(_ids(form, "brand"), _ids(form, "campaign"))
    who = person()
    for entity, ids in (("brand", found.brand_ids), ("campaign", found.campaign_ids)):
        for number in sorted(ids):
            if not who.sees(number if entity == "brand" else brand_of(number)):
                raise NotFound(f"there is no {entity} {shown(number)}: `{entity} list` shows all")
    return found


def _of_budgets(query: Mapping[str, str]) -> Selection:
    """All brands that the filter of the list of budgets leaves."""
    state = budget_list.State.of({name: query.get(name, "") for name in ("q", "tab", "only")})
    lines = budget_list.seen_lines(services().budget_board.look(budget_list.CONTENT_S).lines, person().brands)
    found = budget_list.filtered(lines, state, services().campaign_names.brands_with(state.text))
    return Selection(frozenset(line.id for line in found), frozenset())


def _of_status(query: Mapping[str, str]) -> Selection:
    """All campaigns that the filter of the status page leaves."""
    state = State.of({name: query.get(name, "") for name in ("q", "cause")})
    page = page_of(services().overview.snapshot(state.archived, person().brands), state, every=True)
    return Selection(frozenset(), frozenset(campaign.id for row in page.brands for campaign in row.rows))


class _List(NamedTuple):
    """A list with boxes: its page, and what its filter leaves."""

    endpoint: str
    of: Callable[[Mapping[str, str]], Selection]


_LISTS: Final[Mapping[str, _List]] = {
    "budgets": _List("budgets.budgets", _of_budgets),
    "status": _List("status.status", _of_status),
}


def _list() -> _List:
    """The list from which the form came. Raises InvalidInput."""
    name = request.form.get("list", "budgets")
    if name not in _LISTS:
        raise InvalidInput(f"list {shown(name)} is none of {', '.join(_LISTS)}", "list")
    return _LISTS[name]


def _ids(form: MultiDict[str, str], name: str) -> frozenset[int]:
    """The ids of ticked boxes, and those that the next form carries joined by dots."""
    given = form.getlist(name)
    if len(given) > MOST_TICKED or not all(
        text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS for text in given
    ):
        raise InvalidInput(f"{name} is not at most {MOST_TICKED} ids: select again", name)
    return frozenset(map(int, given)) | numbers(form, f"{name}s", MOST_TICKED)


def _carried(selection: Selection) -> dict[str, str]:
    """Hidden fields with which the next form has the same selection."""
    if request.form.get("all"):
        return {name: request.form[name] for name in _CARRIED if request.form.get(name)}
    joined = {
        name: ".".join(map(str, sorted(ids)))
        for name, ids in (("brands", selection.brand_ids), ("campaigns", selection.campaign_ids))
        if ids
    }
    return joined | {name: request.form[name] for name in ("list",) if request.form.get(name)}


def _draft(wanted: Wanted, selection: Selection) -> ResponseReturnValue:
    made = services().operations.preview(wanted, selection.brand_ids, selection.campaign_ids, g.actor)
    return redirect(url_for("operations.show", operation_id=made.id))
