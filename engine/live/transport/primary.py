"""redis-py's own client for a URL, also for one with Sentinels: each connection asks them for the primary first. For jobs; calls of scripts go another way."""

from __future__ import annotations

import threading
import time
from typing import Any, Final

import redis
from redis import exceptions

from engine.errors import Refused
from engine.live.transport.routed import finder_of
from engine.live.transport.routes import SHARD_KEYS, Finder, NoRoute
from engine.urls import masked, redis_places

_FIND_S: Final = 1.0


def client_of(url: str, **options: Any) -> redis.Redis:
    """A client of the one server that a URL names. options: redis-py's. Raises Refused for a cluster."""
    finder = finder_of(url)
    if finder is None:
        return redis.Redis.from_url(url, **options)
    places = redis_places(url)
    if places.kind == "cluster":
        raise Refused(f"{masked(url)} is a cluster, and one server is wanted")
    like = redis.ConnectionPool.from_url(places.url_of("sentinel", 1), **options)
    secure = issubclass(like.connection_class, redis.SSLConnection)
    return redis.Redis(
        connection_pool=redis.ConnectionPool(
            connection_class=_SecureToPrimary if secure else _ToPrimary,
            primary=Primary(finder),
            **like.connection_kwargs,
        )
    )


class Primary:
    """Who the primary is, asked by any thread."""

    def __init__(self, finder: Finder) -> None:
        self.where = finder.where
        self._finder = finder
        self._lock = threading.Lock()

    def place(self) -> tuple[str, int]:
        """Host and port. Raises redis.ConnectionError."""
        with self._lock:
            try:
                return self._finder.find(None, time.monotonic() + _FIND_S)[SHARD_KEYS[0]]
            except NoRoute as nobody:
                raise exceptions.ConnectionError(nobody.why) from None


class _ToPrimary(redis.Connection):
    def __init__(self, *args: Any, primary: Primary, **kwargs: Any) -> None:
        self._primary = primary
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]

    def connect(self) -> None:
        if not self._sock:
            self.host, self.port = self._primary.place()
        super().connect()  # type: ignore[no-untyped-call]

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().read_response(*args, **kwargs)
        except exceptions.ReadOnlyError:
            # The next use of this connection asks who the primary is now.
            self.disconnect()  # type: ignore[no-untyped-call]
            raise exceptions.ConnectionError("the server is a replica now") from None


class _SecureToPrimary(_ToPrimary, redis.SSLConnection):
    """The same with TLS."""
