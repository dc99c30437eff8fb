"""A flag that a signal's handler may set at any moment.

`threading.Event` is not one: `set` waits for the lock that `wait` holds for a moment, so a handler that runs at that
moment waits for its own thread for ever, and the process does not end.
"""

from __future__ import annotations

import time
from typing import Final

_LOOK_S: Final = 0.05


class StopFlag:
    """What `threading.Event` is for threads, also safe in a signal's handler. It has no lock: who waits looks again
    and again.
    """

    def __init__(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        """True from `set` on, until `clear`."""
        return self._is_set

    def set(self) -> None:
        """Sets the flag. Whoever waits sees it within 50 ms."""
        self._is_set = True

    def clear(self) -> None:
        """Takes the flag back."""
        self._is_set = False

    def wait(self, timeout_s: float) -> bool:
        """Waits until the flag is set, at most so many seconds. Returns whether it is set."""
        until = time.monotonic() + timeout_s
        while not self.is_set() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK_S))
        return self.is_set()
