"""Forms that change the catalog: create, edit and archive brands and campaigns, pause and resume. Manage makes each
change, with the name of who is logged in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from markupsafe import Markup

from engine.domain.brake import Brake
from engine.domain.budget import CAMPAIGN_BUDGETS, OwnLimits
from engine.domain.ids import brand_of
from engine.domain.money import NO_LIMIT_WORD
from engine.domain.names import seen
from engine.domain.pacing import NO_PACING, Pacing
from engine.errors import Conflict, InvalidInput
from engine.flows.catalog.manage import Changed
from engine.ledger.records import BrandRecord, CampaignRecord
from web import back, messages
from web.formats import readable
from web.forms import PER_MINUTE, BrandForm, CampaignForm, ConfirmForm, ReturnForm
from web.guard import is_htmx
from web.refusals import complain, version_of
from web.services import services
from web.status import render_live

blueprint = Blueprint("catalog", __name__)

STALE = (
    "Somebody else changed this while you were editing, so nothing was saved. Yours is below, what stands now is beside each field that "
    "differs. Save again to put yours in its place."
)


@blueprint.route("/brands/new", methods=["GET", "POST"])
def new_brand() -> ResponseReturnValue:
    """Creates a brand."""
    form = BrandForm().offering(_curves())
    if not form.is_submitted():
        # The fields show "none", so that a person sees "no limit" before saving it.
        form.daily_budget.data = form.monthly_budget.data = NO_LIMIT_WORD
    elif form.validate() and (values := form.values()) is not None:
        given = {"external_id": None, "pacing": _taken_pacing(values)} | values
        changed = _apply(form, lambda: services().manage.create_brand(**given, actor=g.actor))
        if changed is not None:
            _report(changed, f"Brand {changed.row.name} created. Give it a campaign, so that spend can be reported.")
            return redirect(url_for("catalog.new_campaign", brand_id=changed.row.id))
    return _page("brand_form.html", form, brand=None)


@blueprint.route("/brands/<int:brand_id>/edit", methods=["GET", "POST"])
def edit_brand(brand_id: int) -> ResponseReturnValue:
    """Edits a brand's name, budgets and external id."""
    brand = services().catalog.brand(brand_id)
    if brand.archived:
        flash(f"{brand.name} is archived: it changes no more until it is brought back.", "warn")
        return redirect(url_for("catalog.unarchive_brand", brand_id=brand_id))
    form = BrandForm().offering(_curves())
    current: dict[str, str] = {}
    if not form.is_submitted():
        form.fill(brand)
    elif form.validate() and (values := form.values()) is not None and (expected := version_of(form)) is not None:
        if said := _said_first(form, "brand", brand, values):
            return render_template("brand_form.html", form=form, brand=brand, current={}, said=said)
        changed = _apply(
            form,
            lambda: services().manage.update_brand(
                brand_id, g.actor, **values, expected_version=expected, note=form.note.data
            ),
        )
        if changed is not None:
            _report(changed, f"Brand {changed.row.name} saved.")
            return back.to_brand(brand_id)
        brand = services().catalog.brand(brand_id)
        if brand.version != expected:
            now = BrandForm(formdata=None)
            now.fill(brand)
            current = _stored_values(
                form,
                now,
                (
                    "name",
                    "daily_budget",
                    "monthly_budget",
                    "rollover_cap",
                    "pacing",
                    "catch_up",
                    "time_zone",
                    "external_id",
                ),
            )
            form.expected_version.data = str(brand.version)
    archived = services().catalog.archived_campaigns(brand_id)
    zone = services().overview.brand(brand_id, alone=True).new_zone
    return _page("brand_form.html", form, brand=brand, current=current, archived=archived, new_zone=zone)


@blueprint.route("/brands/<int:brand_id>/campaigns/new", methods=["GET", "POST"])
def new_campaign(brand_id: int) -> ResponseReturnValue:
    """Creates a campaign of a brand."""
    brand = services().catalog.brand(brand_id)
    form = CampaignForm().offering(_curves())
    if form.validate_on_submit() and (values := form.values()) is not None:
        limits = OwnLimits(*(values.pop(kind.column, None) for kind in CAMPAIGN_BUDGETS))
        brake = Brake(values.pop("rate_limit_micros", None), values.pop("breaker_micros", None))
        given = {"external_id": None, "limits": limits, "brake": brake, "pacing": _taken_pacing(values)} | values
        changed = _apply(form, lambda: services().manage.create_campaign(brand_id, **given, actor=g.actor))
        if changed is not None:
            _report(changed, f"Campaign {changed.row.name} created. Its id for bidders is {changed.row.id}.")
            return back.to_brand(brand_id, tab="campaigns")
    return _page("campaign_form.html", form, brand=brand, campaign=None)


