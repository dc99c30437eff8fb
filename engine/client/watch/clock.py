"""Redis' time without asking: this machine's steady clock, and how far Redis' own is from it.

Each round trip bounds the distance: Redis read its clock between the send and the answer. An estimate outside these bounds is moved to the nearer
one, so a slow answer says little and changes little, and a drift is followed.
"""

from __future__ import annotations

import time


class RedisClock:
    """Redis' time in epoch milliseconds. It never goes back, as the scripts' time never does."""

    __slots__ = ("_last", "_offset", "error_ms", "known")

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Another Redis, or one that is asked anew: what was measured is forgotten."""
        self.known = False
        self.error_ms = float("inf")
        """How wrong the estimate was at most when it was last measured at its best: half of that round trip and Redis' millisecond."""
        self._offset = 0.0
        self._last = 0

    def heard(self, sent_s: float, got_s: float, redis_ms: int) -> None:
        """A round trip by `time.monotonic()`: Redis said `redis_ms` somewhere between."""
        low, high = redis_ms - got_s * 1000, redis_ms + 1 - sent_s * 1000
        self._offset = min(max(self._offset, low), high) if self.known else (low + high) / 2
        self.error_ms = min(self.error_ms, (high - low) / 2)
        self.known = True

    def exact_ms(self) -> float:
        """The estimate as it is."""
        return time.monotonic() * 1000 + self._offset

    def now_ms(self) -> int:
        """The millisecond that it is by Redis."""
        self._last = max(self._last, int(self.exact_ms()))
        return self._last

    def skew_ms(self) -> float:
        """How far Redis' clock is ahead of this machine's wall clock; negative when it is behind."""
        return self.exact_ms() - time.time() * 1000
