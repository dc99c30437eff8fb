"""One connection to Redis under asyncio: redis-py makes it (address, TLS, login), and calls go over its streams without the layers in between.

The twin of `link.py`.
"""

from __future__ import annotations

from typing import Any, Final

from redis import exceptions

from engine.live.scripts import Script
from engine.live.transport.connection import MORE, Address, ReplyReader, check_redis_py, command

_CHUNK: Final = 262_144


class AsyncConnection:
    """A connection that is open. `connection` is redis-py's, connected."""

    __slots__ = ("_connection", "_replies", "_stream", "_writer", "loaded")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._stream = connection._reader
        self._writer = connection._writer
        self._replies = ReplyReader.of(connection)
        self.loaded: set[str] = set()
        """The scripts that were sent over it."""

    def load(self, script: Script) -> bytes:
        """The bytes that load a script. One reply."""
        self.loaded.add(script.sha1)
        return command(("SCRIPT", "LOAD", script.text))

    def send(self, data: bytes) -> None:
        """Sends without waiting: the event loop reads replies meanwhile, so that neither side blocks the other."""
        self._writer.write(data)

    async def receive(self) -> Any:
        """The next reply; an error that Redis answers is returned, a lost connection raises redis' or the system's errors."""
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
    """Where Redis is, for connections under asyncio."""

    def __init__(self, url: str) -> None:
        # Here, so that a bidder without asyncio does not load it, and a redis-py that has none of it is told by its version.
        check_redis_py()
        import redis.asyncio

        super().__init__(url, redis.asyncio.ConnectionPool)

    async def connect(self, timeout_s: float) -> AsyncConnection:
        """A new connection. Raises redis' errors, OSError, TimeoutError."""
        connection = self.connection(socket_timeout=None, socket_connect_timeout=timeout_s, health_check_interval=0)
        try:
            await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return AsyncConnection(connection)
