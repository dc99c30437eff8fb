"""Busy-polling for the reply of a nearby Redis, where blocking and waking up cost more than the call itself.

A thread checks its socket repeatedly and yields the CPU and the interpreter lock between two checks. One thread of a
connection pool polls at a time. Where replies do not arrive in time, because Redis is far or busy, polling is tried
less and less often.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import Final

from engine.errors import InvalidInput, shown

MOST_US: Final = 300
"""Microseconds of polling by default: most single spends are answered within it. More would slow down processes that
share few cores.
"""
_BYTE_S: Final = 1e-7
"""Additional polling time for each byte sent: a batch of 1,000 spends is answered within a millisecond."""
_SELDOM: Final = 128
"""The most calls that block at once after a failed poll: 1 after the first, then twice as many each time."""
_LOST_S: Final = 0.0005
"""A poll that ends this late after its time was interrupted: another process had the CPU."""
_CROWDED: Final = 32
"""Calls that block at once after an interruption. On an overloaded machine a polling thread uses up its CPU share and
is then suspended for milliseconds, reply or not. A blocked thread is woken first.
"""
_CAN: Final = hasattr(os, "sched_yield") and hasattr(socket, "MSG_DONTWAIT")


class BusyPoll:
    """How the threads of one pool wait. most_us: microseconds of polling for a small call; 0 always blocks."""

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
        """Calls that still block before the next poll, and how many there were after the last failed poll."""

    def recv(self, sock: socket.socket, size: int, timeout_s: float, sent: int = 0) -> bytes | None:
        """Polls, at most for a tenth of the call's time, and returns what arrived; None when it is better to block.
        sent: the call's size in bytes. The socket must be one on which the kernel keeps the timeout. Raises
        OSError.
        """
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
