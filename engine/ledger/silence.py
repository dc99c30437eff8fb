"""Finds out that PostgreSQL hangs, and ends the waits of those who asked it.

A server that is stopped (a frozen machine, SIGSTOP) refuses nothing: its kernel goes on taking connections and bytes, so neither keepalives nor
`statement_timeout` ends a call. A statement that is merely slow must not be ended. Both look the same on their own connection, so a call
that takes long has somebody knock: a connection of its own. A server that opens it is well, and the call goes on. One that does not in time is
silent: the calls that wait for it are ended by shutting their sockets, and new ones end at once until a knock is answered.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import psycopg2
from psycopg2.extensions import connection, cursor

JOBS_S: Final = 5.0
"""For jobs, which nobody watches: a loaded machine may keep them waiting for a while."""
_SLOW_S: Final = 0.3
"""A call that takes longer has somebody knock."""
_TICK_S: Final = 0.05
_AGAIN_S: Final = 1.0
"""Between two knocks at a server that answers."""
_IDLE_S: Final = 5.0
"""The listening thread ends after so long without a call."""
_ALL: Final[weakref.WeakSet[Listener]] = weakref.WeakSet()


class Silent(psycopg2.OperationalError):  # type: ignore[misc]  # psycopg2 has no types
    """PostgreSQL took what was sent and said nothing for `silent_s` seconds."""

    def __init__(self, silent_s: float) -> None:
        super().__init__(f"no answer for {silent_s:.1f} s")
        self.silent_s = silent_s


class HeardConnection(connection):  # type: ignore[misc]  # as above
    """A connection whose waits end when the server is silent."""

    listener: Listener | None = None

    def heard(self, call: Callable[..., Any], *args: Any) -> Any:
        """Does a call that waits for the server. Raises Silent."""
        return call(*args) if self.listener is None else self.listener.hear(self, call, *args)

    def commit(self) -> None:
        self.heard(super().commit)

    def rollback(self) -> None:
        self.heard(super().rollback)


class HeardCursor(cursor):  # type: ignore[misc]  # as above
    """The same for its statements; rows are there when a statement has ended."""

    connection: HeardConnection

    def execute(self, query: Any, vars: Any = None) -> None:
        self.connection.heard(super().execute, query, vars)

    def executemany(self, query: Any, vars_list: Any) -> None:
        self.connection.heard(super().executemany, query, vars_list)

    def copy_expert(self, sql: Any, file: Any, size: int = 8192) -> None:
        self.connection.heard(super().copy_expert, sql, file, size)


class _Knock(threading.Thread):
    """One try to open a connection, which may hang: whoever waits for it may leave."""

    def __init__(self, connect: Callable[[], Any], keep: bool) -> None:
        super().__init__(name="knock-postgresql", daemon=True)
        self.began = time.monotonic()
        self.took_s = 0.0
        self.done = threading.Event()
        self.opened: Any = None
        self.error: psycopg2.Error | None = None
        self._connect = connect
        self._kept = keep
        self._lock = threading.Lock()

    def run(self) -> None:
        try:
            self.opened = self._connect()
        except psycopg2.Error as error:
            self.error = error
        self.took_s = time.monotonic() - self.began
        with self._lock:
            self.done.set()
            if not self._kept:
                self._close()

    def answered(self, patience_s: float) -> bool:
        """Whether the server answered, be it with a refusal. An error that took as long as our patience is libpq's own, which ended."""
        return self.done.is_set() and (self.error is None or self.took_s < patience_s - _SLOW_S)

    def leave(self) -> None:
        """Nobody waits for it any more: what it opens is closed."""
        with self._lock:
            self._kept = False
            if self.done.is_set():
                self._close()

    def _close(self) -> None:
        if self.opened is not None:
            self.opened.close()
            self.opened = None


class _Call:
    __slots__ = ("began", "connection", "cut")

    def __init__(self, of: HeardConnection) -> None:
        self.connection = of
        self.began = time.monotonic()
        self.cut = False


