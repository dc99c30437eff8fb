"""Pages of a campaign's flights: the list, with the form of a new one, and the form of each. Every change goes through Manage, signed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from wtforms import BooleanField, SelectField, StringField

from engine.domain.flights import InvalidFlight, parse_instant
from engine.domain.ids import brand_of
from engine.domain.money import parse_budget
from engine.domain.zone_text import Local
from engine.errors import BudgetError, Conflict, InvalidInput, NotFound
from engine.flows.catalog.manage import Changed
from engine.views.models import FlightView
from web import messages
from web.formats import plain
from web.instants import InstantField, on_the_clock
from web.refusals import complain, text_of
from web.services import services

blueprint = Blueprint("flights", __name__)


class FlightForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """A flight: from when to when, and with how much."""

    starts_at = InstantField("From", filters=[text_of], description="Included. Empty: from now on.")
    ends_at = InstantField("To", filters=[text_of], description="Not included.")
    ends_now = BooleanField("It ends now")
    budget = StringField(
        "Budget",
        filters=[text_of],
        default="none",
        description="What the flight may spend: an amount, or none. 0: nothing may be spent.",
    )
    carries = BooleanField("What is left at its end goes on into the next flight")
    spread = SelectField(
        "Spread over its days",
        choices=[
            ("asap", "asap: as fast as it is won"),
            ("even", "even: each day has a part"),
            ("none", "none: no parts"),
        ],
        default="asap",
        description="even: what is left, by the day's share of the time left. The last day has all that is left.",
    )
    confirmed = BooleanField("Change the running flight")

    def fill(self, flight: FlightView, local: Local) -> None:
        """The flight as it stands, by the brand's clock."""
        self.starts_at.data = on_the_clock(flight.starts_ms, local)
        self.ends_at.data = on_the_clock(flight.ends_ms, local)
        self.budget.data, self.carries.data = plain(flight.budget), flight.carries
        self.spread.data = flight.spread

    def values(self, local: Local) -> dict[str, Any] | None:
        """The catalog's values for what was typed, None for now; None when a field is wrong, and all of these are marked."""
        out: dict[str, Any] = {"carries": bool(self.carries.data), "spread": self.spread.data}
        readers: tuple[tuple[str, str, Callable[[], Any]], ...] = (
            ("starts_at", "starts_ms", lambda: self._instant("starts_at", ("", "now"), local)),
            ("ends_at", "ends_ms", lambda: self._instant("ends_at", ("now",), local)),
            ("budget", "budget_micros", lambda: parse_budget(self.budget.data, "budget")),
        )
        for field, name, read in readers:
            try:
                out[name] = read()
            except BudgetError as error:
                complain(self, error, field)
        return None if self.errors else out

    def _instant(self, field: str, now: tuple[str, ...], local: Local) -> int | None:
        typed = "now" if field == "ends_at" and self.ends_now.data else self[field].data or ""
        return None if typed in now else parse_instant(typed, field, local)


@blueprint.route("/campaigns/<int:campaign_id>/flights", methods=["GET", "POST"])
def flights(campaign_id: int) -> ResponseReturnValue:
    """A campaign's flights, and a new one."""
    campaign = services().catalog.campaign(campaign_id)
    form, local = FlightForm(), services().overview.local(campaign.brand_id)
    if form.validate_on_submit() and (values := form.values(local)) is not None:
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
    form, local = FlightForm(), services().overview.local(brand_of(campaign_id))
    effects: list[str] = []
    if not form.is_submitted():
        form.fill(flight, local)
    elif form.validate() and (values := form.values(local)) is not None:
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
    values["local"] = services().overview.local(brand.id)
    refused = request.method == "POST" and not values.get("effects")
    shown = render_template(template, form=form, campaign=campaign, brand=brand, **values)
    return shown, 422 if refused else 200
