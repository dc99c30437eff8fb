"""The golden vectors' stories of scheduled changes of limits."""

from __future__ import annotations

from typing import Final

from engine.live.scripts import LAYOUT
from tools.golden_own import limits, watched
from tools.golden_steps import (
    BRAND,
    FIRST,
    INSTANCE,
    KEYS,
    NOON,
    SECOND,
    Case,
    Step,
    ask,
    draw,
    hold,
    lease,
    line,
    packed,
    plan,
    record,
    refund,
    step,
)


def _scheduled(version: int, steps: str, daily: str = "10000000", ms: int = NOON) -> Step:
    """Publishes steps of the brand's limits."""
    keys = [KEYS.shard, KEYS.registry, KEYS.journal, KEYS.brand(BRAND)]
    return step("publish", keys, (LAYOUT, INSTANCE, BRAND, version, daily, "25000000", 0, 0, steps), ms)


SCHEDULED: Final = (
    Case(
        "a brand's daily limit rises for ten milliseconds, and the plan takes the rest over",
        [
            _scheduled(2, f"|n1={NOON + 10},15000000,25000000|n2={NOON + 20},10000000,25000000"),
            record("a", line(FIRST, 10_000_000, "win-1")),
            ask("b", line(FIRST, 1), ms=NOON + 9),
            plan(FIRST, ms=NOON + 10),
            ask("c", line(FIRST, 1), ms=NOON + 10),
            packed("try_spends", "d", f"{FIRST},40,2;{SECOND},7,1;", 4, (0, 1, 0), (30, 7, 10), ms=NOON + 19),
            watched(NOON + 19),
            hold(f"R,{FIRST},bid-1,4000000,60000;R,{FIRST},bid-2,4000000,60000;", ms=NOON + 19),
            ask("e", line(FIRST, 1), ms=NOON + 20),
            refund(500_000, "win-1", ms=NOON + 20),
            _scheduled(3, "", ms=NOON + 21),
            plan(FIRST, ms=NOON + 21),
            watched(NOON + 21),
        ],
    ),
    Case(
        "a campaign's own limits come and go, its pacing follows them, and a lease grows into them",
        [
            limits(2, f"1000000::|p=0,1000000,0|n1={NOON + 10},4000000,|n2={NOON + 20},,600000"),
            ask("a", line(FIRST, 600_000)),
            ask("b", line(FIRST, 1)),
            ask("b", line(FIRST, 1), ms=NOON + 10),
            ask("c", line(FIRST, 1), ms=NOON + 10),
            lease(3_000_000, 1, ms=NOON + 10),
            draw("d", f"{FIRST},10,1;", 10, ms=NOON + 10),
            watched(NOON + 10),
            ask("e", line(FIRST, 1), line(SECOND, 1), ms=NOON + 20),
            record("f", line(FIRST, 1), ms=NOON + 20),
            plan(FIRST, SECOND, ms=NOON + 20),
            limits(3, ":600000:", ms=NOON + 30),
            plan(FIRST, ms=NOON + 30),
        ],
    ),
)
