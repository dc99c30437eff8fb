"""Calls of scripts over redis-py connections, each bounded by one deadline that covers connecting, loading, sending and every repeat.

Repeating after a lost reply is safe because the request id is inside the call. Connections are kept in a stack that threads share, and are
left behind in a forked child.
"""

from __future__ import annotations

import os
import time
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import redis
from redis import exceptions

from engine.errors import BudgetError, InvalidSetting, WrongVersion
from engine.live.scripts import Script

Reply = list[Any]
Arg = str | bytes

_PAUSE_S: Final = 0.005
_WINDOW: Final = 8
"""Calls sent before their replies are read: enough to keep both sides busy, few enough never to fill both socket buffers."""
_OWN: Final[weakref.WeakSet[Wire]] = weakref.WeakSet()


class NoAnswer(Exception):
    """The deadline passed, or Redis refused in a way that no repeat mends. `replies` has None where no answer arrived."""

    def __init__(self, why: str, replies: list[Reply | None]) -> None:
        super().__init__(why)
        self.why = why
        self.replies = replies


class Call:
    """One script call, ready to send and to send again."""

    __slots__ = ("args", "keys", "script")

    def __init__(self, script: Script, keys: Sequence[Arg], args: Sequence[Arg]) -> None:
        self.script = script
        self.keys = keys
        self.args = args


class Wire:
    """Connections to one Redis. Thread-safe; usable after fork."""

    def __init__(self, url: str) -> None:
        try:
            pool = redis.ConnectionPool.from_url(url)
        except ValueError as error:
            raise InvalidSetting(
                f"REDIS_URL is not a Redis URL ({error}): write redis://host:6379/0", "REDIS_URL"
            ) from None
        self._connection_class = pool.connection_class
        self._connection_kwargs = {**pool.connection_kwargs, "decode_responses": False, "retry": None}
        self._free: deque[Any] = deque()
        _OWN.add(self)

    @property
    def where(self) -> str:
        """Host and port, or the socket's path, as messages show them."""
        kwargs = self._connection_kwargs
        return str(kwargs.get("path") or f"{kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}")

    def call(self, call: Call, timeout_s: float) -> Reply:
        """The reply to one call. Raises NoAnswer."""
        reply = self.call_all([call], timeout_s)[0]
        assert reply is not None
        return reply

    def call_all(self, calls: Sequence[Call], timeout_s: float, away_after_s: float | None = None) -> list[Reply]:
        """The replies to calls in order, pipelined. Raises NoAnswer with the replies that did arrive.

        away_after_s: give up earlier when Redis refuses connections for this long; a slow answer still has the whole time.
        """
        began = time.monotonic()
        deadline = began + timeout_s
        replies: list[Reply | None] = [None] * len(calls)
        why = "no time was left"
        while True:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise NoAnswer(why, replies)
            try:
                self._attempt(calls, replies, deadline)
                return replies  # type: ignore[return-value]  # _attempt has filled each place
            except (exceptions.AuthenticationError, exceptions.AuthorizationError) as error:
                raise NoAnswer(f"Redis at {self.where} refuses the login: {error}", replies) from None
            except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
                why = f"Redis at {self.where} does not answer: {_one_line(error)}"
                if away_after_s is not None and not isinstance(error, exceptions.TimeoutError | TimeoutError):
                    deadline = min(deadline, began + max(away_after_s, time.monotonic() - began))
            except exceptions.ResponseError as error:
                raise _translated(error, self.where, replies) from None
            if deadline - time.monotonic() > _PAUSE_S:
                time.sleep(_PAUSE_S)

    def _attempt(self, calls: Sequence[Call], replies: list[Reply | None], deadline: float) -> None:
        connection = self._take(deadline)
        try:
            pending = [i for i, reply in enumerate(replies) if reply is None]
            for start in range(0, len(pending), _WINDOW):
                self._exchange(connection, calls, replies, pending[start : start + _WINDOW], deadline)
        except exceptions.ResponseError:
            self._free.append(connection)
            raise
        except BaseException:
            connection.disconnect()
            raise
        self._free.append(connection)

    def _exchange(
        self, connection: Any, calls: Sequence[Call], replies: list[Reply | None], window: list[int], deadline: float
    ) -> None:
        _set_timeout(connection, deadline)
        for i in window:
            connection.send_packed_command(connection.pack_command(*_evalsha(calls[i])), check_health=False)
        missing: list[int] = []
        failure: exceptions.ResponseError | None = None
        for i in window:
            try:
                replies[i] = connection.read_response(timeout=_remaining(deadline))
            except exceptions.NoScriptError:
                missing.append(i)
            except exceptions.ResponseError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        for script in {calls[i].script.sha1: calls[i].script for i in missing}.values():
            _set_timeout(connection, deadline)
            connection.send_packed_command(connection.pack_command("SCRIPT", "LOAD", script.text), check_health=False)
            connection.read_response(timeout=_remaining(deadline))
        if missing:
            self._exchange(connection, calls, replies, missing, deadline)

    def _take(self, deadline: float) -> Any:
        try:
            return self._free.pop()
        except IndexError:
            remaining = _remaining(deadline)
            connection = self._connection_class(
                **{**self._connection_kwargs, "socket_timeout": remaining, "socket_connect_timeout": remaining}
            )
            connection.connect()
            return connection

    def own_connection(self, timeout_s: float) -> Any:
        """A connection for the caller alone, to listen on (RESP2, where messages come as plain replies). Raises redis' errors, OSError."""
        kwargs = {**self._connection_kwargs, "protocol": 2, "health_check_interval": 0}
        connection = self._connection_class(
            **{**kwargs, "socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
        )
        connection.connect()
        return connection

    def close(self) -> None:
        """Closes the connections that are not in use."""
        while self._free:
            self._free.pop().disconnect()

    def forget(self) -> None:
        """In a forked child: the parent's connections are not ours to close."""
        self._free = deque()


def _forget_all() -> None:
    for wire in list(_OWN):
        wire.forget()


os.register_at_fork(after_in_child=_forget_all)


def _evalsha(call: Call) -> tuple[Arg | int, ...]:
    return ("EVALSHA", call.script.sha1, len(call.keys), *call.keys, *call.args)


def _remaining(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.001)


def _set_timeout(connection: Any, deadline: float) -> None:
    """Bounds the sends too: redis-py sets a socket's timeout once, when it connects."""
    sock = connection._sock
    if sock is not None:
        sock.settimeout(_remaining(deadline))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _translated(error: exceptions.ResponseError, where: str, replies: list[Reply | None]) -> Exception:
    """Redis' own errors in our words."""
    text = _one_line(error)
    if isinstance(error, exceptions.OutOfMemoryError):
        return NoAnswer(
            f"Redis at {where} is full and takes no writes: give it more memory or drain the journal ({text})", replies
        )
    if isinstance(error, exceptions.ReadOnlyError):
        return NoAnswer(f"Redis at {where} is a read-only replica: point REDIS_URL at the primary", replies)
    if isinstance(error, exceptions.NoPermissionError):
        return NoAnswer(f"Redis at {where} does not permit this login to run scripts: {text}", replies)
    if "compiling script" in text or "unexpected symbol near '#'" in text:
        return WrongVersion(f"Redis at {where} does not know #!lua scripts: use Redis or Valkey 7.0 or newer ({text})")
    return BudgetError(f"Redis at {where} refused a script: {text}")
