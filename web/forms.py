"""The forms. They only carry text; the domain and the catalog check it, and refusals are shown beside the field that
they name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final, Self

from flask_wtf import FlaskForm
from wtforms import (
    Field,
    HiddenField,
    PasswordField,
    RadioField,
    SelectField,
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
from engine.domain.money import NO_LIMIT_WORD, parse_budget
from engine.domain.names import clean_name
from engine.domain.pacing import ASAP, CATCH_UP, CUSTOM, MODES, check_catch_up, check_pacing
from engine.domain.schedule import DAYS, Schedule
from engine.domain.zone_text import UTC_NAME
from engine.domain.zones import check_zone
from engine.errors import BudgetError, InvalidSchedule
from engine.ledger.records import BrandRecord, CampaignRecord
from engine.ledger.user_names import check_user_name
from web.formats import plain
from web.refusals import complain, missing, sentence, text_of
from web.week_grid import CELLS, cells_of, schedule_of

PER_MINUTE: Final = ("rate_limit", "breaker")
"""The fields of a campaign's brake."""
DAY_NAMES: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class LoginForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """A name to sign changes with, and the password. unnamed: no name is needed, because there are no users."""

    actor = StringField("Your name", filters=[text_of], description="Every change you make is kept with this name.")
    password = PasswordField("Password")
    submit = SubmitField("Log in")
    unnamed = False

    def validate_actor(self, field: Field) -> None:
        if self.unnamed and not field.data:
            return
        try:
            field.data = check_user_name(field.data, "your name")
        except BudgetError as error:
            raise ValidationError(sentence(str(error))) from None


class _PacedForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """How the daily budget of a brand or campaign is paced. confirmed: what will happen was read."""

    # What is none of the choices is refused by `check_pacing`, which names the value.
    pacing = SelectField(
        "Pacing",
        filters=[text_of],
        choices=[SelectChoice(*mode) for mode in MODES.items()],
        validate_choice=False,
        default=ASAP,
        description="How the daily budget is spread over its day.",
    )
    catch_up = StringField(
        "Catch-up",
        filters=[text_of],
        default=str(CATCH_UP),
        description="What a minute may spend when money is behind: percent of its plan, asap (no bound) or spread.",
    )
    confirmed = HiddenField("Confirmed")

    def offering(self, curves: Iterable[str]) -> Self:
        """This form with people's curves among the choices. curves: names; learned ones have a colon."""
        made = ((CUSTOM + name, f"curve {name}") for name in curves if ":" not in name)
        self.pacing.choices = [SelectChoice(*choice) for choice in (*MODES.items(), *made)]
        return self


def _reason() -> StringField:
    return StringField("Reason", filters=[text_of], description="Optional: why, for the activity.")


