"""Connections to Redis. redis-py opens them (address, TLS, login); calls use their sockets directly.

redis-py's own send and read cost as much again as the round trip. Where hiredis is not installed, redis-py's parser
reads the replies.
"""

from __future__ import annotations

import re
import socket
import struct
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

import redis
from redis import exceptions

from engine.errors import InvalidSetting, WrongVersion, shown
from engine.live.transport.busy_poll import BusyPoll
from engine.urls import masked, redis_complaint

try:
    from hiredis import PushNotification, Reader
except ImportError:  # redis-py without hiredis
    Reader = PushNotification = None  # type: ignore[assignment, misc]

REDIS_PY: Final = ((8, 1), (9, 0))
"""The supported versions of redis-py: from the first up to, but not including, the second. pyproject.toml has the
same.
"""

_CHUNK: Final = 65_536
MORE: Final = object()
"""Returned while a reply has not arrived completely."""


def check_redis_py(version: object = redis.__version__) -> None:
    """Checks the installed redis-py. An older one lacks an option with which replies are read, so that a spend was
    counted and then raised a TypeError. Raises WrongVersion.
    """
    numbers = re.match(r"([0-9]{1,4})\.([0-9]{1,4})", version) if isinstance(version, str) else None
    least, below = REDIS_PY
    if numbers is None or not least <= (int(numbers[1]), int(numbers[2])) < below:
        wanted = f"{least[0]}.{least[1]} or newer, below {below[0]}"
        raise WrongVersion(
            f"redis-py {shown(version)} is installed and this client needs {wanted}: nothing was sent;"
            f' install it with pip install "redis>={least[0]}.{least[1]},<{below[0]}"'
        )


class Address:
    """The address of Redis and its login, from any URL that redis-py takes. pools: redis-py's pool class for the kind
    of connection.
    """

    def __init__(self, url: str, pools: Any) -> None:
        check_redis_py()
        what = redis_complaint(url) if isinstance(url, str) else "is no text"
        if what is not None:
            # The message may have a part of the password.
            said = shown(masked(url)) if isinstance(url, str) else shown(url)
            raise InvalidSetting(f"REDIS_URL {said} {what}: write it like redis://host:6379/0", "REDIS_URL")
        try:
            pool = pools.from_url(url)
            self._connection_class = pool.connection_class
            self._kwargs = {**pool.connection_kwargs, "decode_responses": False, "retry": None}
            if "maint_notifications_config" in self._kwargs:
                # Nothing here reads such notifications. Without hiredis redis-py refuses them on a watch's
                # connection, which then is never ready.
                self._kwargs["maint_notifications_config"] = None
                self._kwargs.pop("maint_notifications_pool_handler", None)
            if not {"driver_info", "lib_name", "lib_version"} & self._kwargs.keys():
                # What it tells Redis of itself: else each connection reads redis-py's metadata from the disk again.
                self._kwargs["driver_info"] = _driver_info()
            self.connection()
        except Exception as error:
            raise InvalidSetting(
                f"REDIS_URL {shown(masked(url))} has a part that redis-py does not take:"
                " write it like redis://host:6379/0",
                "REDIS_URL",
            ) from error

    @property
    def where(self) -> str:
        """Host and port, or the socket's path, as messages show them."""
        kwargs = self._kwargs
        return str(kwargs.get("path") or f"{kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}")

    def connection(self, **kwargs: Any) -> Any:
        """A connection of redis-py that is not connected yet, with some of its options replaced."""
        return self._connection_class(**{**self._kwargs, **kwargs})


@cache
def _driver_info() -> Any:
    from redis.driver_info import DriverInfo  # an older redis-py has none, and is refused by its version

    return DriverInfo()


