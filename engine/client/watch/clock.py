"""Redis' time without a call: this machine's monotonic clock and the offset of Redis' clock.

Each round trip bounds the offset, because Redis read its clock between sending and reply. An estimate outside these
bounds moves to the nearer bound. So a slow reply changes little, and a drift is followed.
"""

from __future__ import annotations

import time
from collections.abc import Collection


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

    @property
    def offset_ms(self) -> float:
        """How far Redis' epoch milliseconds are ahead of this machine's monotonic clock."""
        return self._offset

    def skew_ms(self) -> float:
        """How far Redis' clock is ahead of this machine's wall clock; negative when it is behind."""
        return self.exact_ms() - time.time() * 1000


class NodeClocks:
    """The time of several servers as one. Windows and days follow the middle between the clock that is most ahead and the one that is
    most behind; `error_ms` covers how far each may be from it. With one server it is that server's clock.
    """

    __slots__ = ("_last", "_of", "_offset", "error_ms", "known")

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forgets all measurements, for a new connection."""
        self._of: dict[str, RedisClock] = {}
        self.known = False
        self.error_ms = float("inf")
        """The maximal error of the estimate for any server."""
        self._offset = 0.0
        self._last = 0

    def heard(self, where: str, sent_s: float, got_s: float, redis_ms: int) -> None:
        """Adds a round trip to a server by `time.monotonic()`, whose reply had `redis_ms`."""
        self._of.setdefault(where, RedisClock()).heard(sent_s, got_s, redis_ms)
        clocks = self._of.values()
        low, high = min(clock.offset_ms for clock in clocks), max(clock.offset_ms for clock in clocks)
        self._offset = (low + high) / 2
        self.error_ms = (high - low) / 2 + max(clock.error_ms for clock in clocks)
        self.known = True

    def keep(self, servers: Collection[str]) -> None:
        """Forgets servers that have no shard any more."""
        for where in [each for each in self._of if each not in servers]:
            del self._of[where]

    def exact_ms(self) -> float:
        """The present estimate."""
        return time.monotonic() * 1000 + self._offset

    def now_ms(self) -> int:
        """The present millisecond. It never goes back."""
        self._last = max(self._last, int(self.exact_ms()))
        return self._last

    def skew_ms(self) -> float:
        """How far the servers' clocks are ahead of this machine's wall clock; negative when they are behind."""
        return self.exact_ms() - time.time() * 1000
