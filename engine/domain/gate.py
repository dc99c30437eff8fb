"""The gate of a paced budget, as the scripts apply it: a model in integers, for simulations and comparisons.

A spend passes where less is spent and on hold than is due by now, where it fits into the limit, and where the minute
has room. So at most one amount is ahead of the curve, and no amount is too large to pass.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Final

from engine.domain.curves import PPM
from engine.domain.pacing import ASAP, CATCH_UP, SPREAD
from engine.domain.pass_rate import WHOLE, PassRate
from engine.domain.periods import DAY_MS, MINUTE_MS

Due = Callable[[int], int]
"""The ppm of a budget that are due at a time of the day (ms). They never fall, and are 1,000,000 at its end."""
_MINUTES: Final = 1440
_SPREAD: Final = (100, 300)


class Gate:
    """One paced budget over one day. Times are ms since the day began, and never go back."""

    def __init__(self, limit: int, due: Due, catch_up: str = str(CATCH_UP)) -> None:
        """limit: micros. catch_up: percent, `asap` or `spread`, see `pacing.check_catch_up`."""
        self.limit = limit
        self.spent = 0
        self.held = 0
        self._due = due
        self._catch_up = catch_up
        self._minute = -1
        self._in_minute = 0
        self._most: int | None = None
        self._rate = PassRate()

    def allowed(self, ms: int) -> int:
        """The micros that are due at a time."""
        return self.limit * self._due(ms) // PPM

    def try_spend(self, ms: int, amount: int) -> bool:
        """Counts an amount in micros where it passes."""
        self._begin_minute(ms // MINUTE_MS)
        passes = self._has_room and self.spent + self.held < self.allowed(ms) and self._fits(amount)
        if self._fits(amount):
            self._rate.ask(amount)
        if passes:
            self._count(amount)
        return passes

    def record_spend(self, ms: int, amount: int) -> None:
        """Counts what is spent already, which is never refused."""
        self._begin_minute(ms // MINUTE_MS)
        self._count(amount)

    def rate(self, ms: int) -> int:
        """The ppm of offers to try at a time; 1,000,000 where no call of its minute has set it yet."""
        return self._rate.rate if self._minute == ms // MINUTE_MS else WHOLE

    def retry_ms(self, amount: int) -> int | None:
        """The first time at which a refused amount would pass, if nothing else were spent; None where the day has none."""
        if not self._fits(amount):
            return None
        # The least ppm of which the limit's part is above what is used.
        ppm = -(-(self.spent + self.held + 1) * PPM // self.limit)
        due_ms = bisect_left(range(DAY_MS), ppm, key=self._due)
        return due_ms if self._has_room else max(due_ms, (self._minute + 1) * MINUTE_MS)

    @property
    def _has_room(self) -> bool:
        return self._most is None or self._in_minute < self._most

    def _fits(self, amount: int) -> bool:
        return self.spent + self.held + amount <= self.limit

    def _count(self, amount: int) -> None:
        self.spent += amount
        self._in_minute += amount

    def _begin_minute(self, minute: int) -> None:
        if minute == self._minute:
            return
        begins = self.allowed(minute * MINUTE_MS)
        ends = self.allowed((minute + 1) * MINUTE_MS)
        percent = self._percent(begins)
        self._most = None if percent is None else max(1, max(ends - begins, self.limit // _MINUTES) * percent // 100)
        self._minute, self._in_minute = minute, 0
        wanted = ends - self.spent - self.held
        self._rate.begin(minute, wanted if self._most is None else min(wanted, self._most))

    def _percent(self, begins: int) -> int | None:
        """A minute's cap, in percent of its plan; None is no cap."""
        if self._catch_up == ASAP:
            return None
        if self._catch_up != SPREAD:
            return int(self._catch_up)
        (least, most), left, planned = _SPREAD, self.limit - self.spent, self.limit - begins
        if left >= 3 * planned:
            return most
        return left * 100 // planned if left > planned else least
