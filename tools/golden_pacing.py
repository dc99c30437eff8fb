"""The golden vectors' stories of pacing."""

from __future__ import annotations

from typing import Final

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
    draw,
    hold,
    lease,
    line,
    packed,
    plan,
    record,
    step,
)

_LUNCH: Final = "000000000000432000600000861001000000"


def _paced(version: int, pacing: str, ms: int = NOON) -> Step:
    """Publishes the brand's pacing of a daily budget of 10 units."""
    keys = [KEYS.shard, KEYS.registry, KEYS.journal, KEYS.brand(BRAND)]
    return step("publish", keys, (LAYOUT, INSTANCE, BRAND, version, "10000000", "25000000", 0, 0, pacing), ms)


PACED: Final = (
    Case(
        "a paced brand passes while less is spent than is due, and a refusal says when the next try passes",
        [
            _paced(2, "|p=0,1000000,0"),
            ask("a", line(FIRST, 5_000_000)),
            ask("b", line(FIRST, 90_000)),
            ask("c", line(FIRST, 1)),
            packed("try_spends", "d", f"{FIRST},40,2;{SECOND},7,1;", 4, (0, 1, 0), (30, 7, 10)),
            ask("e", line(FIRST, 1), line(SECOND, 1)),
            record("f", line(SECOND, 2_000_000)),
            ask("c", line(FIRST, 1)),
            plan(FIRST, SECOND),
            _paced(3, f"|p=1,1000000,0|c1={_LUNCH}", NOON + 60_000),
            ask("g", line(FIRST, 1), ms=NOON + 60_000),
            _paced(4, "", NOON + 120_000),
            ask("h", line(FIRST, 1), ms=NOON + 120_000),
        ],
    ),
    Case(
        "a minute spends no more than its cap, and holds and leases no more than is due",
        [
            _paced(2, "|p=0,1000000,150"),
            ask("a", line(FIRST, 10_400)),
            ask("b", line(FIRST, 20)),
            ask("c", line(FIRST, 20)),
            ask("d", line(FIRST, 20), ms=NOON + 60_000),
            _paced(3, "|p=0,1000000,s", NOON + 60_000),
            hold(
                f"R,{FIRST},bid-1,4000000,60000;R,{FIRST},bid-2,4000000,60000;R,{FIRST},bid-3,1,60000;",
                ms=NOON + 60_000,
            ),
            lease(60, 1, ms=NOON + 60_000),
            hold(f"L,{FIRST},bid-1,,;S,{FIRST},bid-2,3000000,;", ms=NOON + 120_000),
            lease(9_000_000, 1, ms=NOON + 180_000),
            draw("e", f"{FIRST},10,1;", 10, ms=NOON + 180_000),
        ],
    ),
    Case(
        "a campaign's own daily budget is paced beside its brand's",
        [
            limits(2, f"1000000::|p=1,1000000,0|c1={_LUNCH}"),
            ask("a", line(FIRST, 600_000), line(SECOND, 1)),
            ask("b", line(FIRST, 1), line(SECOND, 1)),
            ask("c", line(FIRST, 1), ms=NOON + 200),
            limits(3, "1000000::", ms=NOON + 200),
            ask("d", line(FIRST, 1), ms=NOON + 200),
        ],
    ),
    Case(
        "the first call of a minute sets its pass rate by what was asked before, and a quiet minute raises it",
        [
            _paced(2, "|p=0,1000000,150"),
            ask("a", line(FIRST, 9_000), line(FIRST, 9_000), line(FIRST, 9_000)),
            record("b", line(SECOND, 3_000), ms=NOON + 60_000),
            ask("c", line(SECOND, 9_000), ms=NOON + 60_000),
            limits(2, "1000000::|p=0,1000000,150", ms=NOON + 60_000),
            ask("d", line(FIRST, 4_000), ms=NOON + 60_000),
            packed(
                "try_spends", "e", f"{FIRST},4000,2;{SECOND},3000,1;", 4, (0, 1, 0), (2000, 3000, 2000), NOON + 120_000
            ),
            hold(f"R,{FIRST},bid-1,3000,60000;", ms=NOON + 120_000),
            ask("f", line(FIRST, 2_000), line(SECOND, 2_000), ms=NOON + 300_000),
            step("read_watched", [KEYS.shard, KEYS.brand(BRAND), KEYS.campaign(FIRST)], (LAYOUT,), NOON + 360_000),
        ],
    ),
)
