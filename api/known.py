"""The tokens that this process knows. Each is looked up once, and then all of them again every second, in one query.

So a request waits for PostgreSQL only with a token that is new here, and a revoked token is refused a second later.
While PostgreSQL is away, a token that it confirmed goes on for GOES_ON_S.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from engine.domain.tokens import PREFIX, hash_of
from engine.errors import BudgetError
from engine.ledger import tokens
from engine.ledger.tokens import USED_S, Token

LOG = logging.getLogger("api")
FRESH_S: Final = 1.0
"""Seconds after which a known token is looked up again."""
GOES_ON_S: Final = 900.0
"""Seconds for which a known token goes on without PostgreSQL."""
LONGEST: Final = 128
"""Characters; a longer text is no token."""
_MOST: Final = 10_000
_LOOK_UPS: Final = 4
"""The most look-ups of unknown tokens at once, so that made-up ones keep few connections."""
_WAIT_S: Final = 1.0


class TooManyUnknown(BudgetError):
    """Too many unknown tokens are being looked up at once."""


class KnownTokens:
    """Access to the tokens. Thread-safe."""

    def __init__(self, db: Callable[[], Engine], clock: Callable[[], float] = time.monotonic) -> None:
        self._db = db
        self._clock = clock
        self._known: dict[str, Token] = {}
        self._used: set[int] = set()
        self._noted: dict[int, float] = {}
        self._confirmed_at = clock()
        self._tried_at = clock()
        self._looking = threading.Lock()
        self._free = threading.BoundedSemaphore(_LOOK_UPS)
        self._by_itself = False

    def find(self, secret: str) -> Token | None:
        """The token of a request; None where it never was, or is revoked. Raises ServerAway or another error of PostgreSQL where
        it is not known and cannot be looked up, and TooManyUnknown.
        """
        if not _is_like_one(secret):
            return None
        if self._clock() - self._tried_at >= FRESH_S and not self._by_itself:
            self.refresh()
        found = self.seen(secret) or self._look_up(hash_of(secret))
        if found is not None:
            self._used.add(found.id)
        return found

    def seen(self, secret: str) -> Token | None:
        """The same without waiting: None also where it would have to be looked up."""
        now = self._clock()
        stale = now - self._tried_at >= FRESH_S and not self._by_itself
        if stale or now - self._confirmed_at > GOES_ON_S or not _is_like_one(secret):
            return None
        found = self._known.get(hash_of(secret))
        if found is not None:
            self._used.add(found.id)
        return found

    def keep_fresh(self) -> None:
        """Refreshes in a thread from now on, so that no request waits for it."""
        self._by_itself = True
        threading.Thread(target=self._keep_fresh, name="tokens", daemon=True).start()

    def refresh(self) -> None:
        """Looks the known tokens up again, and writes down which were used. It raises nothing: without PostgreSQL they go on."""
        if not self._looking.acquire(blocking=False):
            return
        try:
            self._tried_at = began = self._clock()
            known = self._known
            found = tokens.find_all(self._db(), list(known)) if known else {}
            # Those that came meanwhile stay.
            self._known = found | {key: token for key, token in self._known.items() if key not in known}
            self._confirmed_at = began
            self._note(began)
        except (BudgetError, SQLAlchemyError) as error:
            LOG.warning("tokens cannot be looked up: %s", " ".join(str(error).split()))
        finally:
            self._looking.release()

    def _keep_fresh(self) -> None:
        while True:
            time.sleep(FRESH_S)
            self.refresh()

    def _note(self, now: float) -> None:
        self._noted = {id_: at for id_, at in self._noted.items() if now - at < USED_S}
        due = [id_ for id_ in list(self._used) if id_ not in self._noted]
        self._used.clear()
        if due:
            tokens.note_use(self._db(), due)
            self._noted |= dict.fromkeys(due, now)

    def _look_up(self, key: str) -> Token | None:
        if not self._free.acquire(timeout=_WAIT_S):
            raise TooManyUnknown("Too many unknown tokens are being looked up at once: try again in a moment.")
        try:
            found = tokens.find_all(self._db(), [key]).get(key)
        finally:
            self._free.release()
        if found is not None and len(self._known) < _MOST:
            self._known[key] = found
        return found


def _is_like_one(secret: str) -> bool:
    return secret.startswith(PREFIX) and len(secret) <= LONGEST and secret.isascii()
