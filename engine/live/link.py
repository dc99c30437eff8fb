"""Connections to Redis: redis-py makes them (address, TLS, login), and calls go over their sockets without the layers in between.

redis-py's own send and read cost as much again as the round trip. Where hiredis is not installed its parser reads the replies.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from redis import exceptions

from engine.errors import InvalidSetting

try:
    from hiredis import PushNotification, Reader
except ImportError:  # redis-py without its fast parser
    Reader = PushNotification = None  # type: ignore[assignment, misc]

_CHUNK: Final = 65_536
MORE: Final = object()
"""In place of a reply that has not arrived whole."""


class Address:
    """Where Redis is, and how to log in there, from any URL that redis-py takes. pools: redis-py's pool class of the kind of connection that is wanted."""

    def __init__(self, url: str, pools: Any) -> None:
        try:
            pool = pools.from_url(url)
        except ValueError as error:
            raise InvalidSetting(
                f"REDIS_URL is not a Redis URL ({error}): write redis://host:6379/0", "REDIS_URL"
            ) from None
        self._connection_class = pool.connection_class
        self._kwargs = {**pool.connection_kwargs, "decode_responses": False, "retry": None}

    @property
    def where(self) -> str:
        """Host and port, or the socket's path, as messages show them."""
        kwargs = self._kwargs
        return str(kwargs.get("path") or f"{kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}")

    def connection(self, **kwargs: Any) -> Any:
        """A connection of redis-py's that is not connected yet, with some of its options otherwise."""
        return self._connection_class(**{**self._kwargs, **kwargs})


class Replies:
    """The replies in what a connection has received, read by hiredis."""

    __slots__ = ("_reader",)

    def __init__(self, connection: Any) -> None:
        self._reader = Reader(replyError=connection._parser.parse_error, notEnoughData=MORE)

    @classmethod
    def of(cls, connection: Any) -> Replies | None:
        """None where hiredis is not installed."""
        return None if Reader is None else cls(connection)

    def feed(self, data: bytes) -> None:
        """What was received; nothing is the connection's end. Raises ConnectionError."""
        if not data:
            raise exceptions.ConnectionError("the server closed the connection")
        self._reader.feed(data)

    def next(self) -> Any:
        """The next reply, errors as exceptions of redis-py; or MORE. Messages that nobody asked for are left out."""
        while True:
            reply = self._reader.gets()
            if type(reply) is list or not isinstance(reply, PushNotification):
                return reply


def command(parts: Sequence[str | bytes]) -> bytes:
    """A command as RESP has it."""
    return b"*%d\r\n" % len(parts) + arguments(parts)


def arguments(parts: Sequence[str | bytes]) -> bytes:
    """Some arguments of a command, without its head."""
    out = []
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        out.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(out)


class Link:
    """A connection that is open. `connection` is redis-py's, connected."""

    __slots__ = ("_connection", "_replies", "_sock")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._sock = connection._sock
        self._replies = Replies.of(connection)

    def send(self, data: bytes, deadline: float) -> None:
        """Sends, at most until the deadline (monotonic seconds)."""
        self._sock.settimeout(remaining(deadline))
        self._sock.sendall(data)

    def receive(self, deadline: float) -> Any:
        """The next reply. Raises redis-py's errors, those that Redis answers among them, and TimeoutError."""
        replies = self._replies
        if replies is None:
            return self._connection.read_response(timeout=remaining(deadline))
        while (reply := replies.next()) is MORE:
            self._sock.settimeout(remaining(deadline))
            replies.feed(self._sock.recv(_CHUNK))
        if isinstance(reply, exceptions.RedisError):
            raise reply
        return reply

    def drop(self) -> None:
        """Closes it; no further call."""
        self._connection.disconnect()


def remaining(deadline: float) -> float:
    """Seconds until a deadline (monotonic), never 0, which would mean not to wait at all."""
    return max(deadline - time.monotonic(), 0.001)
