"""Reads each request whole, in bounded time, before a thread is given to it.

The server passes a request on after its head; the body arrives at the sender's pace. Waiting for it here takes no
thread, so pages are answered however many senders stall. Endpoints that never wait, /metrics and downloads have threads
of their own. A download is sent while it is made, so its size takes no memory.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from web import imports
from web.gate import DOWNLOAD, NEVER_WAITS, PAGES, WAITING, Wsgi

BODY_S: Final = 5.0
"""Seconds for a whole body, counted from the request's head."""
BODIES: Final = 256
"""The most bodies that are read at the same time. Further requests get 503 with Retry-After."""
SMALL: Final = 8 * 1024
"""The largest body in bytes of a request without this site's cookie. A login is far smaller."""
LARGE: Final = 256 * 1024
UPLOAD_S: Final = 60.0
UPLOADS: Final = 4
"""Files that are read at the same time, each in as many seconds as above."""
_COOKIE: Final = "budget_engine="
_SCRAPED: Final = ("/metrics",)
_FREE: Final = 4
_SCRAPES: Final = 2
_SCRAPES_WAITING: Final = 8
DOWNLOADS: Final = 4
"""Downloads that are sent at the same time. Further ones get 503 with Retry-After."""
PART_S: Final = 20.0
"""Seconds in which a reader takes the next part of a download; then it ends."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Answer = tuple[int, list[tuple[str, str]], bytes]


class Refused(Exception):
    """A request that is refused before any page."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Disconnected(Exception):
    """The sender disconnected."""


