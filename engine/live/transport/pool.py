"""Script calls over a pool of connections. One deadline covers connecting, loading the script, sending and every
retry.

Retrying after a lost reply is safe, because the request id is part of the call. Connections are kept in a stack that
threads share, and are not used in a forked child.
"""

from __future__ import annotations

import os
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

import redis
from redis import exceptions

from engine.errors import ServerRefuses, WrongVersion, shown
from engine.live.scripts import Script
from engine.live.transport.busy_poll import MOST_US, BusyPoll
from engine.live.transport.connection import Address, Connection, arguments, remaining, words
from engine.live.transport.loading import load_over

Reply = list[Any]
Arg = str | bytes

_FORGETS: Final = "it forgets scripts as soon as they are loaded"
_PAUSE_S: Final = 0.005
RECENT_S: Final = 0.5
"""The end of the time cuts the last attempt off: what a server said within these seconds before tells more."""
TURN: Final = 3
"""Calls in one pipeline window; two windows are in flight at a time. Redis serves one connection until its buffer is
empty, so if a batch sent all its calls at once, other clients would wait for it."""
TOGETHER: Final = 8192
"""Bytes of calls that are sent in one piece. Fewer are not worth a system call; with more, Redis would wait for work."""
_OWN: Final[weakref.WeakSet[ConnectionPool]] = weakref.WeakSet()


