"""A Redis that hangs costs each caller its whole deadline. After the first, others are refused at once for a while."""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import Final

import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from engine.errors import ServerAway, ServerHangs

HANGS: Final = "it takes connections and says nothing: look at its machine"
HOLD_S: Final = 1.0
"""Seconds after which one caller may try again; until its result is known, the others are still refused."""
_ALL: Final[weakref.WeakSet[SilentServer]] = weakref.WeakSet()


class SilentServer:
    """Since when a Redis has not replied. Thread-safe; usable after fork."""

    def __init__(self) -> None:
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
                self._again_at = now + deadline_s + HOLD_S
                return None
        return None if since is None else now - since

    def nothing(self, asked_at: float) -> float:
        """A call that began at a monotonic second had no reply. Returns the length of the silence."""
        with self._lock:
            now = time.monotonic()
            self._since = asked_at if self._since is None else self._since
            self._again_at = now + HOLD_S
            return now - self._since

    def answered(self) -> None:
        """Redis replies again."""
        if self._since is not None:
            with self._lock:
                self._since = None


def impatient_redis(url: str, timeout_s: float) -> redis.Redis:
    """A client for plain commands. It retries refused connections, and not commands without a reply: each try would
    cost the whole time again.
    """
    again = Retry(ConstantBackoff(0.1), 3, supported_errors=(redis.ConnectionError,))
    return redis.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=again)


def away(plain: redis.Redis, where: str, error: Exception) -> ServerAway:
    """The error for a plain command without a reply."""
    if isinstance(error, redis.TimeoutError | TimeoutError):
        waited = plain.connection_pool.connection_kwargs.get("socket_timeout") or 0.0
        return ServerHangs("Redis", where, float(waited), HANGS)
    return ServerAway("Redis", where, f"{error}; check REDIS_URL and that the server runs")


def _forget_all() -> None:
    for hush in list(_ALL):
        hush._forget()


os.register_at_fork(after_in_child=_forget_all)
