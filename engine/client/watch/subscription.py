"""A connection that listens to shards' channels: one thread reads, and others may ask it to listen to more."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable
from typing import Any

from redis import exceptions

from engine.live.keys import shard_keys
from engine.live.transport.pool import Transport


class Subscription:
    """Opened when it is made. Every method raises redis' errors and OSError, but `cut` and `hang_up`."""

    def __init__(self, wire: Transport, answer_s: float) -> None:
        self._answer_s = answer_s
        self._connection: Any = wire.own_connection(answer_s)
        self._sending = threading.Lock()

    def subscribe(self, shards: Iterable[int]) -> None:
        """Listens to shards too; each says `subscribe` when it begins."""
        self._say("SUBSCRIBE", *(shard_keys(shard).changes for shard in shards))

    def ping(self) -> None:
        """Asks for a sign of life."""
        self._say("PING")

    def _say(self, *words: str) -> None:
        with self._sending:
            self._connection.send_command(*words)

    def waits(self, seconds: float) -> bool:
        """Whether a word has come, waiting for one so long."""
        return bool(self._connection.can_read(seconds))

    def read(self) -> tuple[bytes, int | None, bytes]:
        """The next word: what it is (`subscribe`, `message`, ...), of which shard where it is one of these, and the message."""
        push = self._connection.read_response(timeout=self._answer_s)
        if push[0] not in (b"message", b"subscribe"):
            return push[0], None, b""
        shard = int(push[1].decode().partition("{")[2].partition("}")[0])
        return push[0], shard, push[2] if push[0] == b"message" else b""

    def cut(self) -> None:
        """Wakes whoever reads; to be called from another thread."""
        if self._connection._sock is not None:
            with contextlib.suppress(OSError):
                self._connection._sock.shutdown(2)

    def hang_up(self) -> None:
        """Closes it."""
        with contextlib.suppress(exceptions.RedisError, OSError):
            self._connection.disconnect()
