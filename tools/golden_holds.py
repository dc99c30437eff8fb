"""The cases of the golden vectors for holds and leases."""

from __future__ import annotations

from typing import Final

from tools.golden_steps import (
    BRAND,
    FIRST,
    NOON,
    REQUEST_MS,
    SECOND,
    UNKNOWN,
    Case,
    ask,
    draw,
    hold,
    lease,
    line,
    publish,
    record,
)

HELD: Final = (
    Case(
        "a hold takes room from questions, is settled at the real price, and the rest is free again",
        [
            hold(f"R,{FIRST},bid-1,6000000,60000;"),
            ask("a", line(FIRST, 5_000_000)),
            hold(f"S,{FIRST},bid-1,2500000,;", ms=NOON + 50),
            ask("b", line(FIRST, 7_500_000), ms=NOON + 51),
        ],
    ),
    Case(
        "a hold has one end, and a repeated call answers the same",
        [
            hold(f"R,{FIRST},bid-1,6000000,60000;", f"R,{FIRST},bid-1,6000000,60000;", f"R,{FIRST},bid-1,1,60000;"),
            hold(f"R,{FIRST},bid-2,9000000,60000;"),
            hold(f"L,{FIRST},bid-1,,;", f"L,{FIRST},bid-1,,;", f"L,{FIRST},never,,;"),
            hold(f"R,{FIRST},bid-3,1000000,60000;", f"S,{FIRST},bid-3,1500000,;"),
            hold(f"S,{FIRST},bid-3,1500000,;", f"S,{FIRST},bid-3,1,;", f"L,{FIRST},bid-3,,;"),
        ],
    ),
    Case(
        "a hold expires by Redis' time; its settle is a fact all the same, and told late",
        [
            hold(f"R,{FIRST},bid-1,10000000,1000;"),
            ask("a", line(FIRST, 1), ms=NOON + 999),
            ask("b", line(FIRST, 1), ms=NOON + 1000),
            hold(f"L,{FIRST},bid-1,,;", f"S,{FIRST},bid-1,3000000,;", ms=NOON + 1001),
            hold(f"E,{FIRST},,,;", f"S,{FIRST},bid-9,1,;", f"R,{FIRST},bid-8,0,1;", ms=NOON + 1002),
        ],
    ),
    Case(
        "a lease is opened, drawn, filled, shrunk and ended; a draw counts once whatever became of its answer",
        [
            lease(6_000_000, 1),
            ask("a", line(FIRST, 5_000_000)),
            draw("lease-1/1", f"{FIRST},2500000,2;", 2_000_000, 500_000),
            draw("lease-1/1", f"{FIRST},2500000,2;", 2_000_000, 500_000, sent=NOON),
            draw("lease-1/1", f"{FIRST},2500000,2;", 500_000, 2_000_000),
            lease(5_000_000, 2),
            lease(1_000_000, 3),
            ask("b", line(FIRST, 6_500_000)),
            lease(9_000_000, 3),
            lease(0, 4),
            lease(0, 5),
        ],
    ),
    Case(
        "a lease gets what the budget has left; a draw past it, or after its end, is a fact and is told so",
        [
            record("a", line(FIRST, 7_000_000)),
            lease(6_000_000, 6, 1000),
            lease(2_000_000, 7, 1000, name="lease-2"),
            draw("lease-1/1", f"{FIRST},3500000,1;", 3_500_000),
            lease(1, 8, 1000),
            publish(BRAND, 2, "20000000", "25000000", (), NOON + 1),
            lease(2_000_000, 9, 1000, ms=NOON + 1),
            draw("lease-1/2", f"{FIRST},1,1;", 1, ms=NOON + 1001),
            lease(1_000_000, 10, 1000, ms=NOON + 1002),
            draw("lease-1/3", f"{FIRST},1000000,1;", 1_000_000, ms=NOON + 1002),
        ],
    ),
    Case(
        "a draw that was sent so long ago that it may be forgotten is not counted on trust",
        [
            draw("lease-1/1", f"{FIRST},5,1;", 5, sent=NOON - REQUEST_MS),
            draw("lease-1/1", f"{FIRST},5,1;", 5, sent=NOON - REQUEST_MS + 5000),
            draw("lease-1/1", f"{FIRST},5,1;", 5, sent=NOON - REQUEST_MS),
        ],
    ),
    Case(
        "what is wrong with a lease or a draw",
        [
            *(lease(amount, 11) for amount in ("", "-1", "1e3", "1000000000001")),
            lease(1, 12, 0),
            lease(1, 13, 86_400_001),
            lease(1, 14, name="a b"),
            lease(1, 15, campaign=UNKNOWN),
            draw("a", f"{FIRST},2,1;{SECOND},2,1;", 2, 2),
            draw("a", f"{FIRST},2,1;", 2, name="a,b"),
            draw("a", f"{FIRST},2,1;", 2, sent="x"),
            draw("a", f"{UNKNOWN},2,1;", 2, campaign=UNKNOWN),
        ],
    ),
)
