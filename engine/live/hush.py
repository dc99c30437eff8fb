"""A Redis that hangs costs whoever asks it the whole of a deadline, each time. After the first, others are told at once, for a while."""

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
"""After so long one caller tries again; the others are told at once until it knows."""
_ALL: Final[weakref.WeakSet[SilentServer]] = weakref.WeakSet()


class SilentServer:
    """Since when a Redis says nothing. Thread-safe; usable after fork."""

    def __init__(self) -> None:
        self._forget()
        _ALL.add(self)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._since: float | None = None
        self._again_at = 0.0

    def silent_s(self, deadline_s: float) -> float | None:
        """For how long it has been silent; None for who may ask. deadline_s: how long the asking takes at most."""
        if self._since is None:
            return None
        with self._lock:
            since, now = self._since, time.monotonic()
            if now >= self._again_at:
                self._again_at = now + deadline_s + HOLD_S
                return None
        return None if since is None else now - since

    def nothing(self, asked_at: float) -> float:
        """A call that was begun at a monotonic second had no answer. Answers the silence's length."""
        with self._lock:
            now = time.monotonic()
            self._since = asked_at if self._since is None else self._since
            self._again_at = now + HOLD_S
            return now - self._since

    def answered(self) -> None:
        """It says something again."""
        if self._since is not None:
            with self._lock:
                self._since = None


def impatient_redis(url: str, timeout_s: float) -> redis.Redis:
    """A client for plain commands that repeats what was refused and not what had no answer: each try would cost the whole time again."""
    again = Retry(ConstantBackoff(0.1), 3, supported_errors=(redis.ConnectionError,))
    return redis.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=again)


def away(plain: redis.Redis, where: str, error: Exception) -> ServerAway:
    """What is to be told of a plain command that had no answer."""
    if isinstance(error, redis.TimeoutError | TimeoutError):
        waited = plain.connection_pool.connection_kwargs.get("socket_timeout") or 0.0
        return ServerHangs("Redis", where, float(waited), HANGS)
    return ServerAway("Redis", where, f"{error}; check REDIS_URL and that the server runs")


def _forget_all() -> None:
    for hush in list(_ALL):
        hush._forget()


os.register_at_fork(after_in_child=_forget_all)
