"""Sessions of the console. A session is a row in PostgreSQL, and every request checks it: a logout and twelve hours
end each copy of the cookie.

While PostgreSQL is away sessions cannot be checked, and the page must still show what Redis has. Then a session that
this process accepted within the last minute goes on, for reading only. A process never accepts a session again that
it has ended itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from engine.domain.people import Person
from engine.errors import ServerAway
from engine.ledger import sessions

LOG = logging.getLogger("web")
GOES_ON_S: Final = 60.0
"""Seconds since the last use after which a session is not accepted without PostgreSQL."""
_MOST: Final = 10_000


class Unknown(Exception):  # not an error of the program: the state of the session is unknown
    """PostgreSQL does not answer, and this process did not see the session lately."""

    def __init__(self, cause: ServerAway | OperationalError) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass(slots=True)
class _KnownSession:
    """A session that PostgreSQL confirmed to this process."""

    session: sessions.Session
    accepted_at: float
    ends_at: float
    """Both in seconds of this process' own clock."""


class Sessions:
    """Access to the table, and what this process saw last. Thread-safe."""

    def __init__(self, db: Callable[[], Engine], clock: Callable[[], float] = time.monotonic) -> None:
        self._db = db
        self._clock = clock
        self._seen: dict[str, _KnownSession] = {}
        self._ended: dict[str, float] = {}
        """Sessions that ended here while PostgreSQL was away, until they would expire."""
        self._lock = threading.Lock()

    def begin(self, person: Person, address: str) -> str:
        """Begins a session; returns its token. Raises ServerAway, so nobody can log in while PostgreSQL is away."""
        return sessions.begin(self._db(), person.name, address, person.user_id)

    def find(self, token: str, *, reading: bool) -> sessions.Session | None:
        """A session; None when it is not in force any more. reading: nothing is changed. Raises Unknown."""
        key = sessions.hash_of(token)
        with self._lock:
            if key in self._ended:
                return None
        try:
            found = sessions.find(self._db(), token)
        except (ServerAway, OperationalError) as error:
            return self._without_postgresql(key, reading, error)
        with self._lock:
            if found is None:
                self._seen.pop(key, None)
                return None
            now = self._clock()
            self._make_room(now)
            self._seen[key] = _KnownSession(found, now, now + found.left_s)
            pending = list(self._ended)
        for each in pending:
            self._store_end(each, "logout")
        return found

    def end(self, token: str, why: str = "logout") -> None:
        """Ends a session in every process; where PostgreSQL is away, in this one, and in the others when it is back."""
        key = sessions.hash_of(token)
        with self._lock:
            self._seen.pop(key, None)
            self._ended[key] = self._clock() + sessions.LIFE_H * 3600
        self._store_end(key, why)

    def _store_end(self, key: str, why: str) -> None:
        try:
            sessions.end(self._db(), key, why)
        except (ServerAway, OperationalError) as error:
            LOG.warning("a logout is not in PostgreSQL yet: %s", " ".join(str(error).split()))
            return
        with self._lock:
            self._ended.pop(key, None)

    def _without_postgresql(
        self, key: str, reading: bool, error: ServerAway | OperationalError
    ) -> sessions.Session | None:
        now = self._clock()
        with self._lock:
            seen = self._seen.get(key)
            if seen is None or not reading or now - seen.accepted_at > GOES_ON_S:
                raise Unknown(error) from error
            if now >= seen.ends_at:
                del self._seen[key]
                return None
            seen.accepted_at = now
            return seen.session

    def _make_room(self, now: float) -> None:
        if len(self._seen) >= _MOST:
            self._seen = {key: seen for key, seen in self._seen.items() if now - seen.accepted_at <= GOES_ON_S}
        if len(self._ended) >= _MOST:
            self._ended = {key: until for key, until in self._ended.items() if now < until}
