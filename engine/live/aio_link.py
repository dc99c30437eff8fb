"""One connection to Redis under asyncio: redis-py makes it (address, TLS, login), and calls go over its streams without the layers in between.

The twin of `link.py`.
"""

from __future__ import annotations

from typing import Any, Final

import redis.asyncio
from redis import exceptions

from engine.errors import InvalidSetting
from engine.live.link import packed
from engine.live.scripts import Script

try:
    from hiredis import PushNotification, Reader
except ImportError:  # redis-py without its fast parser
    Reader = PushNotification = None  # type: ignore[assignment, misc]

_CHUNK: Final = 262_144
_MORE: Final = object()


class AsyncLink:
    """A connection that is open. `connection` is redis-py's, connected."""

    __slots__ = ("_connection", "_reader", "_stream", "_writer", "loaded")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._stream = connection._reader
        self._writer = connection._writer
        self._reader = (
            None if Reader is None else Reader(replyError=connection._parser.parse_error, notEnoughData=_MORE)
        )
        self.loaded: set[str] = set()
        """The scripts that were sent over it."""

    def load(self, script: Script) -> bytes:
        """The bytes that load a script. One reply."""
        self.loaded.add(script.sha1)
        return packed(("SCRIPT", "LOAD", script.text))

    def send(self, data: bytes) -> None:
        """Sends without waiting: the event loop reads replies meanwhile, so that neither side blocks the other."""
        self._writer.write(data)

    async def receive(self) -> Any:
        """The next reply; an error that Redis answers is returned, a lost connection raises redis' or the system's errors."""
        reader = self._reader
        if reader is None:
            try:
                return await self._connection.read_response(timeout=None)
            except exceptions.ResponseError as error:
                return error
        while True:
            reply = reader.gets()
            if reply is _MORE:
                data = await self._stream.read(_CHUNK)
                if not data:
                    raise exceptions.ConnectionError("the server closed the connection")
                reader.feed(data)
            elif type(reply) is list or not isinstance(reply, PushNotification):
                break
        if isinstance(reply, exceptions.ConnectionError):  # such as LOADING
            raise reply
        return reply

    def drop(self) -> None:
        """Closes it at once; no further call."""
        self._writer.transport.abort()
        self._connection._reader = self._connection._writer = None


class AsyncAddress:
    """Where Redis is, and how to log in there."""

    def __init__(self, url: str) -> None:
        try:
            pool = redis.asyncio.ConnectionPool.from_url(url)
        except ValueError as error:
            raise InvalidSetting(
                f"REDIS_URL is not a Redis URL ({error}): write redis://host:6379/0", "REDIS_URL"
            ) from None
        self._connection_class = pool.connection_class
        self._connection_kwargs = {**pool.connection_kwargs, "decode_responses": False, "retry": None}

    @property
    def where(self) -> str:
        """Host and port, or the socket's path, as messages show them."""
        kwargs = self._connection_kwargs
        return str(kwargs.get("path") or f"{kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}")

    async def connect(self, timeout_s: float) -> AsyncLink:
        """A new connection. Raises redis' errors, OSError, TimeoutError."""
        kwargs = {
            **self._connection_kwargs,
            "socket_timeout": None,
            "socket_connect_timeout": timeout_s,
            "health_check_interval": 0,
        }
        connection: Any = self._connection_class(**kwargs)
        try:
            await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return AsyncLink(connection)