class Door:
    """An ASGI application in front of a WSGI one."""

    def __init__(
        self,
        app: Wsgi,
        body_s: float = BODY_S,
        bodies: int = BODIES,
        may_upload: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """may_upload: whether whoever sends this Cookie header may send a file."""
        self._app = app
        self._may_upload = may_upload
        self._body_s = body_s
        self._free_bodies = bodies
        self._scrapes = _SCRAPES + _SCRAPES_WAITING
        self._pages = ThreadPoolExecutor(PAGES + WAITING + 4, "page")
        self._free = ThreadPoolExecutor(_FREE, "health")
        self._scraped = ThreadPoolExecutor(_SCRAPES, "metrics")
        self._downloads = DOWNLOADS
        self._free_uploads = UPLOADS
        self._downloaded = ThreadPoolExecutor(DOWNLOADS, "download")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            return
        try:
            if scope["path"].endswith(DOWNLOAD):
                await self._download(scope, receive, send)
                return
            status, headers, body = await self._answer(scope, receive)
        except Disconnected:
            return
        except Refused as refused:
            status, headers, body = self.refusal(refused)
        await send(head_of(status, headers))
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _answer(self, scope: Message, receive: Receive) -> Answer:
        headers = _headers(scope)
        path = scope["path"]
        loop = asyncio.get_running_loop()
        if path in NEVER_WAITS or path in _SCRAPED:
            # They take no body, so none is waited for.
            environ = _environ(scope, headers, b"")
            if path in NEVER_WAITS:
                return await loop.run_in_executor(self._free, _run_page, self._app, environ)
            if self._scrapes <= 0:
                raise Refused(503, "Too many scrapes at once: try again in a moment.")
            self._scrapes -= 1
            try:
                return await loop.run_in_executor(self._scraped, _run_page, self._app, environ)
            finally:
                self._scrapes += 1
        body = await self._body(dict(headers), receive, path == imports.PATH)
        return await self.run(path, _environ(scope, headers, body))

    async def run(self, path: str, environ: dict[str, Any]) -> Answer:
        """The answer of the WSGI application, in a thread. Raises Refused."""
        return await self.in_thread(self._pages, environ)

    async def in_thread(self, pool: ThreadPoolExecutor, environ: dict[str, Any]) -> Answer:
        """The same, in a thread of this pool."""
        return await asyncio.get_running_loop().run_in_executor(pool, _run_page, self._app, environ)

    def most(self, given: dict[str, str]) -> int:
        """The largest body in bytes of a request with these headers."""
        return LARGE if _COOKIE in given.get("cookie", "") else SMALL

    def refusal(self, refused: Refused) -> Answer:
        """The answer to a request that is refused before any page."""
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Connection", "close"), ("Retry-After", "1")]
        return refused.status, headers, f"{refused}\n".encode()

    async def _download(self, scope: Message, receive: Receive, send: Send) -> None:
        """Sends a response part by part, each when its reader has taken the one before."""
        headers = _headers(scope)
        body = await self._body(dict(headers), receive)
        if self._downloads <= 0:
            raise Refused(503, "Too many downloads at once: try again in a moment.")
        loop, reader = asyncio.get_running_loop(), asyncio.ensure_future(_until_gone(receive))

        def put(message: Message) -> None:
            """From the download's thread. Raises Disconnected, TimeoutError."""
            if reader.done():
                raise Disconnected
            asyncio.run_coroutine_threadsafe(_sent(send, message), loop).result(PART_S)

        self._downloads -= 1
        try:
            environ = _environ(scope, headers, body)
            await loop.run_in_executor(self._downloaded, _run_download, self._app, environ, put)
        finally:
            self._downloads += 1
            reader.cancel()

    async def _body(self, given: dict[str, str], receive: Receive, upload: bool = False) -> bytes:
        """Reads the whole body of a request with these headers. upload: it may be a file. Raises Refused where it is too large or too slow."""
        if "content-length" not in given and "transfer-encoding" not in given:
            return b""
        file = upload and self._may_upload(given.get("cookie", ""))
        most = imports.MOST_BODY if file else self.most(given)
        length = given.get("content-length", "")
        if length.isascii() and length.isdigit() and (len(length) > 9 or int(length) > most):
            raise Refused(413, f"A request of that size is not read: {most} bytes are the most here.")
        if length == "0":
            return b""
        if (self._free_uploads if file else self._free_bodies) <= 0:
            raise Refused(503, "Too many requests are being read at once: try again in a moment.")
        self._free_uploads -= file
        self._free_bodies -= not file
        body_s = UPLOAD_S if file else self._body_s
        try:
            async with asyncio.timeout(body_s):
                return await _read(receive, most)
        except TimeoutError:
            raise Refused(408, f"The request was not there whole within {body_s:g} s.") from None
        finally:
            self._free_uploads += file
            self._free_bodies += not file


async def _read(receive: Receive, most: int) -> bytes:
    parts = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        parts += message.get("body", b"")
        if len(parts) > most:
            raise Refused(413, f"A request of that size is not read: {most} bytes are the most here.")
        if not message.get("more_body", False):
            return bytes(parts)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _sent(send: Send, message: Message) -> None:
    await send(message)


def _headers(scope: Message) -> list[tuple[str, str]]:
    return [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]


def head_of(status: int, headers: list[tuple[str, str]]) -> Message:
    """The message that begins an answer."""
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return {"type": "http.response.start", "status": status, "headers": encoded}


def environ_of(scope: Message, body: bytes) -> dict[str, Any]:
    """The WSGI environment of a request that no page has looked at yet."""
    return _environ(scope, _headers(scope), body)


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


def _run_download(app: Wsgi, environ: dict[str, Any], put: Callable[[Message], None]) -> None:
    """Runs a page in a thread, and puts each of its parts. An error after the head ends the connection, so that no part passes for the whole."""
    started: list[tuple[int, list[tuple[str, str]]]] = []

    def start(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
        started.append((int(status.partition(" ")[0]), headers))

    parts: Iterable[bytes] = app(environ, start)
    try:
        put(head_of(*started[-1]))
        for part in parts if environ["REQUEST_METHOD"] != "HEAD" else ():
            if part:
                put({"type": "http.response.body", "body": part, "more_body": True})
        put({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        if (close := getattr(parts, "close", None)) is not None:
            close()
