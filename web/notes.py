"""Notes on a brand or campaign: what was written, and one more."""

from __future__ import annotations

from flask import Blueprint, g, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from wtforms import TextAreaField

from engine.domain.ids import brand_of
from engine.errors import InvalidInput
from engine.ledger import notes
from engine.ledger.changes import Entity
from engine.ledger.records import NOTE_LENGTH
from web import messages
from web.access import may
from web.refusals import complain
from web.services import services

blueprint = Blueprint("notes", __name__)


class NoteForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """One more note."""

    note = TextAreaField(
        "Note", description=f"At most {NOTE_LENGTH} characters. It stays in the activity, with your name."
    )


@blueprint.route("/brands/<int:brand_id>/notes", methods=["GET", "POST"])
def brand(brand_id: int) -> ResponseReturnValue:
    """The notes on a brand."""
    return _page("brand", brand_id, services().catalog.brand(brand_id).name)


@blueprint.route("/campaigns/<int:campaign_id>/notes", methods=["GET", "POST"])
def campaign(campaign_id: int) -> ResponseReturnValue:
    """The notes on a campaign."""
    return _page("campaign", campaign_id, services().catalog.campaign(campaign_id).name)


def _page(entity: Entity, owner_id: int, name: str) -> ResponseReturnValue:
    form = NoteForm()
    wrong = False
    if form.validate_on_submit():
        try:
            notes.add(services().db, entity, owner_id, g.actor, form.note.data or "")
        except InvalidInput as error:
            complain(form, error)
            wrong = True
        else:
            messages.tell(("done", f"Note on {name} kept."))
            return redirect(request.path)
    brand_id = owner_id if entity == "brand" else brand_of(owner_id)
    found = notes.of(services().db, entity, owner_id)
    may_write = may(f"notes.{entity}", "POST")
    page = render_template(
        "notes.html", form=form, notes=found, name=name, entity=entity, owner_id=owner_id, brand_id=brand_id,
        brand=services().catalog.brand(brand_id).name, may_write=may_write,
    )  # fmt: skip
    return page, 422 if wrong else 200
