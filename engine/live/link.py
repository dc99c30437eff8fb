"""One connection to Redis: redis-py makes it (address, TLS, login), and calls go over its socket without the layers in between.

redis-py's own send and read cost as much again as the round trip. Where hiredis is not installed its parser reads the replies.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from redis import exceptions

try:
    from hiredis import PushNotification, Reader
except ImportError:  # redis-py without its fast parser
    Reader = PushNotification = None  # type: ignore[assignment, misc]

_CHUNK: Final = 65_536
_MORE: Final = object()


def packed(parts: Sequence[str | bytes]) -> bytes:
    """A command as RESP has it."""
    return b"*%d\r\n" % len(parts) + packed_parts(parts)


def packed_parts(parts: Sequence[str | bytes]) -> bytes:
    """Some arguments of a command, without its head."""
    out = []
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        out.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(out)


class Link:
    """A connection that is open. `connection` is redis-py's, connected."""

    __slots__ = ("_connection", "_reader", "_sock")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._sock = connection._sock
        self._reader = (
            None if Reader is None else Reader(replyError=connection._parser.parse_error, notEnoughData=_MORE)
        )

    def send(self, data: bytes, deadline: float) -> None:
        """Sends, at most until the deadline (monotonic seconds)."""
        self._sock.settimeout(remaining(deadline))
        self._sock.sendall(data)

    def receive(self, deadline: float) -> Any:
        """The next reply. Raises redis-py's errors, those that Redis answers among them, and TimeoutError."""
        reader = self._reader
        if reader is None:
            return self._connection.read_response(timeout=remaining(deadline))
        while True:
            reply = reader.gets()
            if reply is _MORE:
                self._sock.settimeout(remaining(deadline))
                data = self._sock.recv(_CHUNK)
                if not data:
                    raise exceptions.ConnectionError("the server closed the connection")
                reader.feed(data)
            elif type(reply) is list or not isinstance(reply, PushNotification):
                break
        if isinstance(reply, exceptions.RedisError):
            raise reply
        return reply

    def drop(self) -> None:
        """Closes it; no further call."""
        self._connection.disconnect()


def remaining(deadline: float) -> float:
    """Seconds until a deadline (monotonic), never 0, which would mean not to wait at all."""
    return max(deadline - time.monotonic(), 0.001)
