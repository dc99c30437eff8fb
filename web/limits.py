"""Pages of scheduled changes of limits, of a brand and of a campaign: the list, with the form of a new one, and cancel. Every change goes through
Manage, signed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from wtforms import SelectField
from wtforms.fields.choices import SelectChoice

from engine.domain.flights import parse_instant
from engine.domain.ids import brand_of
from engine.domain.limit_changes import PERIODS, change_text, parse_change, sentences
from engine.domain.zone_text import Local
from engine.errors import BudgetError, Conflict, InvalidInput, NotFound
from engine.ledger.changes import Entity
from engine.ledger.limit_changes import Scheduled
from web import messages
from web.formats import readable
from web.guard import is_htmx
from web.how_much import HowMuch, how_field
from web.instants import InstantField
from web.refusals import complain, sentence, text_of
from web.services import services
from web.words import plainly

blueprint = Blueprint("limits", __name__)


class LimitForm(HowMuch):
    """A change of a budget: which, to what, from when, and until when."""

    period = SelectField("Budget", choices=[SelectChoice(period, f"{period} budget") for period in PERIODS])
    how = how_field(SelectField)
    at = InstantField("At", filters=[text_of], description="Included. Empty: at once.")
    until = InstantField("Until", filters=[text_of], description="Not included. Empty: the change stays.")

    def values(self, local: Local) -> tuple[Any, ...] | None:
        """Period, change and instants for Manage; None when a field is wrong, and all of these are marked."""
        out: dict[str, Any] = {"period": self.period.data}
        readers: tuple[tuple[str, Callable[[str], Any]], ...] = (
            ("amount", lambda _: parse_change(self.change_text())),
            ("at", lambda text: None if text in ("", "now") else parse_instant(text, "at", local)),
            ("until", lambda text: None if not text else parse_instant(text, "until", local)),
        )
        for name, read in readers:
            try:
                out[name] = read(self[name].data or "")
            except BudgetError as error:
                error.field = name  # type: ignore[attr-defined]  # whatever it is called below
                complain(self, error)
        return None if self.errors else (out["period"], out["amount"], out["at"], out["until"])


@blueprint.route("/brands/<int:brand_id>/limits", methods=["GET", "POST"])
def brand(brand_id: int) -> ResponseReturnValue:
    """Scheduled changes of a brand's budgets, and a new one."""
    return _changes("brand", brand_id)


@blueprint.route("/campaigns/<int:campaign_id>/limits", methods=["GET", "POST"])
def campaign(campaign_id: int) -> ResponseReturnValue:
    """The same of a campaign's own budgets."""
    return _changes("campaign", campaign_id)


@blueprint.post("/brands/<int:brand_id>/limits/<int:change_id>/cancel")
def cancel_of_brand(brand_id: int, change_id: int) -> ResponseReturnValue:
    """Takes a change back; one that is in force ends now."""
    return _cancel("brand", brand_id, change_id)


@blueprint.post("/campaigns/<int:campaign_id>/limits/<int:change_id>/cancel")
def cancel_of_campaign(campaign_id: int, change_id: int) -> ResponseReturnValue:
    """The same of a campaign."""
    return _cancel("campaign", campaign_id, change_id)


def _changes(entity: Entity, owner_id: int) -> ResponseReturnValue:
    name = _name(entity, owner_id)
    local = services().overview.local(owner_id if entity == "brand" else brand_of(owner_id))
    if request.method == "GET" and is_htmx():
        form = LimitForm(request.args, meta={"csrf": False})
        return render_template("_follows.html", follows=_follows(entity, owner_id, form, name, local))
    form = LimitForm()
    if not form.validate_on_submit():
        return _page(entity, owner_id, form), 422 if request.method == "POST" else 200
    if "look" in request.form:
        return _page(entity, owner_id, form, _follows(entity, owner_id, form, name, local))
    if (values := form.values(local)) is not None:
        try:
            changed = services().manage.schedule_limit(entity, owner_id, g.actor, *values)
        except (Conflict, InvalidInput) as error:
            _refused(form, error)
        else:
            one = services().catalog.limits.one(changed.change_id)
            said = sentences(one.change, services().catalog.limits.turns(entity, owner_id), name)
            _tell(f"Scheduled for {name}.", [readable(line, local) for line in said], changed.why_not)
            return redirect(_address(entity, owner_id))
    return _page(entity, owner_id, form), 422


