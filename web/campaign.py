"""The page of a campaign: why it runs or not and when it runs again, its own budgets and today's course, when it ran, flights, spends, history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from engine.domain.causes import BREAKER, MANUAL
from engine.domain.periods import DAY_MS
from engine.ledger.reports import CatalogLine
from engine.views.models import CampaignView, Snapshot
from engine.views.strip import Stretch, ran_ms, within
from web.day_chart import WIDTH, day_chart
from web.fragments import fragment, tag_of
from web.query import whole_number
from web.remembered import read
from web.services import services

SPENDS: Final = 10
CHANGES_A_PAGE: Final = 30
STRETCHES_SHOWN: Final = 12
LARGEST_ID: Final = 2**63 - 1

blueprint = Blueprint("campaign", __name__)


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch with its place on a strip of WIDTH."""

    x: float
    width: float
    of: Stretch


@dataclass(frozen=True, slots=True)
class Strip:
    """A period: its stretches, and what part of it the campaign ran, in thousandths of the part that is known."""

    words: str
    bars: tuple[Bar, ...]
    ran_ms: int
    thousandths: int


@blueprint.get("/campaigns/<int:campaign_id>")
def campaign(campaign_id: int) -> ResponseReturnValue:
    """The whole page."""
    html, context, age_s = _live(campaign_id)
    return render_template(
        "campaign.html", html=html, etag=tag_of(html), view=context["view"], brand=context["brand"], age_s=age_s
    )


@blueprint.get("/campaigns/<int:campaign_id>/live")
def live(campaign_id: int) -> ResponseReturnValue:
    """The fragment that refreshes itself."""
    html, _, age_s = _live(campaign_id)
    return fragment(html, age_s, "PostgreSQL")


def _live(campaign_id: int) -> tuple[str, dict[str, Any], float]:
    before = whole_number(request.args, "before", LARGEST_ID)
    context, away, age_s = read(("campaign", campaign_id, before), lambda: _context(campaign_id, before))
    html = render_template("_campaign_page.html", away=away, old_s=age_s if away else None, **context)
    return html, context, age_s


def _context(campaign_id: int, before: int | None) -> dict[str, Any]:
    overview = services().overview
    snapshot: Snapshot = overview.around(campaign_id)
    brand = snapshot.brands[0]
    view = brand.campaign_views[0]
    course = services().courses.of_campaign(view, brand.now_ms)
    found = overview.statuses_of(campaign_id, brand.now_ms)
    changes = overview.changes_of(campaign_id, CHANGES_A_PAGE, before)
    return {
        "snapshot": snapshot,
        "brand": brand,
        "view": view,
        "switch": _switch(view),
        "course": course,
        "chart": day_chart(course),
        "strips": [
            _strip("Last 24 hours", found, brand.now_ms - DAY_MS, brand.now_ms),
            _strip("Last 7 days", found, brand.now_ms - 7 * DAY_MS, brand.now_ms),
        ],
        "stretches": found[: -STRETCHES_SHOWN - 1 : -1],
        "flights": overview.flights(campaign_id),
        "spends": overview.spends_of(campaign_id, SPENDS),
        "changes": changes,
        "older": changes[-1].id if len(changes) == CHANGES_A_PAGE else None,
        "before": before,
    }


def _switch(view: CampaignView) -> CatalogLine | None:
    """Who switched it off, when and why; None where it is on."""
    if MANUAL not in view.reasons and BREAKER not in view.reasons:
        return None
    lines = services().overview.changes_of(view.id, CHANGES_A_PAGE)
    return next((line for line in lines if line.field == "enabled" and line.new == "false"), None)


def _strip(words: str, found: tuple[Stretch, ...], since_ms: int, now_ms: int) -> Strip:
    shown, length = within(found, since_ms), now_ms - since_ms
    known = sum(one.until_ms - one.since_ms for one in shown)
    bars = tuple(
        Bar(
            round((one.since_ms - since_ms) * WIDTH / length, 1),
            # The shortest stop is seen.
            max(1.0, round((one.until_ms - one.since_ms) * WIDTH / length, 1)),
            one,
        )
        for one in shown
    )
    return Strip(words, bars, ran_ms(shown), ran_ms(shown) * 1000 // known if known else 0)
