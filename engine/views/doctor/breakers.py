"""Breakers that are open: each has stopped a campaign until a person resumes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Engine

from engine.ledger import breakers
from engine.views.doctor.finding import Finding

_SHOWN: Final = 5


def look_at_breakers(db: Engine) -> Iterator[Finding]:
    """One finding: which campaigns are stopped by their breaker."""
    with db.connect() as conn:
        broken = breakers.stopped(conn)
    if not broken:
        yield Finding("breakers", "ok", "none is open")
        return
    named = ", ".join(map(str, broken[:_SHOWN])) + (f" and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else "")
    todo = f"find out who spends so fast, then `budget-engine campaign resume {broken[0]}` closes it"
    yield Finding("breakers", "warn", f"{len(broken)} open: campaign {named} spent too much in a minute", todo)