def _follows(entity: Entity, owner_id: int, form: LimitForm, name: str, local: Local) -> list[tuple[str, str]]:
    """What the change in a form does, before it is made: (style of a message, sentence)."""
    if not form.validate() or (values := form.values(local)) is None:
        return [("warn", message) for messages_ in form.errors.values() for message in messages_]
    try:
        made, turns = services().catalog.limits.preview(entity, owner_id, *values)
    except (Conflict, InvalidInput) as error:
        return [("warn", sentence(plainly(str(error))))]
    said = sentences(made, turns, name)
    return [("done" if place == 0 else "then", sentence(readable(line, local))) for place, line in enumerate(said)]


def _refused(form: LimitForm, error: BudgetError) -> None:
    if getattr(error, "field", None) == "change":
        error.field = "amount"  # type: ignore[attr-defined]  # the field of the page
    complain(form, error)


def _cancel(entity: Entity, owner_id: int, change_id: int) -> ResponseReturnValue:
    name, one = _name(entity, owner_id), services().catalog.limits.one(change_id)
    if (one.entity, one.owner_id) != (entity, owner_id):
        raise NotFound(f"{entity} {owner_id} has no change {change_id}")
    try:
        changed = services().manage.cancel_limit(change_id, g.actor)
    except (Conflict, InvalidInput) as error:
        flash(str(error), "warn")
    else:
        _tell(f"Change {change_id} of {name} cancelled.", [], changed.why_not)
    return redirect(_address(entity, owner_id))


def _tell(done: str, said: list[str], why_not: str) -> None:
    warnings: list[tuple[messages.Style, str]] = [("warn", why_not)] if why_not else []
    follows: list[tuple[messages.Style, str]] = [("then", sentence) for sentence in said]
    messages.tell(("done", done), *follows, *warnings)


def _name(entity: Entity, owner_id: int) -> str:
    catalog = services().catalog
    return catalog.brand(owner_id).name if entity == "brand" else catalog.campaign(owner_id).name


def _address(entity: Entity, owner_id: int) -> str:
    if entity == "brand":
        return url_for("limits.brand", brand_id=owner_id)
    return url_for("limits.campaign", campaign_id=owner_id)


def _page(entity: Entity, owner_id: int, form: LimitForm, follows: Sequence[tuple[str, str]] = ()) -> str:
    catalog = services().catalog
    campaign = catalog.campaign(owner_id) if entity == "campaign" else None
    brand = catalog.brand(campaign.brand_id if campaign else owner_id)
    turns = catalog.limits.turns(entity, owner_id)
    own = [one for one in catalog.limits.every(entity, owner_id) if (one.entity, one.owner_id) == (entity, owner_id)]
    return render_template(
        "limits.html",
        form=form,
        follows=follows,
        address=_address(entity, owner_id),
        entity=entity,
        brand=brand,
        campaign=campaign,
        local=services().overview.local(brand.id),
        lines=[_line(one, turns) for one in own],
    )


def _line(one: Scheduled, turns: list[Any]) -> dict[str, Any]:
    change = one.change
    ends = [turn for turn in turns if turn.change.id == change.id]
    return {
        "id": change.id,
        "period": change.period,
        "text": change_text(change),
        "starts_ms": change.starts_ms,
        "ends_ms": change.ends_ms,
        "in_force": change.begun,
        "turns": ends,
    }
