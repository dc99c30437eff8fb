"""The forms. They only carry text; the domain and the catalog check it, and refusals are shown beside the field that
they name.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any, Final

from flask_wtf import FlaskForm
from wtforms import (
    Field,
    HiddenField,
    PasswordField,
    RadioField,
    SelectMultipleField,
    StringField,
    SubmitField,
    TextAreaField,
)
from wtforms.fields.choices import SelectChoice
from wtforms.validators import ValidationError
from wtforms.widgets import CheckboxInput, ListWidget

from engine.domain.brake import parse_per_minute
from engine.domain.budget import CAMPAIGN_BUDGETS
from engine.domain.money import parse_budget
from engine.domain.names import clean_name
from engine.domain.pacing import ASAP, CATCH_UP, check_catch_up, check_pacing
from engine.domain.schedule import DAYS, Schedule
from engine.errors import BudgetError, InvalidSchedule, shown
from engine.flows.catalog.status import ENGINE
from engine.job_table import BY_NAME
from engine.ledger.records import BrandRecord, CampaignRecord
from engine.logs import visible
from web.formats import plain
from web.guard import NO_LOGIN_ACTOR
from web.words import plainly

RESERVED: Final = frozenset((ENGINE, NO_LOGIN_ACTOR, "rebuild", "reconcile", "worker", "scheduler", "web", *BY_NAME))
"""Actors of the engine's own changes, and names that look like them. Nobody can log in under one."""
PER_MINUTE: Final = ("rate_limit", "breaker")
"""The fields of a campaign's brake."""
DAY_NAMES: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _text(data: object) -> str:
    return data.strip() if isinstance(data, str) else ""


def complain(form: FlaskForm, error: BudgetError, fallback: str = "form") -> None:
    """Shows a refusal beside the field that it names (also `schedule[0].days`), else at the top of the form.

    The text has the labels of the page instead of names of code.
    """
    path = getattr(error, "field", None) or fallback
    field = _field_for(form, path)
    message = str(error)
    if field is None:
        form.form_errors = [*form.form_errors, _sentence(plainly(message))]
        return
    # The field's label replaces the path, unless the field has more than the path names (the JSON of several windows).
    if message.startswith(path + " ") and path.rpartition(".")[2].removesuffix("_micros") == field.name:
        message = f"{field.label.text} {message[len(path) + 1 :]}"
    field.errors = [*field.errors, _sentence(plainly(message))]


def _field_for(form: FlaskForm, path: str) -> Field | None:
    name = path.removesuffix("_micros")
    if path.startswith("schedule"):
        if getattr(form, "mode", None) is not None and form["mode"].data == "json":
            name = "schedule_json"
        else:
            last = path.rpartition(".")[2].partition("[")[0]
            name = last if last in ("days", "start_time", "end_time") else "start_time"
    return form._fields.get(name)


def _sentence(message: str) -> str:
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


def is_reserved(name: str) -> bool:
    """Whether a signature would look like the command line, a job, or the page without login."""
    # NFKC maps wide letters and a wide colon to the plain ones, which they look like.
    read = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    return ":" in read or read in RESERVED


class LoginForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """A name to sign changes with, and the password."""

    actor = StringField("Your name", filters=[_text], description="Every change you make is kept with this name.")
    password = PasswordField("Password")
    submit = SubmitField("Log in")

    def validate_actor(self, field: Field) -> None:
        try:
            clean_name(field.data, "your name")
        except BudgetError as error:
            raise ValidationError(_sentence(str(error))) from None
        if len(field.data) > 64:
            raise ValidationError("Your name is longer than 64 characters.")
        if visible(field.data) != field.data:
            raise ValidationError(f"Your name holds a sign that cannot be seen: {visible(field.data)}. Leave it out.")
        if is_reserved(field.data):
            raise ValidationError(f"{field.data} is how the engine signs its own changes. Give your own name.")


