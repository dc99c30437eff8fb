"""Forms that change the catalog: create, edit, archive brands and campaigns, pause and resume. Every change goes through Manage, signed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from markupsafe import Markup

from engine.domain.budget import CAMPAIGN_BUDGETS, OwnLimits
from engine.domain.ids import brand_of
from engine.domain.money import NO_LIMIT_WORD
from engine.domain.names import seen
from engine.errors import Conflict, InvalidInput
from engine.flows.catalog.manage import Changed
from web import told
from web.forms import BrandForm, CampaignForm, ConfirmForm, ReturnForm, complain, version_of
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
    if not form.is_submitted():
        # What would be sent stands in the fields, so that no limit is read before it is agreed to.
        form.daily_budget.data = form.monthly_budget.data = NO_LIMIT_WORD
    elif form.validate() and (values := form.values()) is not None:
        changed = _try(form, lambda: parts().manage.create_brand(**{"external_id": None} | values, actor=g.actor))
        if changed is not None:
            _told(changed, f"Brand {changed.row.name} created. Give it a campaign, so that spend can be reported.")
            return redirect(url_for("catalog.new_campaign", brand_id=changed.row.id))
    return _page("brand_form.html", form, brand=None)


@blueprint.route("/brands/<int:brand_id>/edit", methods=["GET", "POST"])
def edit_brand(brand_id: int) -> ResponseReturnValue:
    """A brand's name and budgets."""
    brand = parts().catalog.brand(brand_id)
    if brand.archived:
        flash(f"{brand.name} is archived: it changes no more until it is brought back.", "warn")
        return redirect(url_for("catalog.unarchive_brand", brand_id=brand_id))
    form = BrandForm()
    current: dict[str, str] = {}
    if not form.is_submitted():
        form.fill(brand)
    elif form.validate() and (values := form.values()) is not None and (expected := version_of(form)) is not None:
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
    archived = parts().catalog.archived_campaigns(brand_id)
    return _page("brand_form.html", form, brand=brand, current=current, archived=archived)


@blueprint.route("/brands/<int:brand_id>/campaigns/new", methods=["GET", "POST"])
def new_campaign(brand_id: int) -> ResponseReturnValue:
    """A new campaign of a brand."""
    brand = parts().catalog.brand(brand_id)
    form = CampaignForm()
    if form.validate_on_submit() and (values := form.values()) is not None:
        limits = OwnLimits(*(values.pop(kind.column, None) for kind in CAMPAIGN_BUDGETS))
        given = {"external_id": None} | values
        changed = _try(form, lambda: parts().manage.create_campaign(brand_id, **given, limits=limits, actor=g.actor))
        if changed is not None:
            _told(changed, f"Campaign {changed.row.name} created. Its id for bidders is {changed.row.id}.")
            return back_to_status(brand_id)
    return _page("campaign_form.html", form, brand=brand, campaign=None)


@blueprint.route("/campaigns/<int:campaign_id>/edit", methods=["GET", "POST"])
def edit_campaign(campaign_id: int) -> ResponseReturnValue:
    """A campaign's name, schedule and own budgets."""
    campaign = parts().catalog.campaign(campaign_id)
    brand = parts().catalog.brand(campaign.brand_id)
    if campaign.archived:
        flash(f"{campaign.name} is archived: it changes no more until it is brought back.", "warn")
        return redirect(url_for("catalog.unarchive_campaign", campaign_id=campaign_id))
    form = CampaignForm()
    current: dict[str, str] = {}
    if not form.is_submitted():
        form.fill(campaign)
    elif form.validate() and (values := form.values()) is not None and (expected := version_of(form)) is not None:
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
            budgets = (f"{kind.name}_budget" for kind in CAMPAIGN_BUDGETS)
            current = _differing(form, now, ("name", "external_id", *budgets))
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
        _told(changed, _archived("Brand", brand.name, url_for("catalog.unarchive_brand", brand_id=brand_id)))
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
        back = url_for("catalog.unarchive_campaign", campaign_id=campaign_id)
        _told(changed, _archived("Campaign", campaign.name, back))
        return back_to_status(brand_of(campaign_id))
    brand = parts().catalog.brand(campaign.brand_id)
    return render_template(
        "confirm.html", form=ConfirmForm(), entity="campaign", name=campaign.name, brand=brand, campaigns=1
    )


@blueprint.route("/brands/<int:brand_id>/unarchive", methods=["GET", "POST"])
def unarchive_brand(brand_id: int) -> ResponseReturnValue:
    """Asks, then brings an archived brand back, under another name where somebody has taken its own."""
    brand = parts().catalog.brand(brand_id)
    if not brand.archived:
        return back_to_status(brand_id)
    form = ReturnForm()
    if not form.is_submitted():
        form.name.data = brand.name
    elif form.validate() and (name := form.wanted()) is not None:
        changed = _try(form, lambda: parts().manage.unarchive_brand(brand_id, g.actor, name=name))
        if changed is not None:
            _told(changed, f"Brand {changed.row.name} is in use again, with its campaigns as they were.")
            return back_to_status(brand_id)
    return _page("unarchive.html", form, entity="brand", row=brand, brand=brand)


@blueprint.route("/campaigns/<int:campaign_id>/unarchive", methods=["GET", "POST"])
def unarchive_campaign(campaign_id: int) -> ResponseReturnValue:
    """Asks, then brings an archived campaign back; one that is archived with its brand comes back with it."""
    campaign = parts().catalog.campaign(campaign_id)
    brand = parts().catalog.brand(campaign.brand_id)
    if brand.archived:
        flash(f"{campaign.name} is archived with its brand, which must come back first.", "warn")
        return redirect(url_for("catalog.unarchive_brand", brand_id=brand.id))
    if not campaign.archived:
        return back_to_status(brand.id)
    form = ReturnForm()
    if not form.is_submitted():
        form.name.data = campaign.name
    elif form.validate() and (name := form.wanted()) is not None:
        changed = _try(form, lambda: parts().manage.unarchive_campaign(campaign_id, g.actor, name=name))
        if changed is not None:
            _told(changed, f"Campaign {changed.row.name} is in use again.")
            return back_to_status(brand.id)
    return _page("unarchive.html", form, entity="campaign", row=campaign, brand=brand)


def _archived(entity: str, name: str, back: str) -> str:
    """That something was archived, with the way back."""
    return Markup('{} {} archived. <a href="{}">Bring it back</a>').format(entity, seen(name), back)


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
