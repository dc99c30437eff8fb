"""How many requests a second each token may send to this process (BUDGET_API_RATE). One that sends more gets 429 with Retry-After."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Final

KEY: Final = "rates"


class Rates:
    """A bucket for each token: it holds a second's requests and fills steadily. Thread-safe. rate: 0 for no limit."""

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._empty_until: dict[int, float] = {}
        """{token id: the instant at which its bucket will be full again}; a token is not in it before its first request."""

    def take(self, token_id: int) -> int:
        """0 where this request may pass, and is counted; else the seconds after which one will."""
        if not self.rate:
            return 0
        now = self._clock()
        with self._lock:
            full_at = max(self._empty_until.get(token_id, now), now) + 1 / self.rate
            if full_at > now + 1.0 + 1e-9:
                return max(math.ceil(full_at - now - 1.0), 1)
            self._empty_until[token_id] = full_at
            return 0
