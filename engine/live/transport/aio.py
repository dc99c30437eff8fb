"""One connection to Redis under asyncio. redis-py opens it (address, TLS, login); calls use its streams directly.

The asyncio form of `connection.py`.
"""

from __future__ import annotations

from typing import Any, Final

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


class AsyncAddress(Address):
    """The address of Redis, for connections under asyncio."""

    def __init__(self, url: str) -> None:
        # Imported here: bidders without asyncio do not load it, and the version check of redis-py runs first.
        check_redis_py()
        import redis.asyncio

        super().__init__(url, redis.asyncio.ConnectionPool)

    async def connect(self, timeout_s: float) -> AsyncConnection:
        """Opens a connection. Raises redis' errors, OSError, TimeoutError."""
        connection = self.connection(socket_timeout=None, socket_connect_timeout=timeout_s, health_check_interval=0)
        try:
            await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return AsyncConnection(connection)
