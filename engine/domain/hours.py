"""A compiled schedule as minutes of the week: whether it is open, and when that changes next, each in a microsecond.

`engine/domain/schedule.py` compiles it, and `lua/lib/schedule.lua` reads the same text. This is for watches, which
wait for the boundaries of many schedules.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Final

from engine.domain.periods import MINUTE_MS
from engine.domain.schedule import DAY_MINUTES

WEEK_MINUTES: Final = 7 * DAY_MINUTES
_SINCE_MONDAY: Final = 3 * DAY_MINUTES
"""1970-01-01 was a Thursday."""
_PIECE: Final = re.compile(r"([0-9]+)@([0-9]+)-([0-9]+)", re.ASCII)


class Hours:
    """The open minutes of one compiled schedule; "" is always. A text of no pieces is never open, as in the scripts."""

    __slots__ = ("_edges",)

    def __init__(self, compiled: str) -> None:
        self._edges: list[int] = [0, WEEK_MINUTES] if compiled == "" else _edges(compiled)
        """Minutes of the week (Monday 00:00 = 0) at which it opens, closes, opens, ... in order."""

    def is_open(self, ms: int) -> bool:
        """Whether a campaign may run at an instant."""
        return bisect_right(self._edges, _minute_of_week(ms)) % 2 == 1

    def next_change_ms(self, ms: int) -> int | None:
        """The first instant after `ms` at which it opens or closes; None when it never does."""
        edges = self._edges
        if len(edges) < 2 or edges == [0, WEEK_MINUTES]:
            return None
        minute = _minute_of_week(ms)
        week_start = ms - ms % MINUTE_MS - minute * MINUTE_MS
        place = bisect_right(edges, minute)
        if place < len(edges) and edges[place] == WEEK_MINUTES and edges[0] == 0:
            place += 1  # open over the end of the week: no boundary
        if place < len(edges):
            return week_start + edges[place] * MINUTE_MS
        over = 1 if edges[0] == 0 and edges[-1] == WEEK_MINUTES else 0
        return week_start + (WEEK_MINUTES + edges[over]) * MINUTE_MS


def _minute_of_week(ms: int) -> int:
    return (ms // MINUTE_MS + _SINCE_MONDAY) % WEEK_MINUTES


def _edges(compiled: str) -> list[int]:
    pieces = sorted(
        ((int(day) - 1) * DAY_MINUTES + int(start), (int(day) - 1) * DAY_MINUTES + int(end))
        for days, start, end in _PIECE.findall(compiled)
        for day in days
    )
    edges: list[int] = []
    for start, end in pieces:
        if edges and start <= edges[-1]:
            edges[-1] = max(edges[-1], end)
        else:
            edges += (start, end)
    return edges