class Listener:
    """Opens the connections to one PostgreSQL and ends their waits when it is silent. Thread-safe; usable after fork."""

    def __init__(self, params: dict[str, str], patience_s: float) -> None:
        self._params = params
        self._patience_s = patience_s
        self._begin()
        _ALL.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._calls: set[_Call] = set()
        self._thread: threading.Thread | None = None
        self._knock: _Knock | None = None
        self._silent_at: float | None = None
        """Since when it does not answer; None while it does."""
        self._heard_at = self._used_at = 0.0

    def leave_out(self, name: str) -> None:
        """Connects without a parameter from now on."""
        self._params = {key: value for key, value in self._params.items() if key != name}

    def connect(self) -> HeardConnection:
        """A new connection. Raises Silent, and psycopg2's errors."""
        self._refuse()
        knock = _Knock(lambda: psycopg2.connect(connection_factory=HeardConnection, **self._params), keep=True)
        knock.start()
        knock.done.wait(self._patience_s)
        if not knock.answered(self._patience_s):
            knock.leave()
            with self._lock:
                self._silent_at = self._silent_at or knock.began
                self._listen()
            raise Silent(time.monotonic() - knock.began)
        if knock.error is not None:
            raise knock.error
        opened: HeardConnection = knock.opened
        opened.cursor_factory = HeardCursor
        opened.listener = self
        return opened

    def hear(self, of: HeardConnection, call: Callable[..., Any], *args: Any) -> Any:
        """Does a call of a connection; its wait ends when the server is silent. Raises Silent, then with the connection closed."""
        mine = _Call(of)
        with self._lock:
            silent = self._silent_s()
            if silent is None:
                self._calls.add(mine)
                self._used_at = mine.began
                if self._thread is None:
                    self._listen()
        if silent is not None:
            of.close()
            raise Silent(silent)
        try:
            return call(*args)
        except psycopg2.Error:
            if mine.cut:
                of.close()
                raise Silent(time.monotonic() - mine.began) from None
            raise
        finally:
            with self._lock:
                self._calls.discard(mine)

    def _refuse(self) -> None:
        with self._lock:
            silent = self._silent_s()
            if silent is not None:
                self._used_at = time.monotonic()
                self._listen()
        if silent is not None:
            raise Silent(silent)

    def _silent_s(self) -> float | None:
        return None if self._silent_at is None else time.monotonic() - self._silent_at

    def _listen(self) -> None:
        """Starts the thread where none runs; the lock is held."""
        if self._thread is None:
            self._used_at = time.monotonic()
            self._thread = threading.Thread(target=self._run, name="listen-to-postgresql", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(_TICK_S)
            with self._lock:
                now = time.monotonic()
                if not self._calls and now - self._used_at > _IDLE_S:
                    # Whoever comes next finds out anew.
                    self._silent_at = self._thread = None
                    return
                self._look(now)

    def _look(self, now: float) -> None:
        knock = self._knock
        if knock is None:
            oldest = min((call.began for call in self._calls), default=now)
            slow = now - oldest >= _SLOW_S and now - self._heard_at >= _AGAIN_S
            if slow or self._silent_at is not None:
                self._knock = _Knock(lambda: psycopg2.connect(**self._params), keep=False)
                self._knock.start()
        elif knock.answered(self._patience_s):
            self._knock, self._silent_at, self._heard_at = None, None, now
        elif knock.done.is_set() or now - knock.began >= self._patience_s - _SLOW_S:
            self._silent_at = self._silent_at or knock.began
            if knock.done.is_set():
                self._knock = None
            for call in self._calls:
                if not call.cut:
                    call.cut = True
                    _shut(call.connection)


def _shut(of: HeardConnection) -> None:
    """Ends the wait of the thread that uses a connection. Whoever holds the lock keeps it from being closed meanwhile."""
    with suppress(OSError, psycopg2.Error), socket.socket(fileno=os.dup(of.fileno())) as sock:
        sock.shutdown(socket.SHUT_RDWR)


def _begin_anew() -> None:
    for listener in list(_ALL):
        listener._begin()


os.register_at_fork(after_in_child=_begin_anew)
