"""The golden vectors' stories of flights."""

from __future__ import annotations

from typing import Final

from tools.golden_own import limits, watched
from tools.golden_steps import (
    FIRST,
    NOON,
    SECOND,
    Case,
    ask,
    draw,
    hold,
    lease,
    line,
    packed,
    plan,
    record,
    refund,
)

_HOUR: Final = 3_600_000
_DAY: Final = 24 * _HOUR


def _flight(no: int, starts: int, ends: int, limit: int, counter: int | None = None) -> str:
    return f"{no},{no if counter is None else counter},{NOON + starts},{NOON + ends},{limit}"


FLOWN: Final = (
    Case(
        "flights begin and end on the millisecond, and a refusal says when the next begins",
        [
            limits(2, f"|{_flight(1, 10, 20, 100)}|{_flight(2, 30, 40, 50)}"),
            ask("a", line(FIRST, 1), ms=NOON + 9),
            ask("b", line(FIRST, 60), ms=NOON + 10),
            packed("try_spends", "c", f"{FIRST},40,2;{SECOND},7,1;", 4, (0, 1, 0), (30, 7, 10), ms=NOON + 19),
            ask("d", line(FIRST, 1), ms=NOON + 19),
            packed("try_spends", "e", f"{FIRST},2,2;{SECOND},7,1;", 4, (0, 1, 0), (1, 7, 1), ms=NOON + 20),
            record("f", line(FIRST, 5, "win-1"), ms=NOON + 29),
            record("g", line(FIRST, 50, "win-2"), ms=NOON + 30),
            plan(FIRST, SECOND, ms=NOON + 30),
            watched(NOON + 30),
            ask("h", line(FIRST, 1), ms=NOON + 40),
            plan(FIRST, ms=NOON + 40),
            watched(NOON + 40),
        ],
    ),
    Case(
        "a flight goes on with what the one before left, and a refund goes to the flight of its spend",
        [
            limits(2, f"|{_flight(1, 0, 20, 100)}|{_flight(2, 20, _HOUR, 150, 1)}"),
            record("a", line(FIRST, 70, "win-1")),
            ask("b", line(FIRST, 81), ms=NOON + 20),
            ask("c", line(FIRST, 80), ms=NOON + 20),
            limits(3, f"|{_flight(3, 30, _HOUR, 10)}", ms=NOON + 30),
            record("d", line(FIRST, 10, "win-2"), ms=NOON + 30),
            refund(20, "win-1", ms=NOON + 31),
            refund(4, "win-2", ms=NOON + 31),
            plan(FIRST, ms=NOON + 31),
            limits(4, "", ms=NOON + 32),
            ask("e", line(FIRST, 1), ms=NOON + 32),
        ],
    ),
    Case(
        "holds and leases are bounded by the flight in force, and settle into the one that they end in",
        [
            limits(2, f"|{_flight(1, 0, 20, 100)}|{_flight(2, 20, _HOUR, 100)}"),
            hold(f"R,{FIRST},bid-1,101,60000;R,{FIRST},bid-2,60,60000;"),
            lease(60, 1),
            hold(f"S,{FIRST},bid-2,50,;", ms=NOON + 20),
            draw("d", f"{FIRST},10,1;", 10, ms=NOON + 20),
            plan(FIRST, ms=NOON + 20),
            hold(f"R,{FIRST},bid-3,1,60000;", ms=NOON + _HOUR),
        ],
    ),
    Case(
        "a flight that is spread evenly has a part for each day, and the last day has all that is left",
        [
            limits(2, f"|{_flight(1, -_HOUR, 3 * _DAY - 12 * _HOUR, 750)},e"),
            ask("a", line(FIRST, 129)),
            ask("b", line(FIRST, 128)),
            packed("try_spends", "c", f"{FIRST},3,2;{SECOND},7,1;", 4, (0, 1, 0), (1, 7, 2)),
            record("d", line(FIRST, 22, "win-1")),
            plan(FIRST, SECOND),
            watched(NOON),
            ask("e", line(FIRST, 301), ms=NOON + _DAY),
            hold(f"R,{FIRST},bid-1,301,60000;R,{FIRST},bid-2,20,60000;", ms=NOON + _DAY),
            limits(3, f"|{_flight(1, -_HOUR, 3 * _DAY - 12 * _HOUR, 760)},e", ms=NOON + _DAY),
            ask("f", line(FIRST, 10), ms=NOON + 2 * _DAY),
            plan(FIRST, ms=NOON + 2 * _DAY),
        ],
    ),
)