class NoAnswer(Exception):
    """The deadline passed, or Redis refused in a way that no retry changes. `replies` has None where none arrived.
    silent: Redis accepted the call or the connection, and did not reply.
    """

    def __init__(self, why: str, replies: list[Reply | None], silent: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.replies = replies
        self.silent = silent


class Unreadable(NoAnswer):
    """A reply is not one that the script gives. A retry would bring the same."""


class Call:
    """One script call, ready to be sent, repeatedly too. head: the encoded words before the arguments, where known.
    args may be made when the call is sent, while Redis works on the calls before it. sent: called after sending, for
    work that can be done meanwhile. The other slots are empty until somebody keeps the call or waits for its replicas.
    """

    __slots__ = ("args", "head", "held", "kept_at", "keys", "outcomes", "replicated", "script", "sent")

    held: Any
    kept_at: float
    outcomes: bytes
    replicated: bool

    def __init__(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[Arg] | Callable[[], Sequence[Arg]],
        head: bytes | None = None,
        sent: Callable[[], None] | None = None,
    ) -> None:
        self.script = script
        self.keys = keys
        self.args = args
        self.head = head
        self.sent = sent

    def encoded(self) -> bytes:
        """The call as sent bytes."""
        args = self.args() if callable(self.args) else self.args
        head = encoded_head(self.script, self.keys) if self.head is None else self.head
        return b"*%d\r\n%b" % (3 + len(self.keys) + len(args), head) + arguments(args)


def encoded_head(script: Script, keys: Sequence[str]) -> bytes:
    """The words of a call before its arguments."""
    return words(("EVALSHA", script.sha1, str(len(keys)), *keys))


class ConnectionPool:
    """Connections to one Redis. Thread-safe; usable after fork. busy_poll_us: microseconds for which a call
    busy-polls for its reply; 0 never.
    """

    def __init__(self, url: str, busy_poll_us: int = MOST_US) -> None:
        self._address = Address(url, redis.ConnectionPool)
        self._free: deque[Connection] = deque()
        self._busy_poll_us = busy_poll_us
        self.awake = BusyPoll(busy_poll_us)
        _OWN.add(self)

    @property
    def where(self) -> str:
        """Host and port, or the socket's path, as messages show them."""
        return self._address.where

    @property
    def several(self) -> bool:
        """Whether there are other servers: never."""
        return False

    def where_of(self, shard_key: str) -> str:
        """The same: one server has every shard."""
        return self.where

    def locate(self, timeout_s: float) -> None:
        """Nothing is to be found."""

    def call(self, call: Call, timeout_s: float) -> Reply:
        """The reply to one call. Raises NoAnswer."""
        began = time.monotonic()
        reply = self._quick(call, timeout_s, began)
        return self._repeated((call,), timeout_s, began)[0] if reply is None else reply

    def call_all(self, calls: Sequence[Call], timeout_s: float, away_after_s: float | None = None) -> list[Reply]:
        """The replies to calls in order, pipelined. Raises NoAnswer with the replies that did arrive.

        away_after_s: give up earlier when Redis refuses connections for this long; a slow reply still has the whole
        time.
        """
        began = time.monotonic()
        if len(calls) == 1 and (only := self._quick(calls[0], timeout_s, began)) is not None:
            return [only]
        return self._repeated(calls, timeout_s, began, away_after_s)

    def _repeated(
        self, calls: Sequence[Call], timeout_s: float, began: float, away_after_s: float | None = None
    ) -> list[Reply]:
        """The replies to calls that began at a monotonic second; retries until the time is over."""
        deadline, told_s = began + timeout_s, 0.0
        replies: list[Reply | None] = [None] * len(calls)
        why, silent = "no time was left", False
        while True:
            if deadline <= time.monotonic():
                raise NoAnswer(why, replies, silent)
            try:
                self._attempt(calls, replies, deadline)
                return replies  # type: ignore[return-value]  # _attempt has filled each place
            except (exceptions.AuthenticationError, exceptions.AuthorizationError) as error:
                raise NoAnswer(f"Redis at {self.where} refuses the login: {error}", replies) from None
            except exceptions.ResponseError as error:
                if not passes(error):
                    raise translated(error, self.where, replies) from None
                why, silent, told_s = str(translated(error, self.where, replies)), False, time.monotonic()
            except (exceptions.RedisError, OSError) as error:
                if not is_timeout(error) or time.monotonic() - told_s > RECENT_S:
                    why, silent = f"Redis at {self.where} does not answer: {one_line(error)}", is_timeout(error)
                    told_s = told_s if silent else time.monotonic()
                if away_after_s is not None and not silent:
                    deadline = min(deadline, began + max(away_after_s, time.monotonic() - began))
            except NoAnswer:
                raise
            except Exception as error:
                # On any error the call may have been counted, so its caller must learn under which id to repeat it.
                raise NoAnswer(f"the call to Redis at {self.where} failed: {named(error)}", replies) from error
            if deadline - time.monotonic() > _PAUSE_S:
                time.sleep(_PAUSE_S)

    def _quick(self, call: Call, timeout_s: float, began: float) -> Reply | None:
        """The fast path: one call on an open connection, without the work for several calls and retries. Returns None
        in any other case; the call then begins anew. Raises NoAnswer when the time is over.
        """
        try:
            link = self._free.pop()
        except IndexError:
            return None
        if not link.asks:
            self._free.append(link)
            return None
        try:
            reply: Reply = link.ask(call.encoded(), timeout_s, began, self.awake, call.sent)
        except exceptions.ResponseError:
            reply = []
        except Exception as error:  # noqa: BLE001  # the call begins anew, and an error that repeats is reported there
            link.drop()
            if time.monotonic() - began < timeout_s:
                return None
            silent = is_timeout(error)
            raise NoAnswer(f"Redis at {self.where} does not answer: {one_line(error)}", [None], silent) from None
        except BaseException:
            link.drop()
            raise
        self._free.append(link)
        return reply if type(reply) is list and reply else None

    def _attempt(self, calls: Sequence[Call], replies: list[Reply | None], deadline: float) -> None:
        link = self._take(deadline)
        left = [i for i, reply in enumerate(replies) if reply is None]
        try:
            self._exchange(link, calls, left, replies, deadline)
        except exceptions.ResponseError as error:
            if is_of_the_server(error):
                link.drop()
            else:
                self._free.append(link)
            raise
        except BaseException:
            link.drop()
            raise
        self.give(link, [calls[i] for i in left])

    def give(self, link: Any, calls: Sequence[Call] = ()) -> None:
        """A connection on which nothing is under way is free again. calls: those that it answered last."""
        self._free.append(link)

    def _exchange(
        self, link: Connection, calls: Sequence[Call], left: Sequence[int], replies: list[Reply | None], deadline: float
    ) -> None:
        """Sends the calls that are left, window by window: while Redis works on one, the next is made and sent."""
        waiting = deque(left)
        asked: deque[int] = deque()
        loaded = 0
        while waiting or asked:
            while waiting and len(asked) <= TURN:
                turn = _taken(waiting)
                _send(link, calls, turn, deadline)
                asked += turn
            try:
                missing = self._receive(link, replies, _taken(asked), deadline)
                if missing:
                    missing += self._receive(link, replies, asked, deadline)
                    asked.clear()
            except exceptions.ResponseError:
                # Otherwise the next call on this connection would read their replies.
                with suppress(exceptions.ResponseError):
                    self._receive(link, replies, asked, deadline)
                raise
            except (exceptions.TimeoutError, TimeoutError):
                if loaded > 1:
                    raise TimeoutError(_FORGETS) from None
                raise
            loaded += bool(missing)
            for script in {calls[i].script for i in missing}:
                load_over(link, script, deadline)
            if missing and time.monotonic() > deadline:
                raise TimeoutError(_FORGETS)
            waiting.extendleft(reversed(missing))

    def _receive(
        self, link: Connection, replies: list[Reply | None], turn: Iterable[int], deadline: float
    ) -> list[int]:
        """Stores the replies; returns the calls whose script Redis does not have. Raises Redis' first error."""
        missing: list[int] = []
        failure: exceptions.ResponseError | None = None
        strange: object = None
        for i in turn:
            try:
                reply = link.receive(deadline)
            except exceptions.NoScriptError:
                missing.append(i)
            except exceptions.ResponseError as error:
                failure = failure or error
            else:
                if type(reply) is list and reply:
                    replies[i] = reply
                else:
                    strange = strange or shown(reply)
        if failure is not None:
            raise failure
        if strange is not None:
            raise Unreadable(f"Redis at {self.where} answered {strange}, which no script does", replies)
        return missing

    def _take(self, deadline: float) -> Connection:
        try:
            return self._free.pop()
        except IndexError:
            left = remaining(deadline)
            connection = self._address.connection(socket_timeout=left, socket_connect_timeout=left)
            connection.connect()
            return Connection(connection)

    def own_connection(self, timeout_s: float) -> Any:
        """A connection for the caller alone, to subscribe on (RESP2, in which messages are plain replies). Raises
        redis' errors, OSError.
        """
        connection = self._address.connection(
            protocol=2, health_check_interval=0, socket_timeout=timeout_s, socket_connect_timeout=timeout_s
        )
        connection.connect()
        return connection

    def close(self) -> None:
        """Closes the connections that are not in use."""
        while self._free:
            self._free.pop().drop()

    def forget(self) -> None:
        """In a forked child: the parent's connections must not be closed here."""
        self._free = deque()
        self.awake = BusyPoll(self._busy_poll_us)


def _taken(places: deque[int]) -> list[int]:
    """Takes the calls of the next window off the list."""
    return [places.popleft() for _ in range(min(TURN, len(places)))]


def _send(link: Connection, calls: Sequence[Call], turn: Iterable[int], deadline: float) -> None:
    parts: list[bytes] = []
    size = 0
    for i in turn:
        parts.append(calls[i].encoded())
        size += len(parts[-1])
        if size >= TOGETHER:
            link.send(b"".join(parts), deadline)
            parts, size = [], 0
    if parts:
        link.send(b"".join(parts), deadline)
    for i in turn:
        if (sent := calls[i].sent) is not None:
            sent()


def _forget_all() -> None:
    for wire in list(_OWN):
        wire.forget()


os.register_at_fork(after_in_child=_forget_all)


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def named(error: BaseException) -> str:
    """An error that is not from Redis: its type and message."""
    return f"{type(error).__name__}: {one_line(error)}"


def is_timeout(error: BaseException) -> bool:
    """Whether the server took what was sent, or the connection, and said nothing."""
    return isinstance(error, exceptions.TimeoutError | TimeoutError)


_PASSES: Final = ("BUSY", "LOADING", "MASTERDOWN", "NOREPLICAS", "MISCONF", "TRYAGAIN", "CLUSTERDOWN")
"""The beginnings of Redis' errors that do not depend on the call: nothing was written, and a retry may succeed."""
_LEAVE: Final = ("READONLY", "MASTERDOWN", "LOADING")


def passes(error: exceptions.ResponseError) -> bool:
    """Whether a retry may succeed."""
    return _code(error) in _PASSES or is_of_the_server(error)


def is_of_the_server(error: exceptions.ResponseError) -> bool:
    """Whether the server is no primary, as after a failover: a new connection may reach the primary, this one never
    will.
    """
    # A proxy in between may reply `ERR READONLY ...`.
    return _code(error) in _LEAVE or str(error).startswith("READONLY")


def _code(error: exceptions.ResponseError) -> str:
    return (getattr(error, "status_code", "") or str(error)).split(" ", 1)[0]


def translated(error: exceptions.ResponseError, where: str, replies: list[Reply | None]) -> Exception:
    """Converts Redis' errors into those of `engine.errors`."""
    text = one_line(error)
    if isinstance(error, exceptions.OutOfMemoryError):
        return NoAnswer(
            f"Redis at {where} is full and takes no writes: give it more memory or drain the journal ({text})", replies
        )
    if isinstance(error, exceptions.ReadOnlyError):
        return NoAnswer(f"Redis at {where} is a read-only replica: point REDIS_URL at the primary", replies)
    if isinstance(error, exceptions.AskError):  # MOVED too
        return NoAnswer(f"Redis at {where}: this is a cluster: use redis+cluster://{where}", replies)
    if isinstance(error, exceptions.ClusterDownError) and not isinstance(error, exceptions.MasterDownError):
        todo = "look at CLUSTER INFO there, and whether every slot has a node and most primaries answer"
        return NoAnswer(f"the cluster at {where} is down ({text}): {todo}", replies)
    if isinstance(error, exceptions.NoPermissionError):
        return NoAnswer(f"Redis at {where} does not permit this login to run scripts: {text}", replies)
    if passes(error):
        return NoAnswer(f"Redis at {where} takes no calls just now: {text}", replies)
    if "compiling script" in text or "unexpected symbol near '#'" in text:
        return WrongVersion(f"Redis at {where} does not know #!lua scripts: use Redis or Valkey 7.0 or newer ({text})")
    if "unknown command" in text.lower() and "evalsha" in text.lower():
        return WrongVersion(
            f"the server at {where} runs no scripts: a Sentinel is named redis+sentinel://{where}/master-name/0"
        )
    return ServerRefuses(f"Redis at {where} refused a script: {text}")
