"""The number of alerts in the top bar, read at most every two seconds, however many look. Where PostgreSQL is away there is none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from engine.errors import BudgetError
from engine.ledger import alerts
from engine.views.board import ANSWER_S, Board

FRESH_S: Final = 2.0
OLD_S: Final = 60.0
"""A number that is older than this is not shown."""


class AlertCounts:
    """What counts by brand, shared by the viewers of this process. Thread-safe."""

    def __init__(self, read: Callable[[], Mapping[int | None, int]]) -> None:
        self._read = read
        self._board = Board({"alerts": self._ask}, ANSWER_S, FRESH_S)

    def now(self, brands: Collection[int] | None) -> int | None:
        """Those of the brands that a person sees; None where it is not known."""
        told = self._board.look(content_s=FRESH_S)["alerts"]
        if told.good_value is None or told.good_age_s > OLD_S:
            return None
        return alerts.count_of(told.good_value, brands)

    def _ask(self) -> tuple[Any, bool]:
        try:
            return self._read(), True
        except (BudgetError, SQLAlchemyError):
            return None, False
