"""Pages of a campaign's flights: the list, with the form of a new one, and the form of each. Every change goes through Manage, signed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from wtforms import BooleanField, StringField

from engine.domain.flights import InvalidFlight, instant_text, parse_instant
from engine.domain.money import parse_budget
from engine.errors import BudgetError, Conflict, InvalidInput, NotFound
from engine.flows.catalog.manage import Changed
from engine.views.models import FlightView
from web import messages
from web.formats import plain
from web.forms import complain
from web.services import services

blueprint = Blueprint("flights", __name__)

_INSTANT: Final = "with its zone: 2026-12-01T09:00Z or 2026-12-01T10:00+01:00"


def _text(data: object) -> str:
    return data.strip() if isinstance(data, str) else ""


class FlightForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """A flight: from when to when, and with how much."""

    starts_at = StringField("From", filters=[_text], description=f"Included, {_INSTANT}. Empty or now: from now on.")
    ends_at = StringField("To", filters=[_text], description=f"Not included, {_INSTANT}. now ends a running flight.")
    budget = StringField(
        "Budget",
        filters=[_text],
        default="none",
        description="What the flight may spend: an amount, or none. 0: nothing may be spent.",
    )
    carries = BooleanField("What is left at its end goes on into the next flight")
    confirmed = BooleanField("Change the running flight")

    def fill(self, flight: FlightView) -> None:
        """The flight as it stands."""
        self.starts_at.data, self.ends_at.data = instant_text(flight.starts_ms), instant_text(flight.ends_ms)
        self.budget.data, self.carries.data = plain(flight.budget), flight.carries

    def values(self) -> dict[str, Any] | None:
        """The catalog's values for what was typed, None for now; None when a field is wrong, and all of these are marked."""
        out: dict[str, Any] = {"carries": bool(self.carries.data)}
        readers: tuple[tuple[str, str, Callable[[], Any]], ...] = (
            ("starts_at", "starts_ms", lambda: self._instant("starts_at", ("", "now"))),
            ("ends_at", "ends_ms", lambda: self._instant("ends_at", ("now",))),
            ("budget", "budget_micros", lambda: parse_budget(self.budget.data, "budget")),
        )
        for field, name, read in readers:
            try:
                out[name] = read()
            except BudgetError as error:
                complain(self, error, field)
        return None if self.errors else out

    def _instant(self, field: str, now: tuple[str, ...]) -> int | None:
        typed = self[field].data or ""
        return None if typed in now else parse_instant(typed, field)


@blueprint.route("/campaigns/<int:campaign_id>/flights", methods=["GET", "POST"])
def flights(campaign_id: int) -> ResponseReturnValue:
    """A campaign's flights, and a new one."""
    campaign = services().catalog.campaign(campaign_id)
    form = FlightForm()
    if form.validate_on_submit() and (values := form.values()) is not None:
        if values["ends_ms"] is None:
            complain(form, InvalidFlight("ends_at now is no end of a new flight: give a later instant", "ends_at"))
        else:
            changed = _try(form, lambda: services().manage.add_flight(campaign_id, g.actor, **values))
            if changed is not None:
                messages.of_change(changed, f"Flight added to {campaign.name}. It runs inside its flights only.")
                return redirect(url_for("flights.flights", campaign_id=campaign_id))
    return _page("flights.html", form, campaign_id, flights=services().overview.flights(campaign_id))


@blueprint.route("/campaigns/<int:campaign_id>/flights/<int:no>", methods=["GET", "POST"])
def edit(campaign_id: int, no: int) -> ResponseReturnValue:
    """One flight. A change of a running one is made once the page has said what will happen, and that was confirmed."""
    flight = next((view for view in services().overview.flights(campaign_id) if view.no == no), None)
    if flight is None:
        raise NotFound(f"campaign {campaign_id} has no flight {no}")
    form = FlightForm()
    effects: list[str] = []
    if not form.is_submitted():
        form.fill(flight)
    elif form.validate() and (values := form.values()) is not None:
        if values["starts_ms"] is None or (flight.state == "running" and values["starts_ms"] == flight.starts_ms):
            del values["starts_ms"]
        effects = services().overview.flight_effects(campaign_id, no, values)
        if not effects or form.confirmed.data:
            changed = _try(form, lambda: services().manage.change_flight(campaign_id, no, g.actor, **values))
            if changed is not None:
                messages.of_change(changed, f"Flight {no} of {changed.row.name} saved.")
                return redirect(url_for("flights.flights", campaign_id=campaign_id))
    return _page("flight_form.html", form, campaign_id, flight=flight, effects=effects)


@blueprint.post("/campaigns/<int:campaign_id>/flights/<int:no>/remove")
def remove(campaign_id: int, no: int) -> ResponseReturnValue:
    """Removes a flight that has not begun."""
    try:
        changed = services().manage.remove_flight(campaign_id, no, g.actor)
    except InvalidInput as error:
        flash(str(error), "warn")
    else:
        messages.of_change(changed, f"Flight {no} of {changed.row.name} removed.")
    return redirect(url_for("flights.flights", campaign_id=campaign_id))


def _try(form: FlaskForm, change: Callable[[], Changed[Any]]) -> Changed[Any] | None:
    try:
        return change()
    except (Conflict, InvalidInput) as error:
        complain(form, error)
        return None


def _page(template: str, form: FlaskForm, campaign_id: int, **values: Any) -> ResponseReturnValue:
    campaign = services().catalog.campaign(campaign_id)
    brand = services().catalog.brand(campaign.brand_id)
    refused = request.method == "POST" and not values.get("effects")
    shown = render_template(template, form=form, campaign=campaign, brand=brand, **values)
    return shown, 422 if refused else 200
