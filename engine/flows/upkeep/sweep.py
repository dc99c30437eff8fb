"""Sweep: removes expired holds. Every call for a brand does so by itself, 50 at a time; this is for brands without
calls, so that their money is free and each hold's end is logged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Engine

from engine.ledger import holds
from engine.live.admin import LiveRedis
from engine.live.inspect import Inspector
from engine.live.repair import sweep

_BRANDS_AT_ONCE: Final = 200
_ROUNDS: Final = 1000
"""Rounds of 50 holds a brand; the rest is left to the next minute's sweep."""


@dataclass(slots=True)
class Swept:
    """What a sweep removed."""

    brands: int = 0
    holds: int = 0


def sweep_expired(
    db: Engine, live: LiveRedis, inspector: Inspector, between: Callable[[], None] = lambda: None
) -> Swept:
    """Removes all expired holds, by Redis' clock. The log has the brands with holds, Redis the expired ones. Raises
    ServerAway.
    """
    with db.connect() as conn:
        candidates = holds.brands_with_open(conn)
    swept = Swept()
    for start in range(0, len(candidates), _BRANDS_AT_ONCE):
        due = inspector.due_holds(candidates[start : start + _BRANDS_AT_ONCE], live.now_ms())
        swept.brands += len(due)
        before = sum(due.values())
        for _ in range(_ROUNDS):
            if not due:
                break
            between()
            ready = sweep(live, due)
            left = inspector.due_holds(sorted(ready), live.now_ms()) if ready else {}
            if left == due:
                break
            due = left
        swept.holds += before - sum(due.values())
    return swept
