"""A brand in one sentence: how many of its campaigns run, what stops the others, and where today is heading. Pure."""

from __future__ import annotations

from engine.domain.budget import BUDGETS
from engine.domain.causes import cause_of
from engine.domain.money import MICROS
from engine.views.budget_line import BudgetLine
from engine.views.models import BrandView


def headline(line: BudgetLine) -> str:
    """The sentence, without a full stop: "2 of 3 run; runs out about 16:40 UTC"."""
    view = line.view
    if view.archived:
        return "Archived, with all its campaigns"
    if not view.campaigns:
        return "No campaigns yet"
    if view.paused:
        return f"Paused as a whole by a person: none of {view.campaigns:,} {'campaign runs' if view.campaigns == 1 else 'campaigns run'}"
    run = f"{view.active_campaigns:,} of {view.campaigns:,} {'runs' if view.campaigns == 1 else 'run'}"
    if used := [kind for kind in BUDGETS if kind.cause in view.used_up]:
        again = max(view.local.zone.next_period_ms(kind.period, view.now_ms) for kind in used)
        pattern = "%H:%M" if all(kind.period == "day" for kind in used) else "%d %b %H:%M"
        spent = " and ".join(cause_of(kind.cause).label for kind in used)
        return (
            f"{run}; the {spent} {'is' if len(used) == 1 else 'are'} used up until {view.local.words(again, pattern)}"
        )
    if not view.active_campaigns:
        return f"{run}; {_stopped(view)}"
    if line.out_ms is not None:
        return f"{run}; runs out about {view.local.words(line.out_ms)}"
    if line.end is None:
        return f"{run}; where today is heading is known after half an hour of running"
    if not view.daily_spend:
        return f"{run}; nothing is spent today"
    return f"{run}; at this rate {_about(line.end)} by the end of the day"


def _stopped(view: BrandView) -> str:
    """What stops them, the most common cause first."""
    found = [f"{number:,} {cause_of(name).label}" for name, number in view.causes.most_common(3)]
    return "stopped: " + ", ".join(found) if found else "not live yet"


def _about(micros: int) -> str:
    return f"{micros / MICROS:,.0f}" if micros >= 1000 * MICROS else f"{micros / MICROS:,.2f}"
