"""One connection to Redis under asyncio. redis-py opens it (address, TLS, login); calls use its streams directly.

The asyncio form of `connection.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from redis import exceptions

from engine.live.scripts import Script
from engine.live.transport.connection import MORE, Address, ReplyReader, check_redis_py
from engine.live.transport.loading import load, load_by_eval

_CHUNK: Final = 262_144


class AsyncConnection:
    """An open connection. `connection` is redis-py's, connected."""

    __slots__ = ("_connection", "_replies", "_stream", "_writer", "loaded", "loads_by_eval")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._stream = connection._reader
        self._writer = connection._writer
        self._replies = ReplyReader.of(connection)
        self.loaded: set[str] = set()
        """The scripts that were loaded or called over it."""
        self.loads_by_eval = False
        """Whether it refuses SCRIPT LOAD."""

    def load(self, script: Script) -> bytes:
        """The bytes that load a script. One reply."""
        self.loaded.add(script.sha1)
        return load_by_eval(script) if self.loads_by_eval else load(script)

    def send(self, data: bytes) -> None:
        """Sends without waiting. The event loop reads replies meanwhile, so that neither side blocks the other."""
        self._writer.write(data)

    async def receive(self) -> Any:
        """The next reply. Returns an error that Redis replied; raises redis' or the system's errors for a lost
        connection.
        """
        replies = self._replies
        if replies is None:
            try:
                return await self._connection.read_response(timeout=None)
            except exceptions.ResponseError as error:
                return error
        while (reply := replies.next()) is MORE:
            replies.feed(await self._stream.read(_CHUNK))
        if isinstance(reply, exceptions.ConnectionError):  # such as LOADING
            raise reply
        return reply

    def drop(self) -> None:
        """Closes it at once; no further call."""
        self._writer.transport.abort()
        self._connection._reader = self._connection._writer = None


class AsyncNodeConnection(AsyncConnection):
    """A connection to one server of several. After each `patience_s` of silence it asks whether another has its shards."""

    __slots__ = ("_patience_s", "_replaced")

    def watch(self, patience_s: float, replaced: Callable[[], Awaitable[bool]]) -> None:
        """From now on."""
        self._patience_s, self._replaced = patience_s, replaced

    async def receive(self) -> Any:
        """As `AsyncConnection.receive`; a server that was replaced counts as a lost connection."""
        if self._replies is None:  # redis-py's own parser cannot be interrupted
            return await super().receive()
        while True:
            try:
                async with asyncio.timeout(self._patience_s) as limit:
                    return await super().receive()
            except TimeoutError:
                if not limit.expired():
                    raise
            if await self._replaced():
                raise exceptions.ConnectionError("it says nothing, and another server has its shards")


_Kind = TypeVar("_Kind", bound=AsyncConnection)


class AsyncAddress(Address):
    """The address of Redis, for connections under asyncio."""

    def __init__(self, url: str) -> None:
        # Imported here: bidders without asyncio do not load it, and the version check of redis-py runs first.
        check_redis_py()
        import redis.asyncio

        super().__init__(url, redis.asyncio.ConnectionPool)

    async def connect(self, timeout_s: float) -> AsyncConnection:
        """Opens a connection. Raises redis' errors, OSError, TimeoutError."""
        return await self._opened(timeout_s, AsyncConnection)

    async def connect_to_node(self, timeout_s: float) -> AsyncNodeConnection:
        """Opens a connection to one server of several. timeout_s: for the login too, since a frozen one takes connections."""
        async with asyncio.timeout(timeout_s):
            return await self._opened(timeout_s, AsyncNodeConnection)

    async def _opened(self, timeout_s: float, kind: type[_Kind]) -> _Kind:
        """Opens a connection. Raises redis' errors, OSError, TimeoutError."""
        connection = self.connection(socket_timeout=None, socket_connect_timeout=timeout_s, health_check_interval=0)
        try:
            await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return kind(connection)
