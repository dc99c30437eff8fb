"""Sweep: ends holds that are past their time. Every call for a brand does so by itself, 50 at a time; this is the broom for brands that
nobody calls for, so that their money shows as free and the end of each hold is written down.
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
"""50 holds of a brand each: what is left after that is the next minute's."""


@dataclass(slots=True)
class Swept:
    """What a sweep ended."""

    brands: int = 0
    holds: int = 0


def sweep_expired(
    db: Engine, live: LiveRedis, inspector: Inspector, between: Callable[[], None] = lambda: None
) -> Swept:
    """Ends all expired holds, by Redis' clock. The log knows which brands hold anything, Redis which of it is due. Raises ServerAway."""
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
