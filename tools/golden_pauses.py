"""The golden vectors' stories of brands that a person paused."""

from __future__ import annotations

from typing import Final

from engine.live.scripts import LAYOUT
from tools.golden_own import watched
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
    hold,
    line,
    packed,
    plan,
    record,
    step,
)


def _stops(version: int, stops: int, ms: int = NOON) -> Step:
    """Publishes what stops a whole brand."""
    keys = [KEYS.shard, KEYS.registry, KEYS.journal, KEYS.brand(BRAND)]
    return step("publish", keys, (LAYOUT, INSTANCE, BRAND, version, "10000000", "25000000", stops, 0), ms)


PAUSED: Final = (
    Case(
        "a paused brand refuses, counts facts, settles holds, and runs again when it is resumed",
        [
            hold(f"R,{FIRST},bid-1,100,60000;"),
            _stops(2, 2),
            ask("a", line(FIRST, 1)),
            packed("try_spends", "b", f"{FIRST},3,2;{SECOND},7,1;", 4, (0, 1, 0), (1, 7, 2)),
            record("c", line(FIRST, 5)),
            hold(f"R,{FIRST},bid-2,1,60000;S,{FIRST},bid-1,90,;"),
            plan(FIRST, SECOND),
            watched(NOON),
            _stops(2, 0),
            _stops(3, 3),
            ask("d", line(FIRST, 1)),
            _stops(4, 0),
            ask("e", line(FIRST, 1)),
            watched(NOON),
        ],
    ),
)