@blueprint.route("/campaigns/<int:campaign_id>/edit", methods=["GET", "POST"])
def edit_campaign(campaign_id: int) -> ResponseReturnValue:
    """Edits a campaign's name, schedule, own budgets, brake and external id."""
    campaign = services().catalog.campaign(campaign_id)
    brand = services().catalog.brand(campaign.brand_id)
    if campaign.archived:
        flash(f"{campaign.name} is archived: it changes no more until it is brought back.", "warn")
        return redirect(url_for("catalog.unarchive_campaign", campaign_id=campaign_id))
    form = CampaignForm().offering(_curves())
    current: dict[str, str] = {}
    if not form.is_submitted():
        form.fill(campaign)
    elif form.validate() and (values := form.values()) is not None and (expected := version_of(form)) is not None:
        if said := _said_first(form, "campaign", campaign, values):
            return render_template(
                "campaign_form.html", form=form, brand=brand, campaign=campaign, current={}, said=said
            )
        changed = _apply(
            form,
            lambda: services().manage.update_campaign(
                campaign_id, g.actor, **values, expected_version=expected, note=form.note.data
            ),
        )
        if changed is not None:
            _report(changed, f"Campaign {changed.row.name} saved.")
            return back.to_brand(campaign.brand_id)
        campaign = services().catalog.campaign(campaign_id)
        if campaign.version != expected:
            now = CampaignForm(formdata=None)
            now.fill(campaign)
            budgets = (f"{kind.name}_budget" for kind in CAMPAIGN_BUDGETS)
            names = ("name", "external_id", "pacing", "catch_up", *budgets, *PER_MINUTE)
            current = _stored_values(form, now, names)
            if values["schedule"] != campaign.schedule:
                current["mode"] = campaign.schedule.words()
            form.expected_version.data = str(campaign.version)
    return _page("campaign_form.html", form, brand=brand, campaign=campaign, current=current)


@blueprint.post("/campaigns/<int:campaign_id>/pause")
def pause(campaign_id: int) -> ResponseReturnValue:
    """Pauses a campaign by a person's switch."""
    return _after_switch(
        services().manage.pause_campaign(campaign_id, g.actor, request.form.get("note")),
        "paused. It stays off until somebody resumes it.",
    )


@blueprint.post("/campaigns/<int:campaign_id>/resume")
def resume(campaign_id: int) -> ResponseReturnValue:
    """Releases a person's switch and closes an open breaker, so that the campaign runs when budgets and schedule allow it."""
    changed = services().manage.resume_campaign(campaign_id, g.actor, request.form.get("note"))
    breaker = " Its breaker is closed." if changed.closed_breaker else ""
    return _after_switch(changed, f"resumed.{breaker} It runs whenever budget and schedule permit.")


@blueprint.post("/brands/<int:brand_id>/pause")
def pause_brand(brand_id: int) -> ResponseReturnValue:
    """Stops a whole brand; its campaigns keep their own switches."""
    changed = services().manage.pause_brand(brand_id, g.actor)
    return _after_switch(changed, "paused. It stays so until somebody resumes it.")


@blueprint.post("/brands/<int:brand_id>/resume")
def resume_brand(brand_id: int) -> ResponseReturnValue:
    """Takes the pause of a brand back."""
    changed = services().manage.resume_brand(brand_id, g.actor)
    return _after_switch(changed, "resumed. Each campaign runs as its own switch, budget and schedule permit.")


@blueprint.route("/brands/<int:brand_id>/archive", methods=["GET", "POST"])
def archive_brand(brand_id: int) -> ResponseReturnValue:
    """Archives a brand after a confirmation."""
    brand = services().catalog.brand(brand_id)
    if ConfirmForm().validate_on_submit():
        changed = services().manage.archive_brand(brand_id, g.actor)
        _report(changed, _archived_message("Brand", brand.name, url_for("catalog.unarchive_brand", brand_id=brand_id)))
        return redirect(url_for("budgets.budgets"))
    running = len(services().catalog.campaigns(brand_id))
    return render_template(
        "confirm.html", form=ConfirmForm(), entity="brand", name=brand.name, brand=brand, campaigns=running
    )


@blueprint.route("/campaigns/<int:campaign_id>/archive", methods=["GET", "POST"])
def archive_campaign(campaign_id: int) -> ResponseReturnValue:
    """Archives a campaign after a confirmation."""
    campaign = services().catalog.campaign(campaign_id)
    if ConfirmForm().validate_on_submit():
        changed = services().manage.archive_campaign(campaign_id, g.actor)
        again = url_for("catalog.unarchive_campaign", campaign_id=campaign_id)
        _report(changed, _archived_message("Campaign", campaign.name, again))
        return back.to_brand(brand_of(campaign_id), but=url_for("campaign.campaign", campaign_id=campaign_id))
    brand = services().catalog.brand(campaign.brand_id)
    return render_template(
        "confirm.html", form=ConfirmForm(), entity="campaign", name=campaign.name, brand=brand, campaigns=1
    )


