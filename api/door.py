"""Reads each request whole before it is answered, as `web/door.py` does, with limits and threads for programs.

Spends are answered on the event loop (`api/quick.py`). What the loop leaves to a thread has threads of its own where it is a
spend, so that requests which wait for PostgreSQL never take them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from api.problems import TYPE, body_of
from api.quick import Quick
from api.spending import IN_HOLD
from web.door import Answer, Disconnected, Door, Message, Receive, Refused, Send, environ_of, head_of
from web.gate import Wsgi

SPENDING: Final = ("/api/v1/spend", "/api/v1/spends", "/api/v1/refunds", "/api/v1/holds")
SPEND_THREADS: Final = 64
OTHER_THREADS: Final = 16
WAITING: Final = 256
"""Requests of either kind that wait for a thread; one more gets 503 with Retry-After."""
MOST_BYTES: Final = 1024 * 1024
_SIZED: Final = ("content-length", "transfer-encoding")


class ApiDoor(Door):
    """An ASGI application in front of the API. quick: answers spends on the event loop; without it, threads do."""

    def __init__(self, app: Wsgi, quick: Quick | None = None) -> None:
        super().__init__(app)
        self.quick = quick
        self._spend = ThreadPoolExecutor(SPEND_THREADS, "spend")
        self._other = ThreadPoolExecutor(OTHER_THREADS, "api")
        self._room = {True: SPEND_THREADS + WAITING, False: OTHER_THREADS + WAITING}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handles one request."""
        quick = self.quick
        if quick is None or scope["type"] != "http" or scope["method"] != "POST" or quick.way_of(scope["path"]) is None:
            await super().__call__(scope, receive, send)
            return
        try:
            message, body = await self._answer_quickly(quick, scope, receive)
        except Disconnected:
            return
        except Refused as refused:
            status, headers, body = self.refusal(refused)
            message = head_of(status, headers)
        await send(message)
        await send({"type": "http.response.body", "body": body})

    async def _answer_quickly(self, quick: Quick, scope: Message, receive: Receive) -> tuple[Message, bytes]:
        """The head and the body of the answer. Raises Refused, Disconnected."""
        path, headers = scope["path"], scope["headers"]
        given = dict(headers)
        sized = {name: given[name.encode()].decode("latin-1") for name in _SIZED if name.encode() in given}
        body = await self._body(sized, receive)
        if len(given) == len(headers):  # one that comes twice is for the thread to judge
            sent = await quick.answer(path, given, body)
            if sent is not None:
                return {"type": "http.response.start", "status": sent[0], "headers": sent[1]}, sent[2]
        status, told, text = await self.run(path, environ_of(scope, body))
        return head_of(status, told), text

    async def run(self, path: str, environ: dict[str, Any]) -> Answer:
        """The answer, in a thread of its kind. Raises Refused."""
        spends = environ["REQUEST_METHOD"] == "POST" and (path in SPENDING or path.startswith(IN_HOLD))
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