class _PacedForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """How the daily budget of a brand or campaign is paced. confirmed: what will happen was read."""

    pacing = StringField(
        "Pacing",
        filters=[_text],
        default=ASAP,
        description="How the daily budget is spread over its day: asap, even, ahead, traffic, or custom: and a curve's name.",
    )
    catch_up = StringField(
        "Catch-up",
        filters=[_text],
        default=str(CATCH_UP),
        description="What a minute may spend when money is behind: percent of its plan, asap (no bound) or spread.",
    )
    confirmed = HiddenField("Confirmed")


class BrandForm(_PacedForm):
    """A brand: its name and budgets."""

    name = StringField("Name", filters=[_text])
    daily_budget = StringField(
        "Daily budget",
        filters=[_text],
        description="For each UTC day: an amount, or none for no limit. 0: nothing may be spent.",
    )
    monthly_budget = StringField(
        "Monthly budget",
        filters=[_text],
        description="For each calendar month, UTC: an amount, or none for no limit.",
    )
    external_id = StringField(
        "External id", filters=[_text], description="Optional: the id that another system knows it by."
    )
    expected_version = HiddenField("Version")

    def fill(self, brand: BrandRecord) -> None:
        """Fills the fields from a brand."""
        self.name.data = brand.name
        self.daily_budget.data = plain(brand.daily_budget_micros)
        self.monthly_budget.data = plain(brand.monthly_budget_micros)
        self.external_id.data = brand.external_id or ""
        self.pacing.data, self.catch_up.data = brand.pacing, brand.catch_up
        self.expected_version.data = str(brand.version)

    def values(self) -> dict[str, Any] | None:
        """The catalog's values for what was typed; None when a field is wrong, and all wrong fields are marked."""
        out: dict[str, Any] = {"name": self.name.data, **_own_id(self)}
        for name in ("daily_budget", "monthly_budget"):
            if missing(self, name):
                continue
            try:
                out[f"{name}_micros"] = parse_budget(self[name].data, name)
            except BudgetError as error:
                complain(self, error)
        out |= _pacing(self)
        _check_name(self, out)
        return None if self.errors else out


