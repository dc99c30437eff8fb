"""A TCP relay in front of Redis that loses what a wire can lose: replies, everything from now on, or all bytes from the k-th on; or it spoils replies."""

from __future__ import annotations

import contextlib
import re
import socket
import threading

_LOADED = re.compile(rb"\$40\r\n[0-9a-f]{40}\r\n")


class Proxy:
    """Listens on `port`. One thread a direction and connection."""

    def __init__(self, port: int) -> None:
        self.target = port
        """Where new connections go."""
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.lose_replies = 0
        """So many of the next replies are dropped, each with its connection."""
        self.silent = False
        self.spoiled: bytes | None = None
        """What comes in place of each script's reply; Redis has done what was asked."""
        self.passed = {"request": 0, "reply": 0}
        """Bytes that went through since the last look."""
        self.cuts = 0
        """Connections that were cut."""
        self._cut: tuple[str, int] | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, side: str, after: int) -> None:
        """Cuts the connection once, when so many more bytes of a `request` or of a `reply` have gone through."""
        self.passed = {"request": 0, "reply": 0}
        self._cut = (side, after)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.target))
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._relay, args=(near, far, "request"), daemon=True).start()
            threading.Thread(target=self._relay, args=(far, near, "reply"), daemon=True).start()

    def _relay(self, source: socket.socket, target: socket.socket, side: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if side == "reply" and (self.silent or self._lost(data)):
                    if self.silent:
                        continue
                    break
                left = self._left(side)
                if left is not None and len(data) >= left:
                    self._cut = None
                    self.cuts += 1
                    target.sendall(data[:left])
                    break
                loaded = _LOADED.match(data)
                if (
                    side == "reply"
                    and self.spoiled is not None
                    and data.startswith(b"*", loaded.end() if loaded else 0)
                ):
                    data = (loaded[0] if loaded else b"") + self.spoiled
                self.passed[side] += len(data)
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _left(self, side: str) -> int | None:
        return None if self._cut is None or self._cut[0] != side else self._cut[1] - self.passed[side]

    def _lost(self, data: bytes) -> bool:
        if self.lose_replies and b"recorded" not in data and not data.startswith((b"+", b"%", b"-NOSCRIPT")):
            self.lose_replies -= 1
            return True
        return False

    def close(self) -> None:
        self._server.close()
