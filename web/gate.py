"""Keeps threads free for /healthz and /readyz, whatever the pages wait for.

A page may wait for a server, and the process has a fixed number of threads. Without this limit many viewers of a
hanging server would use all of them. An orchestrator's health check would then get no reply and kill the process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

PAGES: Final = 16
"""The most pages that run at the same time."""
WAITING: Final = 16
"""The most pages that wait, each for at most WAIT_S. Further requests get 503 with Retry-After."""
WAIT_S: Final = 1.0
NEVER_WAITS: Final = ("/healthz", "/readyz")
OWN_THREADS: Final = (*NEVER_WAITS, "/metrics")
"""Paths with threads of their own (`web/door.py`), so that pages cannot use them up."""
DOWNLOAD: Final = ".csv"
"""How the paths of downloads end, which are sent while they are made; they have threads of their own too."""
_BUSY: Final = b"Too many pages are being answered at once: try again in a moment.\n"

Start = Callable[..., Any]
Wsgi = Callable[[dict[str, Any], Start], Iterable[bytes]]


class Gate:
    """A WSGI application that limits how many requests another one handles at once."""

    def __init__(self, app: Wsgi, pages: int = PAGES, waiting: int = WAITING, wait_s: float = WAIT_S) -> None:
        self._app = app
        self._running = threading.BoundedSemaphore(pages)
        self._admitted = threading.BoundedSemaphore(pages + waiting)
        self._wait_s = wait_s

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path in OWN_THREADS or path.endswith(DOWNLOAD):
            return self._app(environ, start)
        if not self._admitted.acquire(blocking=False):
            return _busy(start)
        try:
            if not self._running.acquire(timeout=self._wait_s):
                return _busy(start)
            try:
                # The body is read completely before the slot is released; pages are short.
                return _whole(self._app(environ, start))
            finally:
                self._running.release()
        finally:
            self._admitted.release()


def _whole(parts: Iterable[bytes]) -> list[bytes]:
    try:
        return list(parts)
    finally:
        if (close := getattr(parts, "close", None)) is not None:
            close()


def _busy(start: Start) -> Iterable[bytes]:
    start("503 Service Unavailable", [("Content-Type", "text/plain; charset=utf-8"), ("Retry-After", "1")])
    return [_BUSY]