class CampaignForm(_PacedForm):
    """A campaign: its name and when it may run."""

    name = StringField("Name", filters=[_text])
    mode = RadioField(
        "When it may run",
        choices=[
            SelectChoice("always", "Always"),
            SelectChoice("window", "On some days or hours"),
            SelectChoice("json", "Several windows, as JSON"),
        ],
        default="always",
    )
    days = SelectMultipleField(
        "Days",
        choices=[SelectChoice(*day) for day in zip(DAYS, DAY_NAMES, strict=True)],
        widget=ListWidget(prefix_label=False),
        option_widget=CheckboxInput(),
        description="None ticked: every day.",
    )
    start_time = StringField("From", filters=[_text], description="HH:MM, UTC, included. Both times empty: all day.")
    end_time = StringField(
        "Until",
        filters=[_text],
        description="HH:MM, UTC, not included; 24:00 is midnight. Before the start: over midnight.",
    )
    schedule_json = TextAreaField("Schedule JSON", description="A window or a list of windows.", filters=[_text])
    daily_budget = StringField(
        "Daily budget",
        filters=[_text],
        default="none",
        description="Of its own, for each UTC day: an amount, or none for no limit beside the brand's. 0: nothing may be spent.",
    )
    monthly_budget = StringField(
        "Monthly budget",
        filters=[_text],
        default="none",
        description="Of its own, for each calendar month, UTC: an amount, or none.",
    )
    lifetime_budget = StringField(
        "Lifetime budget",
        filters=[_text],
        default="none",
        description="For all it ever spends, what it has spent before included: an amount, or none.",
    )
    rate_limit = StringField(
        "Limit for a minute",
        filters=[_text],
        default="none",
        description="What tries may spend in a minute: an amount, or none. More is refused until the next minute.",
    )
    breaker = StringField(
        "Breaker",
        filters=[_text],
        default="none",
        description="A minute that spends more switches the campaign off until somebody resumes it: an amount, or none.",
    )
    external_id = StringField(
        "External id", filters=[_text], description="Optional: the id that another system knows it by."
    )
    expected_version = HiddenField("Version")

    def fill(self, campaign: CampaignRecord) -> None:
        """Fills the fields from a campaign."""
        self.name.data = campaign.name
        for kind in CAMPAIGN_BUDGETS:
            self[f"{kind.name}_budget"].data = plain(kind.limit_of(campaign))
        self.rate_limit.data, self.breaker.data = plain(campaign.rate_limit_micros), plain(campaign.breaker_micros)
        self.external_id.data = campaign.external_id or ""
        self.pacing.data, self.catch_up.data = campaign.pacing, campaign.catch_up
        self.expected_version.data = str(campaign.version)
        value = campaign.schedule.to_json()
        self.mode.data = "always" if value is None else "json" if isinstance(value, list) else "window"
        self.schedule_json.data = "" if value is None else json.dumps(value, indent=2)
        if isinstance(value, dict):
            self.days.data = value.get("days", [])
            self.start_time.data = value.get("start_time", "")
            self.end_time.data = value.get("end_time", "")

    def values(self) -> dict[str, Any] | None:
        """The catalog's values for what was typed; None when a field is wrong, and all wrong fields are marked."""
        out: dict[str, Any] = {"name": self.name.data, **_own_id(self)}
        wanted = {"json": ("schedule_json",), "window": ("start_time", "end_time")}.get(self.mode.data, ())
        if not missing(self, "mode", *wanted):
            try:
                out["schedule"] = self._schedule()
            except BudgetError as error:
                complain(self, error)
        for kind in CAMPAIGN_BUDGETS:
            name = f"{kind.name}_budget"
            if self[name].raw_data:  # a form that does not have the field leaves it alone
                try:
                    out[kind.column] = parse_budget(self[name].data, name)
                except BudgetError as error:
                    complain(self, error)
        out |= _pacing(self)
        for name in PER_MINUTE:
            if self[name].raw_data:
                try:
                    out[f"{name}_micros"] = parse_per_minute(self[name].data, name)
                except BudgetError as error:
                    complain(self, error)
        _check_name(self, out)
        return None if self.errors else out

    def _schedule(self) -> Schedule:
        if self.mode.data == "json":
            # An empty text area is an error here, because "always" is a choice of its own.
            return Schedule.parse(self.schedule_json.data)
        if self.mode.data == "always":
            return Schedule()
        window = {
            "days": self.days.data or [],
            "start_time": self.start_time.data,
            "end_time": self.end_time.data,
        }
        given = {key: value for key, value in window.items() if value}
        if not given:
            raise InvalidSchedule(
                "schedule.days is empty, and so are the hours: tick a day, give hours, or choose Always",
                "schedule.days",
            )
        return Schedule.parse(given)


class ReturnForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """The name under which an archived brand or campaign is restored."""

    name = StringField("Name", filters=[_text], description="Another one, where its own has been taken meanwhile.")

    def wanted(self) -> str | None:
        """The name; None when it is invalid, and the field is marked."""
        out: dict[str, Any] = {"name": self.name.data}
        if not missing(self, "name"):
            _check_name(self, out)
        return None if self.errors else str(out["name"])


class ConfirmForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """A form with only the CSRF token, for an action that its button confirms."""


def _own_id(form: FlaskForm) -> dict[str, Any]:
    """The external id that was sent, None for an empty field. Without the field in the request it is left unchanged."""
    return {"external_id": form["external_id"].data or None} if form["external_id"].raw_data else {}


def _pacing(form: FlaskForm) -> dict[str, Any]:
    """The pacing that was sent; a form without its fields leaves it unchanged."""
    out: dict[str, Any] = {}
    for name, check in (("pacing", check_pacing), ("catch_up", check_catch_up)):
        if form[name].raw_data:
            try:
                out[name] = check(form[name].data)
            except BudgetError as error:
                complain(form, error)
    return out


def _check_name(form: FlaskForm, values: dict[str, Any]) -> None:
    try:
        values["name"] = clean_name(values["name"])
    except BudgetError as error:
        complain(form, error)
