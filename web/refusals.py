"""A form that is refused: what was wrong stands beside the field that it names."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import Field, HiddenField

from engine.errors import BudgetError, shown
from web.words import plainly


def text_of(data: object) -> str:
    """What was typed, without blanks around it; empty for what is no text."""
    return data.strip() if isinstance(data, str) else ""


def complain(form: FlaskForm, error: BudgetError, fallback: str = "form") -> None:
    """Shows a refusal beside the field that it names (also `schedule[0].days`), else at the top of the form.

    The text has the labels of the page instead of names of code.
    """
    path = getattr(error, "field", None) or fallback
    field = _field_for(form, path)
    message = str(error)
    if field is None:
        form.form_errors = [*form.form_errors, sentence(plainly(message))]
        return
    # The field's label replaces the path, unless the field has more than the path names (the JSON of several windows).
    if message.startswith(path + " ") and path.rpartition(".")[2].removesuffix("_micros") == field.name:
        message = f"{field.label.text} {message[len(path) + 1 :]}"
    field.errors = [*field.errors, sentence(plainly(message))]


def _field_for(form: FlaskForm, path: str) -> Field | None:
    name = path.removesuffix("_micros")
    if path.startswith("schedule"):
        if getattr(form, "mode", None) is not None and form["mode"].data == "json":
            name = "schedule_json"
        elif getattr(form, "mode", None) is not None and form["mode"].data == "grid":
            name = "cells"
        else:
            last = path.rpartition(".")[2].partition("[")[0]
            name = last if last in ("days", "start_time", "end_time") else "start_time"
    return form._fields.get(name)


def sentence(message: str) -> str:
    """A message of the engine as one of the page."""
    return message[:1].upper() + message[1:] + ("" if message.endswith(".") else ".")


def missing(form: FlaskForm, *names: str) -> bool:
    """Marks the fields that were not sent at all; returns whether there are any."""
    absent = [form[name] for name in names if not form[name].raw_data]
    for field in absent:
        error = f"{field.label.text} is missing: nothing was sent for {field.name}, so nothing was changed."
        if isinstance(field, HiddenField):
            form.form_errors = [*form.form_errors, error]
        else:
            field.errors = [*field.errors, error]
    return bool(absent)


def version_of(form: FlaskForm) -> int | None:
    """The version that was edited; None, with a message, where none was sent: a change must not overwrite another
    person's.
    """
    if missing(form, "expected_version"):
        return None
    data = form["expected_version"].data or ""
    if not (data.isascii() and data.isdigit() and len(data) < 10):
        said = (
            f"expected_version {shown(data)} is not the version of a row: load the form again, so nothing was changed."
        )
        form.form_errors = [*form.form_errors, said]
        return None
    return int(data)
