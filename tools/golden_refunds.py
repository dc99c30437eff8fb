"""The cases of the golden vectors for refunds."""

from __future__ import annotations

from typing import Final

from tools.golden_steps import FIRST, NOON, SECOND, Case, ask, decide, line, record, refund

REFUNDED: Final = (
    Case(
        "a refund counts once, gives room today, and leaves closed days alone",
        [
            record("a", line(FIRST, 10_000_000, "win-1"), line(FIRST, 5, "win-2")),
            refund(4_000_000, "win-1"),
            refund(4_000_000, "win-1"),
            refund(3_000_000, "win-1"),
            refund(6, "win-2"),
            refund(5, "win-3"),
            refund(5, "win-3", 20779),
            refund(5, "win-4", 20700),
            refund(5, "win-4", 20781),
            ask("b", line(FIRST, 3_999_995)),
        ],
    ),
    Case(
        "parts of a spend, each with an id of its own, are together at most the spend",
        [
            record("a", line(FIRST, 10, "win-1"), line(SECOND, 3, "win-2")),
            refund(4, "win-1", part="part-1"),
            refund(4, "win-1", part="part-1"),
            refund(5, "win-1", part="part-1"),
            refund(7, "win-1", part="part-2"),
            refund(4, "win-1", part="part-2"),
            refund(2, "win-1"),
            refund(1, "win-1", part="part-3"),
            refund(1, "win-1", part="two words"),
            refund(1, "win-2"),
            refund(3, "win-2", campaign=SECOND),
            refund(1, "win-2", part="part-1"),
        ],
    ),
    Case(
        "a refund of a forgotten event is pending until the log has decided",
        [
            record("a", line(FIRST, 10, "win-1"), ms=NOON - 4 * 3_600_000),
            refund(4, "win-1"),
            refund(4, "win-1", 20780),
            refund(4, "win-1", 20780),
            refund(5, "win-1", 20780),
            refund(3, "win-1", 20780, part="part-1"),
            refund(2, "win-2", 20780),
            decide(4, "win-1", 20780, "a", instance="another"),
            decide(4, "win-1", 20780, "a"),
            decide(4, "win-1", 20780, "a"),
            refund(4, "win-1", 20780),
            decide(3, "win-1", 20780, "xs", "part-1"),
            refund(3, "win-1", 20780, part="part-1"),
            refund(1, "win-1", 20780, part="part-1"),
            decide(7, "win-1", 20780, "a", "part-2"),
            decide(2, "win-2", 20780, "k"),
            refund(2, "win-2", 20780),
        ],
    ),
    Case(
        "a refund takes no counter below 0, of whatever event and day",
        [
            record("a", line(FIRST, 5)),
            refund(6, "never", 20780),
            refund(6, "never", 20779),
            refund(1, "never", 20779, campaign=SECOND),
            refund(1, "never", 18261),
            refund(1, "never", "020780"),
        ],
    ),
)
