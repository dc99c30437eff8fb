"""Pages of admins about alerts: the rules, the webhooks that hear of alerts, and the messages to them."""

from __future__ import annotations

from typing import Any, Final

from flask import Blueprint, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from redis.exceptions import RedisError
from wtforms import BooleanField, RadioField, StringField
from wtforms.fields.choices import SelectChoice

from engine.domain.alerts import BY_KIND, EVERY_BRAND, AlertKind, Rule, check_kind, check_levels
from engine.domain.webhooks import OLD_SECRET_HOURS
from engine.doorbell import enqueue_now
from engine.errors import BudgetError, InvalidInput, NotFound
from engine.job_table import BY_NAME
from engine.ledger import alert_rules, webhooks
from engine.ledger.alert_rules import words_of
from web import messages
from web.people_forms import named_brand
from web.query import whole_number
from web.refusals import complain
from web.services import services
from web.status import LARGEST_ID

A_PAGE: Final = 100
LEAST_WORDS: Final = (
    SelectChoice("note", "Everything, notes too"),
    SelectChoice("warning", "Warnings and critical ones"),
    SelectChoice("critical", "Critical ones only"),
)
blueprint = Blueprint("alert_settings", __name__)


def _text(data: object) -> str:
    return data.strip() if isinstance(data, str) else ""


class RuleForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """A rule: whose, its levels, and whether it is on."""

    brand = StringField(
        "Brand", filters=[_text], description="An id, ext: and an external id, or a name. Empty: every brand."
    )
    levels = StringField("Levels", filters=[_text])
    enabled = BooleanField("On")


class WebhookForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """A receiver of alerts."""

    name = StringField("Name", filters=[_text], description="For people.")
    url = StringField(
        "Address", filters=[_text], description="Messages are posted there, signed by the Standard Webhooks scheme."
    )
    least = RadioField("Hears of", choices=LEAST_WORDS, default="warning", validate_choice=False)


@blueprint.get("/alerts/rules")
def rules() -> ResponseReturnValue:
    """Every rule: those of every brand, and those of some."""
    listed = services().alerts.rules().listed()
    names = {brand.id: brand.name for brand in services().catalog.brands(include_archived=True)}
    return render_template("alert_rules.html", rules=listed, names=names, BY_KIND=BY_KIND, words_of=words_of)


@blueprint.route("/alerts/rules/<kind>", methods=["GET", "POST"])
def rule(kind: str) -> ResponseReturnValue:
    """Changes a rule, or gives a brand one of its own."""
    try:
        row = check_kind(kind)
    except InvalidInput as error:
        raise NotFound(str(error)) from None
    brand_id = whole_number(request.args, "brand", LARGEST_ID)
    form = RuleForm()
    form.levels.description = f"Whole numbers from {row.least} to {row.most} ({row.unit}), joined by commas."
    if not form.is_submitted():
        _fill(form, services().alerts.rules().of(row.name, brand_id), brand_id, new="new" in request.args)
    elif form.validate() and _saved(form, row):
        messages.tell(("done", f"The rule {row.title} is saved."), ("then", "It counts from the next minute on."))
        return redirect(url_for("alert_settings.rules"))
    shown = render_template("alert_rule.html", form=form, kind=row, words=row.words.replace("{}", "so many"))
    return shown, 422 if request.method == "POST" else 200


@blueprint.post("/alerts/rules/<kind>/drop")
def drop_rule(kind: str) -> ResponseReturnValue:
    """Takes a changed rule back: a brand has that of every brand again, and that of every brand its first levels."""
    row, brand_id = check_kind(kind), whole_number(request.form, "brand", LARGEST_ID) or EVERY_BRAND
    alert_rules.drop(services().db, g.actor, row, brand_id)
    messages.tell(("done", f"The rule {row.title} is as it was at first."))
    return redirect(url_for("alert_settings.rules"))


@blueprint.get("/alerts/webhooks")
def hooks() -> ResponseReturnValue:
    """Every receiver, and the latest messages."""
    before, one = (whole_number(request.args, name, LARGEST_ID) for name in ("before", "webhook"))
    log = webhooks.log(services().db, A_PAGE, one, before)
    older = log[-1].id if len(log) == A_PAGE else None
    found = webhooks.all_webhooks(services().db)
    return render_template("webhooks.html", webhooks=found, log=log, older=older, before=before, one=one)


@blueprint.route("/alerts/webhooks/new", methods=["GET", "POST"])
def new_hook() -> ResponseReturnValue:
    """Makes a receiver, and shows its secret in this one answer."""
    form, made = WebhookForm(), None
    if form.validate_on_submit():
        try:
            made = webhooks.create(services().db, g.actor, form.name.data, form.url.data, form.least.data or "")
        except InvalidInput as error:
            complain(form, error)
    shown = render_template("webhook_form.html", form=form, made=made, rotated=False)
    return shown, 422 if request.method == "POST" and made is None else 200


@blueprint.post("/alerts/webhooks/<int:webhook_id>/rotate")
def rotate_hook(webhook_id: int) -> ResponseReturnValue:
    """Gives a receiver another secret, and shows it in this one answer."""
    made = webhooks.rotate(services().db, g.actor, webhook_id)
    return render_template("webhook_form.html", form=None, made=made, rotated=True, hours=OLD_SECRET_HOURS)


@blueprint.post("/alerts/webhooks/<int:webhook_id>/test")
def test_hook(webhook_id: int) -> ResponseReturnValue:
    """Sends a test message."""
    number = webhooks.add_test(services().db, g.actor, webhook_id)
    lines: list[tuple[messages.Style, str]] = [("done", f"The message {number} is on its way.")]
    try:
        enqueue_now(services().jobs_redis, BY_NAME["webhooks"])
        lines.append(("then", "Reload this page to see what the receiver answered."))
    except RedisError:
        lines.append(("warn", "The jobs' Redis is away: a worker sends it when it is back."))
    messages.tell(*lines)
    return redirect(url_for("alert_settings.hooks"))


@blueprint.post("/alerts/webhooks/<int:webhook_id>/disable")
def disable_hook(webhook_id: int) -> ResponseReturnValue:
    """Sends nothing more to a receiver."""
    found = webhooks.set_disabled(services().db, g.actor, webhook_id, True)
    messages.tell(("done", f"{found.name} is disabled."), ("then", "Messages that waited for it are dropped."))
    return redirect(url_for("alert_settings.hooks"))


@blueprint.post("/alerts/webhooks/<int:webhook_id>/enable")
def enable_hook(webhook_id: int) -> ResponseReturnValue:
    """Sends to a receiver again, from the next alert on."""
    found = webhooks.set_disabled(services().db, g.actor, webhook_id, False)
    messages.tell(("done", f"{found.name} hears of alerts again."))
    return redirect(url_for("alert_settings.hooks"))


def _fill(form: Any, rule: Rule, brand_id: int | None, *, new: bool) -> None:
    form.brand.data = "" if brand_id is None or new else str(brand_id)
    form.levels.data = ", ".join(map(str, rule.levels))
    form.enabled.data = rule.enabled


def _saved(form: Any, row: AlertKind) -> bool:
    try:
        brand_id = named_brand(form.brand.data) if form.brand.data else EVERY_BRAND
        levels = check_levels(row, form.levels.data or "")
        alert_rules.write(services().db, g.actor, row, levels, bool(form.enabled.data), brand_id)
    except BudgetError as error:
        if not isinstance(error, InvalidInput | NotFound):
            raise
        complain(form, error, getattr(error, "field", None) or "brand")
        return False
    return True
