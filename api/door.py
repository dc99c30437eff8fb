"""Reads each request whole before a thread gets it, as `web/door.py` does, with limits and threads for programs.

Spends have threads of their own, so that requests which wait for PostgreSQL never take them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from api.problems import TYPE, body_of
from web.door import Answer, Door, Refused
from web.gate import Wsgi

SPENDING: Final = ("/api/v1/spend", "/api/v1/spends", "/api/v1/refunds", "/api/v1/holds")
_IN_HOLD: Final = "/api/v1/holds/"
SPEND_THREADS: Final = 64
OTHER_THREADS: Final = 16
WAITING: Final = 256
"""Requests of either kind that wait for a thread; one more gets 503 with Retry-After."""
MOST_BYTES: Final = 1024 * 1024


class ApiDoor(Door):
    """An ASGI application in front of the API."""

    def __init__(self, app: Wsgi) -> None:
        super().__init__(app)
        self._spend = ThreadPoolExecutor(SPEND_THREADS, "spend")
        self._other = ThreadPoolExecutor(OTHER_THREADS, "api")
        self._room = {True: SPEND_THREADS + WAITING, False: OTHER_THREADS + WAITING}

    async def run(self, path: str, environ: dict[str, Any]) -> Answer:
        """The answer, in a thread of its kind. Raises Refused."""
        spends = environ["REQUEST_METHOD"] == "POST" and (path in SPENDING or path.startswith(_IN_HOLD))
        if self._room[spends] <= 0:
            raise Refused(503, "Too many requests are being answered at once: try again in a moment.")
        self._room[spends] -= 1
        try:
            return await self.in_thread(self._spend if spends else self._other, environ)
        finally:
            self._room[spends] += 1

    def most(self, given: dict[str, str]) -> int:
        """The largest body in bytes: a thousand spends are a fifth of it."""
        return MOST_BYTES

    def refusal(self, refused: Refused) -> Answer:
        """The answer to a request that is refused before any view."""
        headers = [("Content-Type", TYPE), ("Connection", "close"), ("Retry-After", "1")]
        return refused.status, headers, body_of(refused.status, str(refused))
