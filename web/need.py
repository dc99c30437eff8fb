"""Whether this page needs a login: BUDGET_ADMIN_PASSWORD is set, BUDGET_LOGIN is `always`, or there is a user."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy.exc import DBAPIError

from engine.errors import BudgetError

LOOK_S: Final = 2.0
"""Seconds after which this looks again for the first user."""


class LoginNeed:
    """Looks for the first user at most every two seconds, and never again once there is one: users are disabled, not removed."""

    def __init__(self, always: bool, exist: Callable[[], bool], clock: Callable[[], float] = time.monotonic) -> None:
        self._always = always
        self._exist = exist
        self._clock = clock
        self._looked_at: float | None = None
        self._lock = threading.Lock()

    def now(self, *, look: bool) -> bool:
        """Whether a login is needed; look: False for what must never wait for PostgreSQL.

        While PostgreSQL is away this is what it was before. A page that nobody needed to log in to then stays one of this machine.
        """
        if self._always or not look:
            return self._always
        if self._looked_at is not None and self._clock() - self._looked_at < LOOK_S:
            return False
        # One request looks, and those beside it go on with what is known; the first ones of all wait for it.
        if not self._lock.acquire(blocking=self._looked_at is None):
            return False
        try:
            if not self._always:
                self._always = self._exist()
        except (BudgetError, DBAPIError):
            pass  # PostgreSQL is away, or has the tables of another release
        finally:
            self._looked_at = self._clock()
            self._lock.release()
        return self._always