@blueprint.route("/brands/<int:brand_id>/unarchive", methods=["GET", "POST"])
def unarchive_brand(brand_id: int) -> ResponseReturnValue:
    """Restores an archived brand after a confirmation, under another name where its own is taken."""
    brand = services().catalog.brand(brand_id)
    if not brand.archived:
        return back.to_brand(brand_id)
    form = ReturnForm()
    if not form.is_submitted():
        form.name.data = brand.name
    elif form.validate() and (name := form.wanted()) is not None:
        changed = _apply(form, lambda: services().manage.unarchive_brand(brand_id, g.actor, name=name))
        if changed is not None:
            _report(changed, f"Brand {changed.row.name} is in use again, with its campaigns as they were.")
            return back.to_brand(brand_id)
    return _page("unarchive.html", form, entity="brand", row=brand, brand=brand)


@blueprint.route("/campaigns/<int:campaign_id>/unarchive", methods=["GET", "POST"])
def unarchive_campaign(campaign_id: int) -> ResponseReturnValue:
    """Restores an archived campaign after a confirmation. Its brand must be restored first, where that is archived."""
    campaign = services().catalog.campaign(campaign_id)
    brand = services().catalog.brand(campaign.brand_id)
    if brand.archived:
        flash(f"{campaign.name} is archived with its brand, which must come back first.", "warn")
        return redirect(url_for("catalog.unarchive_brand", brand_id=brand.id))
    if not campaign.archived:
        return back.to_brand(brand.id)
    form = ReturnForm()
    if not form.is_submitted():
        form.name.data = campaign.name
    elif form.validate() and (name := form.wanted()) is not None:
        changed = _apply(form, lambda: services().manage.unarchive_campaign(campaign_id, g.actor, name=name))
        if changed is not None:
            _report(changed, f"Campaign {changed.row.name} is in use again.")
            return back.to_brand(brand.id)
    return _page("unarchive.html", form, entity="campaign", row=campaign, brand=brand)


def _archived_message(entity: str, name: str, again: str) -> str:
    """The message after archiving, with a link that restores."""
    return Markup('{} {} archived. <a href="{}">Bring it back</a>').format(entity, seen(name), again)


def _apply(form: FlaskForm, change: Callable[[], Changed[Any]]) -> Changed[Any] | None:
    """Makes the change; None where it was refused, with the reason beside its field."""
    try:
        return change()
    except Conflict as error:
        if error.field == "version":
            form.form_errors = [*form.form_errors, STALE]
        else:
            complain(form, error)
    except InvalidInput as error:
        complain(form, error)
    return None


def _curves() -> list[str]:
    """The curves that people made, for the forms' choices."""
    return services().catalog.curves.names()


def _taken_pacing(values: dict[str, Any]) -> Pacing:
    """The pacing of a new row, taken out of a form's values."""
    return Pacing(values.pop("pacing", NO_PACING.mode), values.pop("catch_up", NO_PACING.catch_up))


def _said_first(form: FlaskForm, entity: str, row: BrandRecord | CampaignRecord, values: dict[str, Any]) -> list[str]:
    """What a change of pacing or of the time zone will do, to be confirmed; empty where there is none, or it was confirmed."""
    wanted = [values.get(name, getattr(row, name)) for name in ("pacing", "catch_up")]
    said = []
    if isinstance(row, BrandRecord) and (zone := values.get("time_zone")):
        effect = services().overview.zone_effect(row.id, zone)
        said += [effect] if effect else []
        wanted += [zone] if effect else []
    # What was confirmed is this very pacing and zone.
    if (not said and wanted == [row.pacing, row.catch_up]) or form.confirmed.data == ",".join(wanted):
        return []
    try:
        if wanted[:2] != [row.pacing, row.catch_up]:
            effect = services().overview.paced.of_change(entity, row.id, values)
            said.append(_for_people(effect.removeprefix(f"{entity} {row.id}: "), row))
    except InvalidInput:
        return []  # the change is refused beside its field
    form.confirmed.data = ",".join(wanted)
    return said


def _for_people(said: str, row: BrandRecord | CampaignRecord) -> str:
    """A sentence of the engine on the page of a row."""
    text = readable(said, services().overview.local(row.id if isinstance(row, BrandRecord) else row.brand_id))
    return text[:1].upper() + text[1:]


def _stored_values(mine: FlaskForm, now: FlaskForm, names: tuple[str, ...]) -> dict[str, str]:
    """The stored value of each field in which a person typed something else."""
    return {name: now[name].data or "(empty)" for name in names if (mine[name].data or "") != (now[name].data or "")}


def _report(changed: Changed[Any], message: str) -> None:
    messages.of_change(changed, message)


def _after_switch(changed: Changed[Any], what: str) -> ResponseReturnValue:
    _report(changed, f"{changed.row.name} {what}")
    if is_htmx():
        return render_live()
    row = changed.row
    return back.to_brand(row.id if isinstance(row, BrandRecord) else row.brand_id)


def _page(template: str, form: FlaskForm, **values: Any) -> ResponseReturnValue:
    refused = request.method == "POST"
    return render_template(template, form=form, **{"current": {}, **values}), 422 if refused else 200
