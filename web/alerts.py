"""Alerts: those that are open, with who has seen them and what is muted, and those that were."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, current_app, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from engine.domain.alerts import BY_KIND
from engine.errors import InvalidInput, shown
from engine.ledger import alerts as ledger
from engine.ledger.alerts import MUTE_HOURS, AlertRow
from web import messages
from web.access import person
from web.alert_counts import AlertCounts
from web.query import whole_number
from web.services import services
from web.status import LARGEST_ID

MOST_OPEN: Final = 200
A_PAGE: Final = 100
HOURS: Final = {1: "1 hour", 8: "8 hours", 24: "1 day", 168: "7 days"}
ENDS: Final = {
    "raised": "recovered: the budget was raised",
    "recovered": "recovered",
    "period": "its day or month ended",
    "off": "no rule asks for it any more",
}
assert tuple(HOURS) == MUTE_HOURS

blueprint = Blueprint("alerts", __name__)


@blueprint.get("/alerts")
def alerts() -> ResponseReturnValue:
    """Open alerts."""
    brands = person().brands
    rows = ledger.list_open(services().db, brands, MOST_OPEN + 1)
    number = ledger.count_of(ledger.counts(services().db), brands)
    return render_template(
        "alerts.html", rows=rows[:MOST_OPEN], more=len(rows) > MOST_OPEN, alerts_open=number, hours=HOURS, words=words
    )


@blueprint.get("/alerts/history")
def history() -> ResponseReturnValue:
    """Every alert, the newest first."""
    before, brand = (whole_number(request.args, name, LARGEST_ID) for name in ("before", "brand"))
    rows = ledger.history(services().db, person().brands, A_PAGE, before, brand)
    older = rows[-1].id if len(rows) == A_PAGE else None
    return render_template(
        "alert_history.html", rows=rows, older=older, before=before, brand=brand, words=words, ENDS=ENDS
    )


@blueprint.post("/alerts/<int:alert_id>/acknowledge")
def acknowledge(alert_id: int) -> ResponseReturnValue:
    """Notes that somebody has seen an alert."""
    seen = ledger.acknowledge(services().db, alert_id, g.actor, person().brands)
    messages.tell(("done", f"{title(seen)}: acknowledged."), ("then", "It counts no more. A higher level alerts anew."))
    return redirect(url_for("alerts.alerts"))


@blueprint.post("/alerts/<int:alert_id>/mute")
def mute(alert_id: int) -> ResponseReturnValue:
    """Silences what an alert is about for some hours."""
    given = request.form.get("hours", "")
    if given not in map(str, MUTE_HOURS):
        raise InvalidInput(f"hours {shown(given)} is none of {', '.join(map(str, MUTE_HOURS))}", "hours")
    muted = ledger.mute(services().db, alert_id, int(given), g.actor, person().brands)
    messages.tell(
        ("done", f"{title(muted)}: muted for {HOURS[int(given)]}."),
        ("then", "Its alerts are written down, and neither counted nor sent."),
    )
    return redirect(url_for("alerts.alerts"))


@blueprint.post("/alerts/<int:alert_id>/unmute")
def unmute(alert_id: int) -> ResponseReturnValue:
    """Ends that silence."""
    row = ledger.unmute(services().db, alert_id, g.actor, person().brands)
    messages.tell(("done", f"{title(row)}: not muted any more."))
    return redirect(url_for("alerts.alerts"))


def words(row: AlertRow) -> tuple[str, str]:
    """What an alert is about: its kind, and its subject."""
    kind, _, name = row.subject.partition(":")
    if kind == "brand":
        about = row.brand_name or f"brand {name}"
    elif kind == "campaign":
        about = f"campaign {name}" + (f" of {row.brand_name}" if row.brand_name else "")
    else:
        about = f"{kind} {name}"
    return BY_KIND[row.kind].title, about


def title(row: AlertRow) -> str:
    """An alert in a few words, for messages."""
    kind, about = words(row)
    return f"{kind} of {about}"


def open_count() -> int | None:
    """How many alerts whoever sent this request should look at; None where that is not known."""
    found = current_app.extensions["alert_counts"]
    assert isinstance(found, AlertCounts)
    return found.now(person().brands)
