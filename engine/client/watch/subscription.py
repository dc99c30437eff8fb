"""A connection that subscribes to shards' channels: one thread reads, and others may add channels."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable
from typing import Any

from redis import exceptions

from engine.live.keys import shard_keys
from engine.live.transport.protocol import Transport


class Subscription:
    """Connected when it is made. Every method but `cut` and `hang_up` raises redis' errors and OSError."""

    def __init__(self, wire: Transport, answer_s: float) -> None:
        self._answer_s = answer_s
        self._connection: Any = wire.own_connection(answer_s)
        self._sending = threading.Lock()

    def subscribe(self, shards: Iterable[int]) -> None:
        """Subscribes to more shards; each sends `subscribe` first."""
        self._say("SUBSCRIBE", *(shard_keys(shard).changes for shard in shards))

    def ping(self) -> None:
        """Sends a PING."""
        self._say("PING")

    def _say(self, *words: str) -> None:
        with self._sending:
            self._connection.send_command(*words)

    def waits(self, seconds: float) -> bool:
        """Whether a message has arrived, waiting for it for some seconds."""
        return bool(self._connection.can_read(seconds))

    def read(self) -> tuple[bytes, int | None, bytes]:
        """The next message: its kind (`subscribe`, `message`, ...), its shard if it has one, and the payload."""
        push = self._connection.read_response(timeout=self._answer_s)
        if push[0] not in (b"message", b"subscribe"):
            return push[0], None, b""
        shard = int(push[1].decode().partition("{")[2].partition("}")[0])
        return push[0], shard, push[2] if push[0] == b"message" else b""

    def cut(self) -> None:
        """Wakes the reader; called from another thread."""
        if self._connection._sock is not None:
            with contextlib.suppress(OSError):
                self._connection._sock.shutdown(2)

    def hang_up(self) -> None:
        """Closes it."""
        with contextlib.suppress(exceptions.RedisError, OSError):
            self._connection.disconnect()