class ReplyReader:
    """Reads replies from received bytes, with hiredis."""

    __slots__ = ("_reader",)

    def __init__(self, connection: Any) -> None:
        self._reader = Reader(replyError=connection._parser.parse_error, notEnoughData=MORE)

    @classmethod
    def of(cls, connection: Any) -> ReplyReader | None:
        """None where hiredis is not installed."""
        return None if Reader is None else cls(connection)

    def feed(self, data: bytes) -> None:
        """Adds received bytes; no bytes mean that the connection ended. Raises ConnectionError."""
        if not data:
            raise exceptions.ConnectionError("the server closed the connection")
        self._reader.feed(data)

    def next(self) -> Any:
        """The next reply, errors as exceptions of redis-py; or MORE. Skips push messages."""
        while True:
            try:
                reply = self._reader.gets()
            except Exception as error:  # not the protocol of Redis: another kind of server, or damaged bytes
                raise exceptions.ConnectionError(f"what came is not Redis' protocol ({error})") from error
            if type(reply) is list or not isinstance(reply, PushNotification):
                return reply


def command(parts: Sequence[str | bytes]) -> bytes:
    """A command in the Redis protocol (RESP)."""
    return b"*%d\r\n" % len(parts) + arguments(parts)


def arguments(parts: Sequence[str | bytes]) -> bytes:
    """Arguments of a command in the Redis protocol, without its head."""
    out = []
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        out.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(out)


def words(parts: Sequence[str]) -> bytes:
    """As `arguments`, for many arguments that are ASCII."""
    return "".join([f"${len(part)}\r\n{part}\r\n" for part in parts]).encode("ascii")


class Connection:
    """An open connection. `connection` is redis-py's, connected."""

    __slots__ = ("_connection", "_replies", "_sock", "_waits_s", "asks")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._sock = connection._sock
        self._replies = ReplyReader.of(connection)
        self._waits_s = 0.0
        """The kernel's timeout on this socket; 0 where Python keeps the time."""
        self.asks = self._replies is not None and type(self._sock) is socket.socket
        """Whether `ask` can be used: not with TLS, whose layer must see each wait."""

    def ask(
        self, data: bytes, timeout_s: float, began: float, awake: BusyPoll, sent: Callable[[], None] | None = None
    ) -> Any:
        """The reply to one command that began at a monotonic second; busy-polls first. The kernel keeps the timeout,
        which halves the number of system calls. sent: called when the command is sent. Raises as `receive`.
        """
        sock, replies = self._sock, self._replies
        if self._waits_s != timeout_s:
            kept = struct.pack("@ll", int(timeout_s), int(timeout_s % 1 * 1_000_000) or 1)
            sock.settimeout(None)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, kept)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, kept)
            self._waits_s = timeout_s
        try:
            sock.sendall(data)
            if sent is not None:
                sent()
            if time.monotonic() - began > timeout_s / 10:
                # The kernel would begin the timeout anew.
                return self.receive(began + timeout_s)
            received = awake.recv(sock, _CHUNK, timeout_s, len(data))
            if received is None:
                received = sock.recv(_CHUNK)
        except BlockingIOError:
            raise TimeoutError(f"no answer within {timeout_s:g} s") from None
        assert replies is not None
        replies.feed(received)
        reply = replies.next()
        if reply is MORE:
            return self.receive(began + timeout_s)
        if isinstance(reply, exceptions.RedisError):
            raise reply
        return reply

    def _keep_time(self, deadline: float) -> None:
        self._sock.settimeout(remaining(deadline))
        self._waits_s = 0.0

    def send(self, data: bytes, deadline: float) -> None:
        """Sends, at most until the deadline (monotonic seconds)."""
        self._keep_time(deadline)
        self._sock.sendall(data)

    def receive(self, deadline: float) -> Any:
        """The next reply. Raises redis-py's errors, those that Redis replied included, and TimeoutError."""
        replies = self._replies
        if replies is None:
            return self._connection.read_response(timeout=remaining(deadline))
        while (reply := replies.next()) is MORE:
            self._keep_time(deadline)
            replies.feed(self._sock.recv(_CHUNK))
        if isinstance(reply, exceptions.RedisError):
            raise reply
        return reply

    def drop(self) -> None:
        """Closes the connection for good."""
        self._connection.disconnect()


def remaining(deadline: float) -> float:
    """Seconds until a deadline (monotonic); never 0, which would mean no timeout."""
    return max(deadline - time.monotonic(), 0.001)
