"""All brands' figures, read once for all viewers of a process, and only while one of them looks.

PostgreSQL and Redis are asked in threads of their own, at most once a second each. Where one of them does not answer, the other's figures are
new and its own are the last ones, with their age.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from engine.errors import BudgetError, ServerAway, ServerHangs
from engine.live.plans import LiveBrand
from engine.views.board import ANSWER_S, Board, Told
from engine.views.budget_line import BudgetLine, line_of
from engine.views.overview import Cataloged, Overview

FRESH_S: Final = 1.0
"""Seconds between two reads of a part."""
TOGETHER_S: Final = 4.0
"""Seconds that the lines of a very large system may take to be put together for the first time."""
_REST_OF_REDIS: Final = 60
"""Nearly all of the time that reading takes is Redis' own: at most 1.7 % of its one core, which the bidders need."""
OLD_S: Final = 120.0
"""Figures of Redis that are older than this are not shown: those of the log are."""
_HANGS: Final = "look at its machine and its log; the figures come back by themselves"


@dataclass(frozen=True, slots=True)
class Picture:
    """All brands by id. now_ms: of the newest figures. age_s: of the part that is the oldest, named in `oldest`. note: why figures are not
    live, in a sentence; None where they are.
    """

    now_ms: int
    lines: tuple[BudgetLine, ...]
    age_s: float
    oldest: str
    note: str | None


@dataclass(frozen=True, slots=True)
class _Built:
    """The lines of a pair of answers. asked: Redis' answer, None where it is too old or there is none. asked_at: when the catalog was asked; cold_at, live_at: when the answers came; in monotonic seconds."""

    cold: Cataloged
    asked: Mapping[int, LiveBrand | None] | None
    lines: tuple[BudgetLine, ...]
    now_ms: int
    asked_at: float
    cold_at: float
    live_at: float | None


class BudgetBoard:
    """The shared picture of a process. Thread-safe."""

    def __init__(self, overview: Overview, where: Mapping[str, str], answer_s: float = ANSWER_S) -> None:
        """where: the addresses of "postgresql" and "redis"."""
        self._overview = overview
        self._where = where
        self._ids: tuple[int, ...] | None = None
        self._has_ids = threading.Event()
        self._built: _Built | None = None
        self._changed_at = 0.0
        self.board = Board(
            {"postgresql": self._ask_catalog, "redis": self._ask_redis}, answer_s, FRESH_S, {"redis": _REST_OF_REDIS}
        )
        self.lines = Board({"lines": self._put_together}, TOGETHER_S, FRESH_S)

    def prepare(self) -> None:
        """Reads once in the background, so that the first viewer of a process finds figures."""
        self.board.prepare()

    def changed(self) -> None:
        """Lets the next look read the catalog again, because a person just changed it and wants to see it."""
        self._changed_at = time.monotonic()

    def look(self, content_s: float = 0.0) -> Picture:
        """The present picture. Waits for no server longer than its deadline, and for nothing whose figures are at most `content_s` old.
        Raises ServerAway where PostgreSQL has never answered.
        """
        told = self.board.look(content_s=content_s, since={"postgresql": self._changed_at})
        cold = told["postgresql"]
        if cold.good_value is None:
            raise cold.value if isinstance(cold.value, ServerAway) else self._silence("postgresql", cold)
        notes = [self._said(name, told[name]) for name in ("postgresql", "redis")]
        built = self._together(cold, content_s)
        now = time.monotonic()
        age_s, oldest = now - built.cold_at, "PostgreSQL"
        if built.live_at is not None and built.live_at < built.cold_at:
            age_s, oldest = now - built.live_at, "Redis"
        return Picture(built.now_ms, built.lines, age_s, oldest, " ".join(filter(None, notes)) or None)

    def _together(self, cold: Told, content_s: float) -> _Built:
        """The lines of the last answers. A thread of their own puts them together, so that a click waits for it only where the lines are older
        than it wants, or of before a change that this process made.
        """
        last = self._built
        since = 0.0 if last is not None and last.asked_at >= self._changed_at else time.monotonic() - cold.good_age_s
        told = self.lines.look(content_s=content_s, since={"lines": since})["lines"]
        if told.good_value is None:
            raise self._silence("postgresql", told)
        assert isinstance(told.good_value, _Built)
        return told.good_value

    def _put_together(self) -> tuple[Any, bool]:
        """Once for each pair of answers, however many look."""
        told, now = self.board.last(), time.monotonic()
        cold, live = told["postgresql"], told["redis"]
        asked = live.good_value if live.good_value is not None and live.good_age_s <= OLD_S else None
        last = self._built
        if last is not None and last.cold is cold.good_value and last.asked is asked:
            return last, True
        found: Cataloged = cold.good_value
        shown = {} if asked is None else self._with_new_brands(asked, found)
        self._built = _Built(
            found,
            asked,
            tuple(map(line_of, self._overview.joined(found, shown))),
            max((brand.now_ms for brand in shown.values() if brand is not None), default=found.now_ms),
            cold.good_asked_at,
            now - cold.good_age_s,
            now - live.good_age_s if shown else None,
        )
        return self._built, True

    def _with_new_brands(
        self, asked: Mapping[int, LiveBrand | None], found: Cataloged
    ) -> Mapping[int, LiveBrand | None]:
        """Redis is asked beside PostgreSQL, for the brands that were known then: those that are new are asked for here.
        A brand without an answer would be told as not live yet.
        """
        new = tuple(brand.id for brand in found.brands if not brand.archived and brand.id not in asked)
        if not new:
            return asked
        try:
            return {**asked, **self._overview.figures(new)}
        except BudgetError:
            return asked

    def _ask_catalog(self) -> tuple[Any, bool]:
        try:
            found = self._overview.cataloged()
        except ServerAway as away:
            return away, False
        self._ids = tuple(brand.id for brand in found.brands if not brand.archived)
        self._has_ids.set()
        return found, True

    def _ask_redis(self) -> tuple[Any, bool]:
        # The first time the brands are being read.
        self._has_ids.wait(ANSWER_S)
        try:
            return self._overview.figures(self._ids or ()), self._ids is not None
        except BudgetError as error:
            return error, False

    def _said(self, name: str, told: Told) -> str | None:
        """Why a part is not live."""
        if told.silent_s is not None:
            error: BudgetError = self._silence(name, told)
        elif isinstance(told.value, BudgetError):
            error = told.value
        else:
            return None
        if name == "redis" and (told.good_value is None or told.good_age_s > OLD_S):
            return f"{error}. Spend is the log's, causes are those last written."
        return f"{error}. What is shown of it is {told.good_age_s:.0f} s old."

    def _silence(self, name: str, told: Told) -> ServerHangs:
        part = {"postgresql": "PostgreSQL", "redis": "Redis"}[name]
        return ServerHangs(part, self._where[name], told.silent_s or 0.0, _HANGS)
