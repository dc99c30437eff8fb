"""The golden vectors' stories of brands whose unused budget is carried on."""

from __future__ import annotations

from typing import Final

from engine.domain.periods import DAY_MS
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

NEXT: Final = NOON - NOON % DAY_MS + DAY_MS
"""Tuesday begins."""


def _rolls(version: int, cap: str, ms: int = NOON) -> Step:
    """Publishes the brand with a cap, 10.00 a day and no monthly budget; nothing is no rollover."""
    keys = [KEYS.shard, KEYS.registry, KEYS.journal, KEYS.brand(BRAND)]
    return step("publish", keys, (LAYOUT, INSTANCE, BRAND, version, "10000000", "", 0, 0, cap and f"|ro={cap}"), ms)


ROLLED: Final = (
    Case(
        "what a day left is in the next day's limit, at most the cap, and the first call that counts tells the journal",
        [
            _rolls(2, "5000000"),
            record("a", line(FIRST, 7_700_000)),
            plan(FIRST),
            ask("b", line(FIRST, 12_300_001), ms=NEXT),
            ask("c", line(FIRST, 300_000), ms=NEXT),
            ask("d", line(FIRST, 12_000_001), ms=NEXT + 1),
            packed("try_spends", "e", f"{FIRST},3,2;{SECOND},7,1;", 4, (0, 1, 0), (1, 7, 2), ms=NEXT + 1),
            hold(f"R,{FIRST},bid-1,11999990,60000;", ms=NEXT + 1),
            plan(FIRST, ms=NEXT + 1),
            watched(NEXT + 1),
        ],
    ),
    Case(
        "days without a call carry up to the cap, another cap takes effect at once, and a month begins with nothing",
        [
            _rolls(2, "25000000"),
            record("a", line(FIRST, 10_000_000)),
            packed("try_spends", "b", f"{FIRST},40000000,1;", 4, (0,), (40_000_000,), ms=NEXT + 3 * DAY_MS),
            packed("try_spends", "c", f"{FIRST},30000000,1;", 4, (0,), (30_000_000,), ms=NEXT + 3 * DAY_MS),
            _rolls(3, "1000000", ms=NEXT + 3 * DAY_MS),
            _rolls(3, "2000000", ms=NEXT + 3 * DAY_MS),
            _rolls(4, "", ms=NEXT + 4 * DAY_MS),
            _rolls(5, "7000000", ms=NEXT + 4 * DAY_MS),
            plan(FIRST, ms=NEXT + 6 * DAY_MS),
            plan(FIRST, ms=NEXT + 7 * DAY_MS),
            record("d", line(FIRST, 1), ms=NEXT + 7 * DAY_MS),
        ],
    ),
)
