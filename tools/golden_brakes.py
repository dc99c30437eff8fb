"""The golden vectors' stories of brakes."""

from __future__ import annotations

from typing import Final

from tools.golden_own import limits, watched
from tools.golden_steps import FIRST, NOON, SECOND, Case, ask, draw, hold, lease, line, packed, plan, record, refund

_MINUTE: Final = 60_000

BRAKED: Final = (
    Case(
        "a minute takes its limit and no more, a refusal says when the next begins, and a fact is counted past it",
        [
            limits(2, "|br=100,,1"),
            ask("a", line(FIRST, 60), ms=NOON + 1),
            ask("b", line(FIRST, 41), ms=NOON + 2),
            ask("c", line(FIRST, 101), ms=NOON + 3),
            packed("try_spends", "d", f"{FIRST},60,2;{SECOND},7,1;", 4, (0, 1, 0), (30, 7, 30), ms=NOON + 4),
            record("e", line(FIRST, 50, "win-1"), ms=NOON + 5),
            refund(50, "win-1", ms=NOON + 6),
            ask("f", line(FIRST, 1), ms=NOON + _MINUTE - 1),
            ask("g", line(FIRST, 100), ms=NOON + _MINUTE),
            hold(f"R,{FIRST},bid-1,1,60000;", ms=NOON + _MINUTE),
            lease(60, 1, ms=NOON + 2 * _MINUTE),
            plan(FIRST, SECOND, ms=NOON + 2 * _MINUTE),
            watched(NOON + 2 * _MINUTE),
        ],
    ),
    Case(
        "a minute above its breaker stops the campaign, facts are counted on, and only a later round closes it",
        [
            limits(2, "5000::|br=,100,1"),
            record("a", line(FIRST, 100)),
            packed("try_spends", "b", f"{FIRST},3,2;{SECOND},7,1;", 4, (0, 1, 0), (1, 7, 2)),
            ask("c", line(FIRST, 1), ms=NOON + _MINUTE),
            record("d", line(FIRST, 500), ms=NOON + _MINUTE),
            hold(f"R,{FIRST},bid-1,1,60000;S,{FIRST},bid-2,3,;", ms=NOON + _MINUTE),
            plan(FIRST, SECOND, ms=NOON + _MINUTE),
            watched(NOON + _MINUTE),
            limits(3, "5000::|br=,900,1", ms=NOON + _MINUTE),
            ask("e", line(FIRST, 1), ms=NOON + _MINUTE),
            limits(4, "5000::|br=,100,2", ms=NOON + _MINUTE),
            ask("f", line(FIRST, 100), ms=NOON + _MINUTE),
            draw("g", f"{FIRST},1,1;", 1, ms=NOON + _MINUTE),
            plan(FIRST, ms=NOON + _MINUTE),
        ],
    ),
)
