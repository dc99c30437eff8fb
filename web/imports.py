"""Brands and campaigns as a table: the export, and the import, which shows what it would change before it changes anything."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from flask_wtf.file import FileField
from wtforms import StringField

from engine.domain.catalog_csv import COLUMNS, MOST_BYTES
from engine.errors import InvalidInput
from engine.flows.operations import imports
from web import csv_text
from web.access import person
from web.refusals import complain
from web.services import services

PATH: Final = "/import"
MOST_BODY: Final = MOST_BYTES + 64 * 1024
"""A form with the largest file, in bytes."""

blueprint = Blueprint("imports", __name__)


class ImportForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """A file of brands and campaigns, and why."""

    file = FileField(
        "File", description="CSV in UTF-8, at most 10 MB. Nothing is changed before you have seen what will be."
    )
    note = StringField("Reason", description="Optional: it stands beside the changes in the activity.")


@blueprint.route(PATH, methods=["GET", "POST"])
def page() -> ResponseReturnValue:
    """Takes a file, and leads to the draft of what it changes."""
    form = ImportForm()
    if form.validate_on_submit():
        try:
            if not form.file.data:
                raise InvalidInput("file is missing: choose one", "file")
            data = form.file.data.read(MOST_BYTES + 1)
            made = services().operations.draft_import(data, g.actor, form.note.data, person().brands)
            return redirect(url_for("operations.show", operation_id=made.id))
        except InvalidInput as error:
            complain(form, error)
    shown = render_template("import.html", form=form, columns=COLUMNS)
    return shown, 422 if request.method == "POST" else 200


@blueprint.get("/catalog.csv")
def export() -> ResponseReturnValue:
    """Every brand in use that a person sees, with its campaigns."""
    return csv_text.streamed(COLUMNS, imports.table(services().db, person().brands), "catalog.csv")
