"""The page of a brand: where it is heading today, its campaigns, its days, what was changed, and its settings. The URL has the tab."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from engine.errors import InvalidInput, ServerAway, shown
from engine.ledger.hourly import Owner
from engine.ledger.reports import BrandDay
from engine.views.budget_board import Picture
from engine.views.budget_line import BudgetLine, line_of
from engine.views.headline import headline
from engine.views.models import CampaignView
from engine.views.overview import DAYS
from web.budget_list import state_words
from web.day_chart import columns, day_chart
from web.fragments import fragment, tag_of
from web.query import whole_number
from web.services import services

TABS: Final = {"": "Today", "campaigns": "Campaigns", "days": "Days", "activity": "Activity", "settings": "Settings"}
MOST_ROWS: Final = 200
CHANGES_A_PAGE: Final = 50
LARGEST_ID: Final = 2**63 - 1

blueprint = Blueprint("brand", __name__)


@dataclass(frozen=True, slots=True)
class Day:
    """A day with the budget that it ended with; None is no limit. known: whether the brand was there."""

    of: BrandDay
    limit: int | None
    known: bool


@blueprint.get("/brands/<int:brand_id>")
def brand(brand_id: int) -> ResponseReturnValue:
    """The whole page."""
    tab = _tab()
    picture = services().budget_board.look()
    line = _line(picture, brand_id)
    html = _live(picture, line, tab)
    return render_template(
        "brand.html", brand=line.view, tab=tab, TABS=TABS, html=html, etag=tag_of(html), picture=picture
    )


@blueprint.get("/brands/<int:brand_id>/live")
def live(brand_id: int) -> ResponseReturnValue:
    """The fragment that refreshes itself."""
    tab = _tab()
    picture = services().budget_board.look()
    return fragment(_live(picture, _line(picture, brand_id), tab), picture.age_s, picture.oldest)


def _tab() -> str:
    tab = request.args.get("tab", "")
    if tab not in TABS:
        raise InvalidInput(f"tab {shown(tab)} is none of {', '.join(filter(None, TABS))}", "tab")
    return tab


def _line(picture: Picture, brand_id: int) -> BudgetLine:
    """The brand as all viewers see it; one that is newer than that is read by itself. Raises NotFound."""
    found = next((line for line in picture.lines if line.id == brand_id), None)
    return found or line_of(services().overview.brand(brand_id))


def _live(picture: Picture, line: BudgetLine, tab: str) -> str:
    context: dict[str, Any] = {"away": None, "old_s": None}
    try:
        context |= _READ[tab](line)
    except ServerAway as away:
        context["away"] = away
        if tab == "" and (last := services().courses.last(Owner("brand", line.id))) is not None:
            context |= {"course": last.value, "chart": day_chart(last.value), "old_s": last.age_s, "heading": None}
    line = context.pop("line", line)
    return render_template(
        "_brand_page.html", line=line, brand=line.view, tab=tab, picture=picture, TABS=TABS, MOST_ROWS=MOST_ROWS,
        sentence=headline(line), state_words=state_words, **context,
    )  # fmt: skip


def _today(line: BudgetLine) -> dict[str, Any]:
    course = services().courses.of_brand(line.view)
    try:
        heading = services().courses.heading(Owner("brand", line.id))
    except ServerAway:
        heading = ""  # the note says which one
    return {"course": course, "chart": day_chart(course), "heading": heading}


def _campaigns(line: BudgetLine) -> dict[str, Any]:
    view = services().overview.brand(line.id)
    rows = sorted(
        (row for row in view.campaign_views if not row.archived or view.archived),
        key=lambda row: (row.status == "active", row.name.casefold(), row.id),
    )
    every = request.args.get("whole") == "1"
    shown_rows: list[CampaignView] = rows if every else rows[:MOST_ROWS]
    return {"line": line_of(view), "rows": shown_rows, "all_rows": len(rows)}


def _days(line: BudgetLine) -> dict[str, Any]:
    days = services().overview.brand_days(line.id)
    limits = services().courses.budgets_of_days(line.id, [day.day for day in days], line.view.daily_budget)
    each = [Day(day, limits.get(day.day), day.day in limits) for day in days]
    return {
        "days": each[::-1],
        "columns": columns([(day.of.spend_micros, day.limit) for day in each]),
        "last": DAYS,
        "late": any(day.late_spends for day in days),
        "backfilled": any(day.backfilled_spends for day in days),
    }


def _activity(line: BudgetLine) -> dict[str, Any]:
    before = whole_number(request.args, "before", LARGEST_ID)
    lines = services().overview.catalog_changes(CHANGES_A_PAGE, before, [line.id], users=False)
    return {
        "changes": lines,
        "older": lines[-1].id if len(lines) == CHANGES_A_PAGE else None,
        "before": before,
        "switches": [] if before else services().overview.latest_changes(20, [line.id]),
    }


def _settings(line: BudgetLine) -> dict[str, Any]:
    record = services().catalog.brand(line.id)
    return {"record": record, "archived": services().catalog.archived_campaigns(line.id)}


_READ: Final = {"": _today, "campaigns": _campaigns, "days": _days, "activity": _activity, "settings": _settings}