class BrandForm(_PacedForm):
    """A brand: its name, budgets and time zone."""

    note = _reason()
    name = StringField("Name", filters=[text_of])
    time_zone = StringField(
        "Time zone",
        filters=[text_of],
        default=UTC_NAME,
        description="Of its days, months and schedules: a name such as Europe/Berlin, or UTC. Another begins at its next midnight.",
    )
    daily_budget = StringField(
        "Daily budget",
        filters=[text_of],
        description="For each day: an amount, or none for no limit. 0: nothing may be spent.",
    )
    monthly_budget = StringField(
        "Monthly budget",
        filters=[text_of],
        description="For each calendar month: an amount, or none for no limit.",
    )
    rollover_cap = StringField(
        "Rollover",
        filters=[text_of],
        default=NO_LIMIT_WORD,
        description="What a day leaves of its daily budget is carried into the next, at most this much; none carries nothing. "
        "A month begins with nothing carried.",
    )
    external_id = StringField(
        "External id", filters=[text_of], description="Optional: the id that another system knows it by."
    )
    expected_version = HiddenField("Version")

    def fill(self, brand: BrandRecord) -> None:
        """Fills the fields from a brand."""
        self.name.data = brand.name
        self.daily_budget.data = plain(brand.daily_budget_micros)
        self.monthly_budget.data = plain(brand.monthly_budget_micros)
        self.rollover_cap.data = plain(brand.rollover_cap_micros)
        self.external_id.data = brand.external_id or ""
        self.pacing.data, self.catch_up.data = brand.pacing, brand.catch_up
        self.time_zone.data = brand.time_zone or UTC_NAME
        self.expected_version.data = str(brand.version)

    def values(self) -> dict[str, Any] | None:
        """The catalog's values for what was typed; None when a field is wrong, and all wrong fields are marked."""
        out: dict[str, Any] = {"name": self.name.data, **_own_id(self)}
        if self.time_zone.raw_data:
            try:
                out["time_zone"] = check_zone(self.time_zone.data) or UTC_NAME
            except BudgetError as error:
                complain(self, error)
        for name in ("daily_budget", "monthly_budget"):
            if missing(self, name):
                continue
            try:
                out[f"{name}_micros"] = parse_budget(self[name].data, name)
            except BudgetError as error:
                complain(self, error)
        if self.rollover_cap.raw_data:
            try:
                out["rollover_cap_micros"] = parse_budget(self.rollover_cap.data or NO_LIMIT_WORD, "rollover_cap")
            except BudgetError as error:
                complain(self, error)
        out |= _pacing(self)
        _check_name(self, out)
        return None if self.errors else out


class CampaignForm(_PacedForm):
    """A campaign: its name and when it may run."""

    note = _reason()
    name = StringField("Name", filters=[text_of])
    mode = RadioField(
        "When it may run",
        choices=[
            SelectChoice("always", "Always"),
            SelectChoice("window", "On some days, from one time to another"),
            SelectChoice("grid", "On the half hours of a week"),
            SelectChoice("json", "Several windows to the minute, as JSON"),
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
    start_time = StringField(
        "From", filters=[text_of], description="HH:MM in the brand's time zone, included. Both times empty: all day."
    )
    end_time = StringField(
        "Until",
        filters=[text_of],
        description="HH:MM, not included; 24:00 is midnight. Before the start: over midnight.",
    )
    # What is no cell is refused by `schedule_of`, which names it.
    cells = SelectMultipleField("Half hours", choices=list(CELLS), validate_choice=False)
    exact = ""
    """The windows in words, where the grid cannot show them because they are not on half hours."""
    schedule_json = TextAreaField("Schedule JSON", description="A window or a list of windows.", filters=[text_of])
    daily_budget = StringField(
        "Daily budget",
        filters=[text_of],
        default="none",
        description="Of its own, for each day: an amount, or none for no limit beside the brand's. 0: nothing may be spent.",
    )
    monthly_budget = StringField(
        "Monthly budget",
        filters=[text_of],
        default="none",
        description="Of its own, for each calendar month: an amount, or none.",
    )
    lifetime_budget = StringField(
        "Lifetime budget",
        filters=[text_of],
        default="none",
        description="For all it ever spends, what it has spent before included: an amount, or none.",
    )
    rate_limit = StringField(
        "Limit for a minute",
        filters=[text_of],
        default="none",
        description="What tries may spend in a minute: an amount, or none. More is refused until the next minute.",
    )
    breaker = StringField(
        "Breaker",
        filters=[text_of],
        default="none",
        description="A minute that spends more switches the campaign off until somebody resumes it: an amount, or none.",
    )
    external_id = StringField(
        "External id", filters=[text_of], description="Optional: the id that another system knows it by."
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
        cells = cells_of(campaign.schedule)
        several = "json" if cells is None else "grid"
        self.mode.data = "always" if value is None else several if isinstance(value, list) else "window"
        self.cells.data = [] if value is None else sorted(cells or ())
        self.exact = campaign.schedule.words() if cells is None else ""
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
        if self.mode.data in ("always", "grid"):
            return Schedule() if self.mode.data == "always" else schedule_of(self.cells.data or ())
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

    name = StringField("Name", filters=[text_of], description="Another one, where its own has been taken meanwhile.")

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
