"""A Redis that hangs costs each caller its whole deadline. After the first, others are refused at once for a while."""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import Final

import redis

from engine.errors import ServerAway, ServerHangs

HANGS: Final = "it takes connections and says nothing: look at its machine"
HOLD_S: Final = 1.0
"""Seconds after which one caller may try again; until its result is known, the others are still refused."""
_ALL: Final[weakref.WeakSet[SilentServer]] = weakref.WeakSet()


class SilentServer:
    """Since when a Redis has not replied. Thread-safe; usable after fork."""

    def __init__(self, hold_s: float = HOLD_S) -> None:
        """hold_s: how long others are refused before one asks again."""
        self._hold_s = hold_s
        self._forget()
        _ALL.add(self)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._since: float | None = None
        self._again_at = 0.0

    def silent_s(self, deadline_s: float) -> float | None:
        """How long it has not replied; None for a caller that may try. deadline_s: how long a try may take."""
        if self._since is None:
            return None
        with self._lock:
            since, now = self._since, time.monotonic()
            if now >= self._again_at:
                self._again_at = now + deadline_s + self._hold_s
                return None
        return None if since is None else now - since

    def nothing(self, asked_at: float) -> float:
        """A call that began at a monotonic second had no reply. Returns the length of the silence."""
        with self._lock:
            now = time.monotonic()
            self._since = asked_at if self._since is None else self._since
            self._again_at = now + self._hold_s
            return now - self._since

    def answered(self) -> None:
        """Redis replies again."""
        if self._since is not None:
            with self._lock:
                self._since = None


def away(where: str, error: Exception, waited_s: float, partial: bool = False) -> ServerAway:
    """The error for a plain command without a reply. waited_s: how long it waited. partial: other servers have other shards."""
    if isinstance(error, redis.TimeoutError | TimeoutError):
        return ServerHangs("Redis", where, waited_s, HANGS, partial=partial)
    return ServerAway("Redis", where, f"{error}; check REDIS_URL and that the server runs", partial=partial)


def _forget_all() -> None:
    for hush in list(_ALL):
        hush._forget()


os.register_at_fork(after_in_child=_forget_all)
