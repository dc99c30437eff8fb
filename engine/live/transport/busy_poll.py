"""Waiting awake for the reply of a Redis that is near: to fall asleep and be woken costs more there than the call itself.

A thread that waits looks at its socket again and again, and lets others have the processor and the interpreter between two looks. One thread of a
connection pool does so at a time. Where replies do not come in time, because Redis is far or busy, it is tried ever more seldom.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import Final

from engine.errors import InvalidInput, shown

MOST_US: Final = 300
"""For how long, where the caller says nothing: a single spend is answered within it. With more, processes that share few cores are in each other's way."""
_BYTE_S: Final = 1e-7
"""So much longer for each byte that was sent: a batch of a thousand spends is answered within a millisecond."""
_SELDOM: Final = 128
"""Calls that sleep at once after a try in vain, at most: 1 after the first, then twice as many each time."""
_LOST_S: Final = 0.0005
"""So late after its time, a thread was not waiting for Redis: another process had the processor."""
_CROWDED: Final = 32
"""Calls that sleep at once then. A thread that polls where processes are more than processors has used up its share, and waits for milliseconds until the others
have had theirs, reply or not; one that sleeps is woken first."""
_CAN: Final = hasattr(os, "sched_yield") and hasattr(socket, "MSG_DONTWAIT")


class BusyPoll:
    """How the threads of one pool wait. most_us: microseconds before a small call sleeps, 0 for all calls at once."""

    __slots__ = ("_after", "_alone", "_most_s", "_sleeps")

    def __init__(self, most_us: int) -> None:
        if type(most_us) is not int or most_us < 0:
            raise InvalidInput(
                f"busy_poll_us {shown(most_us)} is not a whole number of microseconds: 0 sleeps at once", "busy_poll_us"
            )
        self._most_s = most_us / 1_000_000 if _CAN else 0.0
        self._alone = threading.Lock()
        self._after = 0
        self._sleeps = 0
        """Calls still to sleep before the next try, and how many there were after the last that was in vain."""

    def recv(self, sock: socket.socket, size: int, timeout_s: float, sent: int = 0) -> bytes | None:
        """What arrives while awake, at most a tenth of a call's time; None when it is better to sleep. sent: the call's bytes. The socket is one whose
        waits the kernel times. Raises OSError."""
        if self._most_s == 0.0 or not self._alone.acquire(blocking=False):
            return None
        try:
            if self._sleeps:
                self._sleeps -= 1
                return None
            until = time.perf_counter() + min(self._most_s + sent * _BYTE_S, timeout_s / 10)
            data: bytes | None = None
            while data is None:
                os.sched_yield()
                try:
                    data = sock.recv(size, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    data = None
                if (late_s := time.perf_counter() - until) >= 0:
                    self._after = min(max(self._after * 2, _CROWDED if late_s > _LOST_S else 1), _SELDOM)
                    self._sleeps = self._after
                    return data
            self._after = 0
            return data
        finally:
            self._alone.release()
