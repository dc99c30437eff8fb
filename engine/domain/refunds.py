"""Refunds: why one is not given, as a short code that scripts and tables carry and as a sentence for people."""

from __future__ import annotations

from typing import Final

WHY: Final = {
    "ca": "this refund was asked for before with another amount: give a part of a spend a refund_id of its own",
    "cc": "the spend, or its refund before, is of another campaign",
    "cm": "it would be more than was spent, with what was refunded of this event before",
    "xd": "it is more than the campaign has spent on that day",
    "xm": "it is more than the campaign has spent in that month",
    "xb": "it is more than the brand has spent in that day or month",
}
"""{code: sentence}. `c..` is a conflict with what was counted, `x..` a refusal; nothing was written by either."""
