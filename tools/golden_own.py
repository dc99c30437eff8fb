"""The golden vectors' stories of campaigns with limits of their own."""

from __future__ import annotations

from typing import Final

from engine.live.scripts import LAYOUT
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
    at,
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

_MIDNIGHT: Final = at("2026-11-24T00:00:00")


def limits(version: int, own: str, base: str = "", campaign: int = FIRST, ms: int = NOON, create: int = 0) -> Step:
    """Publishes a campaign's own limits beside its brand's plan."""
    keys = [KEYS.shard, KEYS.registry, KEYS.journal, KEYS.brand(BRAND), KEYS.campaign(campaign), KEYS.holds(BRAND)[0]]
    head = (LAYOUT, INSTANCE, BRAND, 1, "10000000", "25000000", 0, 0)
    return step("publish", keys, (*head, campaign, version, 1, 0, "", create, own, base), ms)


def watched(ms: int = NOON) -> Step:
    return step(
        "read_watched", [KEYS.shard, KEYS.brand(BRAND), KEYS.campaign(FIRST), KEYS.campaign(SECOND)], [LAYOUT], ms
    )


LIMITED: Final = (
    Case(
        "a campaign's own daily budget refuses, is logged once when it is used up, and stops no other campaign",
        [
            limits(2, "5000000::"),
            ask("a", line(FIRST, 4_000_000)),
            ask("b", line(FIRST, 1_000_001)),
            ask("c", line(FIRST, 500_000), line(FIRST, 600_000), line(SECOND, 1)),
            packed("try_spends", "d", f"{FIRST},600000,2;{SECOND},7,1;", 4, (0, 1, 0), (300_000, 7, 300_000)),
            packed("record_spends", "e", f"{FIRST},500000,1;", 4, (0,), (500_000,)),
            record("f", line(FIRST, 1)),
            plan(FIRST, SECOND),
            watched(),
            plan(FIRST, ms=_MIDNIGHT),
            watched(_MIDNIGHT),
        ],
    ),
    Case(
        "a lifetime budget begins with what the log has, and counts refunds of every day",
        [
            record("a", line(FIRST, 3, "win-1")),
            limits(2, "::100"),
            limits(2, "::100", "80,202610,6"),
            limits(2, "::100", "80,202611,6"),
            ask("b", line(FIRST, 18)),
            ask("c", line(FIRST, 17)),
            refund(2, "win-1"),
            ask("d", line(FIRST, 2)),
            limits(3, "::"),
            ask("e", line(FIRST, 1)),
            plan(FIRST),
        ],
    ),
    Case(
        "what a campaign has on hold is not spent past its own budgets, and a lease is granted what they leave",
        [
            hold(f"R,{FIRST},bid-1,60,60000;"),
            limits(2, ":100:"),
            hold(f"R,{FIRST},bid-2,41,60000;R,{FIRST},bid-3,40,60000;"),
            ask("a", line(FIRST, 1)),
            hold(f"S,{FIRST},bid-1,50,;"),
            lease(60, 1),
            draw("d", f"{FIRST},10,1;", 10),
            ask("b", line(FIRST, 1), ms=NOON + 60_001),
            plan(FIRST, ms=NOON + 60_001),
        ],
    ),
    Case(
        "a shard with limits has layout 2, which a caller of another layout does not get",
        [
            limits(2, "0::"),
            ask("a", line(FIRST, 1)),
            step("read_shard", [KEYS.shard, KEYS.journal], [0]),
            step("probe", [*KEYS.fixed], ["2"]),
        ],
    ),
)
