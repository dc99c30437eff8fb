"""Why a refund is refused: a short code in scripts and tables, and a sentence for people."""

from __future__ import annotations

from typing import Final

FIRST_DAY: Final = 18_262
"""2020-01-01 as a day number: no spend is older, so a refund of an earlier day is refused. `lua/lib/refund.lua` has
the same; a test compares them.
"""

WHY: Final = {
    "ca": "this refund was asked for before with another amount: give a part of a spend a refund_id of its own",
    "cc": "the spend, or its refund before, is of another campaign",
    "cm": "it would be more than was spent, with what was refunded of this event before",
    "xd": "it is more than the campaign has spent on that day",
    "xm": "it is more than the campaign has spent in that month",
    "xl": "it is more than one of the campaign's own budgets has counted",
    "xb": "it is more than the brand has spent in that day or month",
    "xu": "the spend log has no spend of this event on that day",
    "xy": "the spend log has this event on the day before or after: give the day of the spend by its brand's clock",
    "xc": "the spend log has this event for another campaign",
    "xs": "it is more than was spent, with what was refunded of this event before",
    "xe": "that day is before the brand began",
    "xq": "the event stands in a journal entry that was given up in quarantine: a person must look",
    "w": "the event is older than its window, so the spend log decides within seconds: ask again",
    "n": "no such event is remembered: where it is older than its window, say the day of the spend (spent_on)",
}
"""{code: sentence}. `c..` is a conflict with what was counted, `x..` a refusal. None of them moved money, nor did `w`
and `n`.
"""


def refund_request(event_id: str | None, refund_id: str | None) -> str:
    """The request id of a refund's row in the log: its event and, after a comma, its refund id if it has one."""
    return f"refund:{event_id}" + (f",{refund_id}" if refund_id else "")
