"""Forms that change the catalog: create, edit, archive brands and campaigns, pause and resume. Every change goes through Manage, signed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm

from engine.domain.ids import brand_of
from engine.errors import Conflict, InvalidInput
from engine.flows.manage import Changed
from web import told
from web.forms import BrandForm, CampaignForm, ConfirmForm, complain
from web.guard import is_htmx
from web.parts import parts
from web.status import back_to_status, render_live

blueprint = Blueprint("catalog", __name__)

STALE = (
    "Somebody else changed this while you were editing, so nothing was saved. Yours is below, what stands now is beside each field that "
    "differs. Save again to put yours in its place."
)


@blueprint.route("/brands/new", methods=["GET", "POST"])
def new_brand() -> ResponseReturnValue:
    """A new brand."""
    form = BrandForm()
    if form.validate_on_submit() and (values := form.values()) is not None:
        changed = _try(form, lambda: parts().manage.create_brand(**values, actor=g.actor))
        if changed is not None:
            _told(changed, f"Brand {changed.row.name} created. Give it a campaign, so that spend can be reported.")
            return redirect(url_for("catalog.new_campaign", brand_id=changed.row.id))
    return _page("brand_form.html", form, brand=None)


@blueprint.route("/brands/<int:brand_id>/edit", methods=["GET", "POST"])
def edit_brand(brand_id: int) -> ResponseReturnValue:
    """A brand's name and budgets."""
    brand = parts().catalog.brand(brand_id)
    if brand.archived:
        flash(f"{brand.name} is archived: it changes no more.", "warn")
        return redirect(url_for("status.status"))
    form = BrandForm()
    current: dict[str, str] = {}
    if not form.is_submitted():
        form.fill(brand)
    elif form.validate() and (values := form.values()) is not None:
        expected = _version(form)
        changed = _try(
            form, lambda: parts().manage.update_brand(brand_id, g.actor, **values, expected_version=expected)
        )
        if changed is not None:
            _told(changed, f"Brand {changed.row.name} saved.")
            return back_to_status(brand_id)
        brand = parts().catalog.brand(brand_id)
        if brand.version != expected:
            now = BrandForm(formdata=None)
            now.fill(brand)
            current = _differing(form, now, ("name", "daily_budget", "monthly_budget", "external_id"))
            form.expected_version.data = str(brand.version)
    return _page("brand_form.html", form, brand=brand, current=current)


@blueprint.route("/brands/<int:brand_id>/campaigns/new", methods=["GET", "POST"])
def new_campaign(brand_id: int) -> ResponseReturnValue:
    """A new campaign of a brand."""
    brand = parts().catalog.brand(brand_id)
    form = CampaignForm()
    if form.validate_on_submit() and (values := form.values()) is not None:
        changed = _try(form, lambda: parts().manage.create_campaign(brand_id, **values, actor=g.actor))
        if changed is not None:
            _told(changed, f"Campaign {changed.row.name} created. Its id for bidders is {changed.row.id}.")
            return back_to_status(brand_id)
    return _page("campaign_form.html", form, brand=brand, campaign=None)


@blueprint.route("/campaigns/<int:campaign_id>/edit", methods=["GET", "POST"])
def edit_campaign(campaign_id: int) -> ResponseReturnValue:
    """A campaign's name and schedule."""
    campaign = parts().catalog.campaign(campaign_id)
    brand = parts().catalog.brand(campaign.brand_id)
    if campaign.archived:
        flash(f"{campaign.name} is archived: it changes no more.", "warn")
        return redirect(url_for("status.status"))
    form = CampaignForm()
    current: dict[str, str] = {}
    if not form.is_submitted():
        form.fill(campaign)
    elif form.validate() and (values := form.values()) is not None:
        expected = _version(form)
        changed = _try(
            form,
            lambda: parts().manage.update_campaign(campaign_id, g.actor, **values, expected_version=expected),
        )
        if changed is not None:
            _told(changed, f"Campaign {changed.row.name} saved.")
            return back_to_status(campaign.brand_id)
        campaign = parts().catalog.campaign(campaign_id)
        if campaign.version != expected:
            now = CampaignForm(formdata=None)
            now.fill(campaign)
            current = _differing(form, now, ("name", "external_id"))
            if values["schedule"] != campaign.schedule:
                current["mode"] = campaign.schedule.words()
            form.expected_version.data = str(campaign.version)
    return _page("campaign_form.html", form, brand=brand, campaign=campaign, current=current)


@blueprint.post("/campaigns/<int:campaign_id>/pause")
def pause(campaign_id: int) -> ResponseReturnValue:
    """Switches a campaign off."""
    return _switched(
        parts().manage.pause_campaign(campaign_id, g.actor), "paused. It stays off until somebody resumes it."
    )


@blueprint.post("/campaigns/<int:campaign_id>/resume")
def resume(campaign_id: int) -> ResponseReturnValue:
    """Switches a campaign on again."""
    return _switched(
        parts().manage.resume_campaign(campaign_id, g.actor), "resumed. It runs whenever budget and schedule permit."
    )


@blueprint.route("/brands/<int:brand_id>/archive", methods=["GET", "POST"])
def archive_brand(brand_id: int) -> ResponseReturnValue:
    """Asks, then archives a brand."""
    brand = parts().catalog.brand(brand_id)
    if ConfirmForm().validate_on_submit():
        changed = parts().manage.archive_brand(brand_id, g.actor)
        _told(changed, f"Brand {brand.name} archived.")
        return redirect(url_for("status.status"))
    running = len(parts().catalog.campaigns(brand_id))
    return render_template(
        "confirm.html", form=ConfirmForm(), entity="brand", name=brand.name, brand=brand, campaigns=running
    )


@blueprint.route("/campaigns/<int:campaign_id>/archive", methods=["GET", "POST"])
def archive_campaign(campaign_id: int) -> ResponseReturnValue:
    """Asks, then archives a campaign."""
    campaign = parts().catalog.campaign(campaign_id)
    if ConfirmForm().validate_on_submit():
        changed = parts().manage.archive_campaign(campaign_id, g.actor)
        _told(changed, f"Campaign {campaign.name} archived.")
        return back_to_status(brand_of(campaign_id))
    brand = parts().catalog.brand(campaign.brand_id)
    return render_template(
        "confirm.html", form=ConfirmForm(), entity="campaign", name=campaign.name, brand=brand, campaigns=1
    )


def _try(form: FlaskForm, change: Callable[[], Changed[Any]]) -> Changed[Any] | None:
    """The change, or None with the refusal beside its field."""
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


def _version(form: FlaskForm) -> int | None:
    data = form["expected_version"].data or ""
    return int(data) if data.isascii() and data.isdigit() and len(data) < 10 else None


def _differing(mine: FlaskForm, now: FlaskForm, names: tuple[str, ...]) -> dict[str, str]:
    """What stands now, for each field where it is not what the person typed."""
    return {name: now[name].data or "(empty)" for name in names if (mine[name].data or "") != (now[name].data or "")}


def _told(changed: Changed[Any], message: str) -> None:
    told.of_change(changed, message)


def _switched(changed: Changed[Any], what: str) -> ResponseReturnValue:
    _told(changed, f"{changed.row.name} {what}")
    if is_htmx():
        return render_live()
    return back_to_status(changed.row.brand_id)


def _page(template: str, form: FlaskForm, **values: Any) -> ResponseReturnValue:
    refused = request.method == "POST"
    return render_template(template, form=form, **{"current": {}, **values}), 422 if refused else 200
