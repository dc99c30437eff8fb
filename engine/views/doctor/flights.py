"""Plans that run out of flights: a campaign with flights stops outside them, and its plan has two at most."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Engine

from engine.domain.flights import instant_text
from engine.ledger import flight_sums
from engine.views.doctor.finding import Finding

HORIZON_DAYS: Final = 7
_SHOWN: Final = 5


def look_at_flights(db: Engine) -> Iterator[Finding]:
    """One finding where any campaign has flights: those whose plan ends within a week. A further flight waits for a check."""
    with db.connect() as conn:
        ending = flight_sums.plans_ending(conn, HORIZON_DAYS)
    if not ending:
        return
    late = [plan for plan in ending if plan.overdue]
    more = f" and {len(ending) - _SHOWN} more" if len(ending) > _SHOWN else ""
    named = ", ".join(f"{plan.campaign_id} at {instant_text(plan.ends_ms)}" for plan in (late or ending)[:_SHOWN])
    if late:
        detail = f"{len(late)} campaigns stand still, though a flight has begun that is not in their plan: {named}"
        todo = "`budget-engine check` puts it there; see that the scheduler and a worker run"
        yield Finding("flights", "fail", detail, todo)
        return
    waiting = sum(plan.waits for plan in ending)
    then = f"; {waiting} of them have further flights, which a check puts into the plan" if waiting else ""
    yield Finding("flights", "ok", f"plans that end within {HORIZON_DAYS} days: campaign {named}{more}{then}")
