"""Which of many messages that say the same are worth a line: the first, then one now and then with how often it came since."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

EVERY_S: Final = 30.0
_MOST: Final = 256
_NUMBER: Final = re.compile(r"\d+")


class Seldom:
    """Remembers what was said and when. Messages that differ in numbers only are the same. Not thread-safe."""

    def __init__(self, every_s: float = EVERY_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_s = every_s
        self._clock = clock
        self._said: dict[tuple[str, int | None], tuple[float, int]] = {}

    def due(self, message: str, of: int | None = None) -> str | None:
        """of: whose message it is, where each has its own. Answers what to add to the message where it is worth a line now: nothing, or how often it came since its last line. None where it is not."""
        key, now = (_NUMBER.sub("0", message), of), self._clock()
        said_at, since = self._said.get(key, (None, 0))
        if said_at is not None and now - said_at < self._every_s:
            self._said[key] = (said_at, since + 1)
            return None
        self._said.pop(key, None)
        while len(self._said) >= _MOST:
            del self._said[next(iter(self._said))]
        self._said[key] = (now, 0)
        return f" ({since} times more in the last {now - said_at:.0f} s)" if said_at is not None and since else ""

    def say(self, tell: Callable[..., object], message: str, of: int | None = None) -> None:
        """Tells a message, with how often it came since its last line, where it is worth a line now."""
        if (more := self.due(message, of)) is not None:
            tell("%s%s", message, more)
