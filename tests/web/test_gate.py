"""However many pages wait, whether the process is alive is answered at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from tests.patience import PATIENCE_S, in_time
from web.gate import Gate


class Slow:
    """An application whose pages wait until they are let go, and whose health does not."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.inside = threading.Semaphore(0)

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] not in ("/healthz", "/readyz"):
            self.inside.release()
            self.go.wait(PATIENCE_S)
        start("200 OK", [])
        return [b"ok"]


def asked(gate: Gate, path: str) -> str:
    said: list[str] = []
    b"".join(gate({"PATH_INFO": path}, lambda status, headers: said.append(status)))
    return said[0]


def test_while_every_page_waits_health_is_answered_and_a_further_page_is_told_to_come_again() -> None:
    slow = Slow()
    gate = Gate(slow, pages=3, waiting=2, wait_s=0.2)
    answers: list[str] = []
    viewers = [threading.Thread(target=lambda: answers.append(asked(gate, "/"))) for _ in range(3)]
    for viewer in viewers:
        viewer.start()
    for _ in viewers:
        assert slow.inside.acquire(timeout=PATIENCE_S)
    began = time.monotonic()
    assert asked(gate, "/healthz") == asked(gate, "/readyz") == "200 OK"
    assert in_time(time.monotonic() - began, 0.1)
    assert asked(gate, "/") == "503 Service Unavailable"
    slow.go.set()
    for viewer in viewers:
        viewer.join(PATIENCE_S)
    assert answers == ["200 OK"] * 3
    assert asked(gate, "/") == "200 OK"  # every turn was given back
