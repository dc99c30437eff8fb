"""Reads each request whole, in bounded time, before a thread is given to it.

The server passes a request on after its head; the body arrives at the sender's pace. Waiting for it here takes no
thread, so pages are answered however many senders stall. Endpoints that never wait, and /metrics, have threads of
their own.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from web.gate import NEVER_WAITS, PAGES, WAITING, Wsgi

BODY_S: Final = 5.0
"""Seconds for a whole body, counted from the request's head."""
BODIES: Final = 256
"""The most bodies that are read at the same time. Further requests get 503 with Retry-After."""
SMALL: Final = 8 * 1024
"""The largest body in bytes of a request without this site's cookie. A login is far smaller."""
LARGE: Final = 256 * 1024
_COOKIE: Final = "budget_engine="
_SCRAPED: Final = ("/metrics",)
_FREE: Final = 4
_SCRAPES: Final = 2
_SCRAPES_WAITING: Final = 8

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Answer = tuple[int, list[tuple[str, str]], bytes]


class _Refused(Exception):
    """A request that is refused before any page."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.answer: Answer = (
            status,
            [("Content-Type", "text/plain; charset=utf-8"), ("Connection", "close"), ("Retry-After", "1")],
            f"{message}\n".encode(),
        )


class _Disconnected(Exception):
    """The sender disconnected."""


class Door:
    """An ASGI application in front of a WSGI one."""

    def __init__(self, app: Wsgi, body_s: float = BODY_S, bodies: int = BODIES) -> None:
        self._app = app
        self._body_s = body_s
        self._free_bodies = bodies
        self._scrapes = _SCRAPES + _SCRAPES_WAITING
        self._pages = ThreadPoolExecutor(PAGES + WAITING + 4, "page")
        self._free = ThreadPoolExecutor(_FREE, "health")
        self._scraped = ThreadPoolExecutor(_SCRAPES, "metrics")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            return
        try:
            status, headers, body = await self._answer(scope, receive)
        except _Disconnected:
            return
        except _Refused as refused:
            status, headers, body = refused.answer
        encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _answer(self, scope: Message, receive: Receive) -> Answer:
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        path = scope["path"]
        loop = asyncio.get_running_loop()
        if path in NEVER_WAITS or path in _SCRAPED:
            # They take no body, so none is waited for.
            environ = _environ(scope, headers, b"")
            if path in NEVER_WAITS:
                return await loop.run_in_executor(self._free, _run_page, self._app, environ)
            if self._scrapes <= 0:
                raise _Refused(503, "Too many scrapes at once: try again in a moment.")
            self._scrapes -= 1
            try:
                return await loop.run_in_executor(self._scraped, _run_page, self._app, environ)
            finally:
                self._scrapes += 1
        body = await self._body(headers, receive)
        return await loop.run_in_executor(self._pages, _run_page, self._app, _environ(scope, headers, body))

    async def _body(self, headers: list[tuple[str, str]], receive: Receive) -> bytes:
        """Reads the whole body. Raises _Refused where it is too large or too slow."""
        given = dict(headers)
        if "content-length" not in given and "transfer-encoding" not in given:
            return b""
        most = LARGE if _COOKIE in given.get("cookie", "") else SMALL
        length = given.get("content-length", "")
        if length.isascii() and length.isdigit() and (len(length) > 9 or int(length) > most):
            raise _Refused(413, f"A request of that size is not read: {most} bytes are the most here.")
        if length == "0":
            return b""
        if self._free_bodies <= 0:
            raise _Refused(503, "Too many requests are being read at once: try again in a moment.")
        self._free_bodies -= 1
        try:
            async with asyncio.timeout(self._body_s):
                return await _read(receive, most)
        except TimeoutError:
            raise _Refused(408, f"The request was not there whole within {self._body_s:g} s.") from None
        finally:
            self._free_bodies += 1


async def _read(receive: Receive, most: int) -> bytes:
    parts = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Disconnected
        parts += message.get("body", b"")
        if len(parts) > most:
            raise _Refused(413, f"A request of that size is not read: {most} bytes are the most here.")
        if not message.get("more_body", False):
            return bytes(parts)


def _environ(scope: Message, headers: list[tuple[str, str]], body: bytes) -> dict[str, Any]:
    """The WSGI environment (PEP 3333) of a request; texts have bytes as Latin-1."""
    server, client = scope.get("server") or ("localhost", 0), scope.get("client") or ("", 0)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": str(server[0]),
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": f"HTTP/{scope.get('http_version', '1.1')}",
        "REMOTE_ADDR": str(client[0]),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in headers:
        if name == "content-type":
            environ["CONTENT_TYPE"] = value
        elif name not in ("content-length", "transfer-encoding"):
            key = "HTTP_" + name.upper().replace("-", "_")
            # HTTP/2 sends cookies separately. A name with "_" could pass for one with "-", which a proxy has checked.
            if "_" not in name:
                environ[key] = f"{environ[key]}{'; ' if name == 'cookie' else ','}{value}" if key in environ else value
    return environ


def _run_page(app: Wsgi, environ: dict[str, Any]) -> Answer:
    """Runs a page in a thread."""
    started: list[tuple[int, list[tuple[str, str]]]] = []

    def start(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
        started.append((int(status.partition(" ")[0]), headers))

    parts: Iterable[bytes] = app(environ, start)
    try:
        body = b"".join(parts)
    finally:
        if (close := getattr(parts, "close", None)) is not None:
            close()
    status, headers = started[-1]
    return status, headers, body
