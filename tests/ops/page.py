"""A page that a test started on a port of its own."""

from __future__ import annotations

import socket
import time
import urllib.error
import urllib.request


def listens(port: int) -> bool:
    """Whether somebody takes connections on it."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def answered(port: int, path: str, headers: dict[str, str] | None = None) -> int:
    """The status of a page; 0 while nobody listens."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers or {})
    try:
        with urllib.request.urlopen(request) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        time.sleep(0.05)
        return 0
