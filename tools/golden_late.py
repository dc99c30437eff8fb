"""The golden vectors' stories of late spends."""

from __future__ import annotations

from typing import Final

from engine.domain.periods import DAY_MS, HOUR_MS
from engine.live.scripts import LAYOUT
from tools.golden_own import limits
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
    record,
    refund,
    step,
)

_MIDNIGHT: Final = NOON + 12 * HOUR_MS
_MONTH_S_END: Final = _MIDNIGHT + 7 * DAY_MS
"""The end of Monday, 2026-11-23, and of that November."""


def _grace(minutes: int, ms: int = NOON) -> Step:
    return step("stamp", [KEYS.shard], [LAYOUT, INSTANCE, 0, 0, minutes], ms)


def _prune(*fields: str, ms: int) -> Step:
    return step("prune", [KEYS.shard, KEYS.brand(BRAND), KEYS.campaign(FIRST)], [LAYOUT, INSTANCE, *fields], ms)


LATE: Final = (
    Case(
        "a late spend counts to the day on which it occurred, until the grace has passed",
        [
            _grace(60),
            record("a", line(FIRST, 3_000_000, "win-1", NOON)),
            record("b", line(FIRST, 2_000_000, "win-2", _MIDNIGHT - 1), ms=_MIDNIGHT),
            ask("c", line(FIRST, 5_000_001, "", _MIDNIGHT - 1), ms=_MIDNIGHT + 1),
            ask(
                "d", line(FIRST, 6_000_000, "", _MIDNIGHT - 1), line(FIRST, 4_000_000, "", _MIDNIGHT), ms=_MIDNIGHT + 2
            ),
            ask("e", line(FIRST, 5_000_000, "", _MIDNIGHT - 1), line(SECOND, 1, "win-2", 1), ms=_MIDNIGHT + 3),
            refund(1_000_000, "win-2", ms=_MIDNIGHT + 4),
            _prune("d:20780", ms=_MIDNIGHT + HOUR_MS - 1),
            record("f", line(SECOND, 7, "", _MIDNIGHT - DAY_MS - 1), ms=_MIDNIGHT + HOUR_MS - 1),
            record("g", line(SECOND, 8, "", _MIDNIGHT - 1), ms=_MIDNIGHT + HOUR_MS),
            _prune("d:20780", ms=_MIDNIGHT + HOUR_MS),
            _grace(360, ms=_MIDNIGHT + HOUR_MS),
            record("h", line(SECOND, 9, "", _MIDNIGHT - 1), ms=_MIDNIGHT + HOUR_MS),
        ],
    ),
    Case(
        "a late spend at a month's end counts to both its day and its month, by the limits of then",
        [
            _grace(360),
            limits(2, "9000000:10000000:", ms=NOON),
            record("a", line(FIRST, 8_000_000), ms=_MONTH_S_END - 1),
            hold(f"R,{FIRST},bid-1,1000000,60000;", ms=_MONTH_S_END),
            limits(3, "::", ms=_MONTH_S_END),
            ask("b", line(FIRST, 1_000_001, "", _MONTH_S_END - 1), ms=_MONTH_S_END),
            ask("c", line(FIRST, 1_000_000, "", _MONTH_S_END - 1), line(FIRST, 1_000_001, "", ""), ms=_MONTH_S_END),
            _prune("m:202611", ms=_MONTH_S_END + 6 * HOUR_MS - 1),
            _prune("d:20787", "m:202611", ms=_MONTH_S_END + 6 * HOUR_MS),
        ],
    ),
)
