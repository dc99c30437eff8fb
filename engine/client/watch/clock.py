"""Redis' time without a call: this machine's monotonic clock and the offset of Redis' clock.

Each round trip bounds the offset, because Redis read its clock between sending and reply. An estimate outside these
bounds moves to the nearer bound. So a slow reply changes little, and a drift is followed.
"""

from __future__ import annotations

import time


class RedisClock:
    """Redis' time in epoch milliseconds. It never goes back, as the scripts' time never does."""

    __slots__ = ("_last", "_offset", "error_ms", "known")

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forgets all measurements, for another Redis or a new connection."""
        self.known = False
        self.error_ms = float("inf")
        """The maximal error of the estimate at its best measurement: half of that round trip, and half a millisecond."""
        self._offset = 0.0
        self._last = 0

    def heard(self, sent_s: float, got_s: float, redis_ms: int) -> None:
        """Adds a round trip by `time.monotonic()`, whose reply had `redis_ms`."""
        low, high = redis_ms - got_s * 1000, redis_ms + 1 - sent_s * 1000
        self._offset = min(max(self._offset, low), high) if self.known else (low + high) / 2
        self.error_ms = min(self.error_ms, (high - low) / 2)
        self.known = True

    def exact_ms(self) -> float:
        """The present estimate."""
        return time.monotonic() * 1000 + self._offset

    def now_ms(self) -> int:
        """Redis' present millisecond."""
        self._last = max(self._last, int(self.exact_ms()))
        return self._last

    def skew_ms(self) -> float:
        """How far Redis' clock is ahead of this machine's wall clock; negative when it is behind."""
        return self.exact_ms() - time.time() * 1000
