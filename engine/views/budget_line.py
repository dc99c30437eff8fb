"""One brand in the list of budgets: its figures, the state that it is in, and why it needs a look. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from engine.domain.causes import FLIGHT, SCHEDULE, cause_of, in_order
from engine.views.models import BrandView

State = Literal["running", "budget", "schedule", "paused", "empty", "archived"]
STATES: Final[dict[State, str]] = {
    "running": "running",
    "budget": "stopped by budget",
    "schedule": "off schedule",
    "paused": "paused",
    "empty": "no campaigns yet",
    "archived": "archived",
}
ALERTS: Final = {
    "near": "90 % and more",
    "out": "out before the day's end",
    "stopped": "stopped by budget",
    "under": "under-delivering",
    "unlive": "not live yet",
}
"""Why a brand needs attention."""
_UNDER_TENTHS: Final = 800
"""Below so many thousandths of what is due, a paced brand under-delivers."""
_EARLY_TENTHS: Final = 100
"""Before so many thousandths of the day's budget are due, nothing is said of that."""


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """A brand. why: how many of its campaigns each cause stops. pace: thousandths by which today's spend is above what is due (below: negative); None without a daily budget.

    plan: what is due by now, by its pacing, or else by an even day. end: what today is heading for; None where that is not known.
    out_ms: when its daily budget is used up at this rate. alerts: names of ALERTS.
    """

    view: BrandView
    state: State
    plan: int | None
    pace: int | None
    end: int | None
    out_ms: int | None
    alerts: tuple[str, ...]
    why: tuple[tuple[str, int], ...] = ()

    @property
    def id(self) -> int:
        return self.view.id

    @property
    def used(self) -> int | None:
        """Thousandths of the daily budget that are spent."""
        limit = self.view.daily_budget
        if limit is None:
            return None
        return self.view.daily_spend * 1000 // limit if limit else 1000


def line_of(view: BrandView) -> BudgetLine:
    """The line of a brand."""
    state = _state(view)
    plan = _plan(view)
    pace = None if not plan or view.archived else (view.daily_spend - plan) * 1000 // plan
    running = state == "running"
    out_ms = view.runs_out_ms if running and not view.used_up else None
    end = view.projected_day_micros if running and not view.used_up else None
    why = () if view.archived else tuple((name, view.causes[name]) for name in in_order(view.causes))
    return BudgetLine(view, state, plan, pace, end, out_ms, _alerts(view, state, out_ms), why)


def _state(view: BrandView) -> State:
    if view.archived:
        return "archived"
    if not view.campaigns:
        return "empty"
    if view.paused:
        return "paused"
    if view.used_up:
        return "budget"
    if view.active_campaigns:
        return "running"
    causes = view.causes
    if any(causes[name] and cause_of(name).kind == "money" for name in causes):
        return "budget"
    return "schedule" if causes[SCHEDULE] or causes[FLIGHT] else "paused"


def _plan(view: BrandView) -> int | None:
    """What is due by now: by the pacing, or else by an even day."""
    if view.pacing is not None and view.pacing.due is not None:
        return view.pacing.due
    limit = view.daily_budget
    if limit is None:
        return None
    clock = view.zones.clock
    day = clock.day_of(view.now_ms)
    return limit * clock.time_of_day(view.now_ms)[0] // clock.day_length_ms(day)


def _alerts(view: BrandView, state: State, out_ms: int | None) -> tuple[str, ...]:
    if view.archived or not view.campaigns:
        return ()
    found = []
    if state == "budget":
        found.append("stopped")
    elif any(budget.limit and budget.spent * 10 >= budget.limit * 9 for budget in view.budgets):
        found.append("near")
    if out_ms is not None:
        found.append("out")
    if state == "running" and _is_under(view):
        found.append("under")
    if not view.ready:
        found.append("unlive")
    return tuple(found)


def _is_under(view: BrandView) -> bool:
    due, limit = (None, None) if view.pacing is None else (view.pacing.due, view.pacing.limit)
    if not due or not limit or due * 1000 < limit * _EARLY_TENTHS:
        return False
    return view.daily_spend * 1000 < due * _UNDER_TENTHS
