"""The figures of brands and campaigns in the scripts' replies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from engine.domain.budget import BUDGETS, Budget, budgets_of, used_up_causes
from engine.errors import UnreadableReply, shown
from engine.live.transport.pool import Reply

WITH_STARTS: Final = 5
"""Parts of a reply about campaigns of which it is known when they may spend again."""
_WITH_RATES: Final = 6
"""Parts of a reply about campaigns of which any has a pass rate below 1."""


class Figures:
    """A brand's spends and limits in micros after a call; shared by all results of one reply. Stored as the script
    wrote them, `id:daily_spend:monthly_spend:daily_limit:monthly_limit` and fields of later releases. Parsed on
    first access, because most callers need the outcome only.
    """

    __slots__ = (
        "_causes",
        "_line",
        "budgets",
        "daily_limit",
        "daily_spend",
        "monthly_limit",
        "monthly_spend",
        "rates",
        "starts",
    )

    starts: Mapping[int, int]
    """{campaign id: ms} of campaigns between two flights, and of those that pacing refused: when they may spend again."""
    rates: Mapping[int, int]
    """{campaign id: ppm} of campaigns whose pass rate is below 1,000,000."""
    budgets: tuple[Budget, ...]
    """In the order of `BUDGETS`, as many as the script reported."""
    daily_spend: int
    monthly_spend: int
    daily_limit: int | None
    monthly_limit: int | None

    def __init__(self, line: bytes) -> None:
        self._line = line
        self._causes: tuple[str, ...] | None = None

    def __getattr__(self, name: str) -> Any:
        """Called while a figure is not parsed yet."""
        if name in ("starts", "rates"):
            return {}
        if name not in ("budgets", "daily_spend", "monthly_spend", "daily_limit", "monthly_limit"):
            raise AttributeError(name)
        try:
            fields = budgets_of(self._line.decode().split(":")[1:], 2)
            # A list first, which is faster than a generator.
            self.budgets = tuple(
                [
                    Budget(kind.cause, int(limit) if limit else None, int(spent))
                    for kind, (spent, limit) in zip(BUDGETS, fields, strict=False)
                ]
            )
        except ValueError:
            raise UnreadableReply(
                f"the brand's figures {shown(self._line)} cannot be read: the outcome stands, its figures are not known;"
                " look at the brand with `budget-engine verify`",
                "",
            ) from None
        day, month = self.budgets[:2]
        self.daily_spend, self.monthly_spend = day.spent, month.spent
        self.daily_limit, self.monthly_limit = day.limit, month.limit
        return getattr(self, name)

    def causes(self) -> tuple[str, ...]:
        """Which budgets are used up."""
        if self._causes is None:
            self._causes = used_up_causes(self.budgets)
        return self._causes


def figures_in(reply: Reply) -> dict[int, Figures]:
    """{brand id: figures} of a reply."""
    found = {int(line.partition(b":")[0]): Figures(line) for line in reply[2].split(b";")} if reply[2] else {}
    for name, text in zip(("starts", "rates"), reply[WITH_STARTS - 1 : _WITH_RATES], strict=False):
        if text:
            pairs = (pair.split(":") for pair in text.decode().split(";"))
            of_campaigns = {int(campaign): int(number) for campaign, number in pairs}
            for figures in found.values():
                setattr(figures, name, of_campaigns)
    return found
