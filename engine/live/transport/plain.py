"""Plain commands to the servers with shards: streams, INFO, SCAN. By redis-py's own client, for jobs and pages; calls of scripts go another way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

import redis
from redis import exceptions
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from engine.live.keys import shard_keys
from engine.live.transport.pool import is_of_the_server, is_timeout
from engine.live.transport.primary import client_of
from engine.live.transport.routed import finder_of
from engine.live.transport.routes import NoRoute, Place, RouteMap

_FRESH_S: Final = 1.0
"""A map that is older is asked for anew: a demoted primary still answers reads."""
_PAUSE_S: Final = 0.02
_FIND_S: Final = 1.0
_SILENT_S: Final = 3.0
"""A server of several that said nothing is not asked again for so long: many readings would each wait for it."""

Answer = TypeVar("Answer")


def impatient_redis(url: str, timeout_s: float) -> redis.Redis:
    """A client for plain commands. It retries refused connections, and not commands without a reply: each try would
    cost the whole time again.
    """
    again = Retry(ConstantBackoff(0.1), 3, supported_errors=(redis.ConnectionError,))
    return client_of(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=again)


class PlainRedis:
    """A client for each server. where: what the URL names."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._routes: RouteMap[redis.Redis] | None = None
        self._silent: dict[str, float] = {}
        finder = finder_of(url)
        if finder is None:
            self._one = impatient_redis(url, timeout_s)
            kwargs = self._one.connection_pool.connection_kwargs
            self.where = str(kwargs.get("path") or f"{kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}")
            return
        self.where = finder.where
        self._routes = RouteMap(finder, self._client_at)
        self._at_s = 0.0

    @classmethod
    def over(cls, client: redis.Redis, where: str, timeout_s: float = 5.0) -> PlainRedis:
        """The same with a client of one server."""
        made = cls.__new__(cls)
        made._one, made._routes, made.where, made._silent = client, None, where, {}
        made.timeout_s = float(client.connection_pool.connection_kwargs.get("socket_timeout") or timeout_s)
        return made

    def _client_at(self, place: Place) -> redis.Redis:
        assert self._routes is not None
        return impatient_redis(self._routes.finder.url_of(place), self.timeout_s)

    @property
    def routed(self) -> bool:
        """Whether the servers must be found first."""
        return self._routes is not None

    @property
    def several(self) -> bool:
        """Whether the shards are on several servers, as far as is known."""
        return self._routes is not None and len(set(self._routes.places.values())) > 1

    def where_of(self, shard: int) -> str:
        """The server that has a shard."""
        place = None if self._routes is None else self._routes.places.get(shard_keys(shard).shard)
        return self.where if place is None else str(place)

    def of(self, shard: int) -> redis.Redis:
        """The client of the server that has a shard. Raises redis.ConnectionError; redis.TimeoutError while that one says nothing."""
        if self._routes is None:
            return self._one
        self._find()
        if time.monotonic() < self._silent.get(self.where_of(shard), 0.0):
            raise exceptions.TimeoutError("it said nothing a moment ago")
        found = self._routes.by_key.get(shard_keys(shard).shard)
        if found is None:
            raise exceptions.ConnectionError(f"no node of Redis {self.where} serves shard {shard}")
        return found

    def each(self) -> Mapping[str, redis.Redis]:
        """The client of each server with a shard, by host and port. Raises redis.ConnectionError."""
        if self._routes is None:
            return {self.where: self._one}
        self._find()
        return {str(place): self._routes.node(place) for place in dict.fromkeys(self._routes.places.values())}

    def run(self, shard: int, ask: Callable[[redis.Redis], Answer]) -> Answer:
        """What `ask` gets from the server that has a shard. Where the shard has moved, or its server is gone, it asks again.
        Raises redis' errors, OSError.
        """
        if self._routes is None:
            return ask(self._one)
        until = time.monotonic() + self.timeout_s
        while True:
            client = self.of(shard)
            try:
                return ask(client)
            except exceptions.AskError as error:  # MOVED too
                if time.monotonic() > until:
                    raise
                if isinstance(error, exceptions.MovedError):  # a key that is on its way is waited for
                    host = error.host or str(client.connection_pool.connection_kwargs["host"])
                    self._routes.correct(shard_keys(shard).shard, Place(host, int(error.port)))
            except exceptions.ResponseError as error:
                if not is_of_the_server(error) or time.monotonic() > until:
                    raise
                self._find(0.0)
            except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
                if is_timeout(error) or time.monotonic() > until:
                    self.failed(self.where_of(shard), error)
                    raise
                self._find(0.0)
            time.sleep(_PAUSE_S)

    def failed(self, where: str, error: Exception) -> None:
        """Takes note of a server that gave no reply."""
        if self._routes is not None and is_timeout(error):
            self._silent[where] = time.monotonic() + _SILENT_S

    def known_silent(self, servers: Iterable[str], hold_s: float) -> None:
        """Servers of several that were seen to hang: for so long nothing is asked of them."""
        for where in servers:
            self._silent[where] = time.monotonic() + hold_s

    def _find(self, oldest_s: float = _FRESH_S) -> None:
        """Asks for the map where it is older. Raises redis.ConnectionError where none is known."""
        assert self._routes is not None
        if self._routes.by_key and time.monotonic() - self._at_s < oldest_s:
            return
        try:
            self._routes.refresh(self._routes.version, None, time.monotonic() + min(self.timeout_s, _FIND_S))
            self._at_s = time.monotonic()
        except NoRoute as nobody:
            if nobody.final or not self._routes.by_key:
                raise exceptions.ConnectionError(nobody.why) from None

    def close(self) -> None:
        """Closes every connection that is not in use."""
        if self._routes is not None:
            self._routes.closed = True
        for client in [self._one] if self._routes is None else list(self._routes.nodes.values()):
            client.close()
