"""A TCP relay in front of Redis that causes network faults: lost replies, silence, a connection cut after k bytes, or
replaced replies.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading

_LOADED = re.compile(rb"\$40\r\n[0-9a-f]{40}\r\n")


class Proxy:
    """Relays connections to `port`, from its own `port`, with one thread for each connection and direction."""

    def __init__(self, port: int) -> None:
        self.target = port
        """The port to which new connections go."""
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.lose_replies = 0
        """How many of the next replies to drop, each with its connection."""
        self.silent = False
        self.spoiled: bytes | None = None
        """Replaces each script's reply; Redis has executed the script."""
        self.passed = {"request": 0, "reply": 0}
        """Bytes relayed since the last `cut`."""
        self.cuts = 0
        """How many connections were cut."""
        self._cut: tuple[str, int] | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, side: str, after: int) -> None:
        """Cuts a connection once, after that many more bytes of side `request` or `reply`."""
        self.passed = {"request": 0, "reply": 0}
        self._cut = (side, after)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:  # the server is away: who comes later may find it again
                near.close()
                continue
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
