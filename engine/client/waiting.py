"""Waits for replicas after each call that changes money: a transport around another.

The calls are made as ever. Then one WAIT a connection asks how many replicas have them, within the same deadline.
Nothing is sent twice, and no answer changes: the spend is counted, and its result says whether replicas have it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from engine.client.around import TransportAround
from engine.errors import InvalidInput, shown
from engine.live.transport.held import Held, waits
from engine.live.transport.pool import Call, Reply
from engine.live.transport.protocol import Transport

MOST_REPLICAS: Final = 10


class WaitingTransport(TransportAround):
    """A transport whose calls say in `replicated` whether so many replicas confirmed them in time. inner: of
    `open_transport(..., holds=True)`. Thread-safe; usable after fork.
    """

    def __init__(self, inner: Transport, replicas: int) -> None:
        self._inner = inner
        self._replicas = replicas

    def call(self, call: Call, timeout_s: float) -> Reply:
        """The reply to one call. Raises NoAnswer."""
        return self.call_all((call,), timeout_s)[0] if waits(call) else self._inner.call(call, timeout_s)

    def call_all(self, calls: Sequence[Call], timeout_s: float, away_after_s: float | None = None) -> list[Reply]:
        """The replies to calls in order. Raises NoAnswer with those that did arrive."""
        if not any(map(waits, calls)):
            return self._inner.call_all(calls, timeout_s, away_after_s)
        deadline = time.monotonic() + timeout_s
        held = Held()
        for call in calls:
            call.held, call.replicated = held, False
        try:
            replies = self._inner.call_all(calls, timeout_s, away_after_s)
            held.confirm(self._replicas, deadline)
            return replies
        finally:
            held.release()


def checked_replicas(wait_replicas: int) -> int:
    """How many replicas are waited for, 0 for none. Raises InvalidInput."""
    if type(wait_replicas) is not int or not 0 <= wait_replicas <= MOST_REPLICAS:
        raise InvalidInput(
            f"wait_replicas {shown(wait_replicas)} is not a whole number from 0 to {MOST_REPLICAS}", "wait_replicas"
        )
    return wait_replicas
