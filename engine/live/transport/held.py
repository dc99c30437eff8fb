"""Connections that are held after their calls, until replicas have confirmed what these calls wrote.

Redis' WAIT speaks of the writes of its own connection. So a connection goes back to its pool only after the WAIT.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, Final

from redis import exceptions

from engine.domain.seldom import Seldom
from engine.live.scripts import RECORD, TRY
from engine.live.transport.connection import Connection, command
from engine.live.transport.node import NodePool
from engine.live.transport.pool import Call, ConnectionPool, Reply, one_line

log: Final = logging.getLogger("engine.client")
_WAITS: Final = frozenset({RECORD, TRY, "holds", "refund"})
_SELDOM: Final = Seldom()


def waits(call: Call) -> bool:
    """Whether a call's caller learns whether replicas have it. A lease's spends are counted in the background."""
    return call.script.name in _WAITS


def wait_command(replicas: int, timeout_s: float) -> bytes:
    """Asks how many replicas have what this connection wrote, as soon as so many do or the time is over."""
    return command(("WAIT", str(replicas), str(max(int(timeout_s * 1000), 1))))  # a 0 would wait for ever


def confirmed(reply: object, replicas: int, where: str) -> bool:
    """Whether the reply to WAIT says that enough replicas confirmed. An error is logged: the calls are counted all the same."""
    if isinstance(reply, Exception):
        _SELDOM.say(log.warning, f"Redis at {where} does not say which replicas have a call: {one_line(reply)}")
    return type(reply) is int and reply >= replicas


class Held:
    """The connections over which the calls of one caller were answered. Used by one thread."""

    def __init__(self) -> None:
        self._kept: list[tuple[ConnectionPool, Connection, Sequence[Call]]] = []

    def keep(self, pool: ConnectionPool, link: Connection, calls: Sequence[Call]) -> None:
        """Holds a connection that has answered these calls."""
        self._kept.append((pool, link, calls))

    def confirm(self, replicas: int, deadline: float) -> None:
        """Asks all of them at once, and sets `replicated` of their calls. deadline: monotonic seconds. Raises nothing of a server."""
        asked = []
        for pool, link, calls in self._kept:
            try:
                link.send(wait_command(replicas, deadline - time.monotonic()), deadline)
                asked.append((pool, link, calls))
            except (exceptions.RedisError, OSError):
                link.drop()
        self._kept = []
        for pool, link, calls in asked:
            reply: object
            try:
                reply = link.receive(deadline)
            except exceptions.ResponseError as error:
                reply = error
            except (exceptions.RedisError, OSError):
                link.drop()  # its reply may still come
                continue
            pool.give(link)
            enough = confirmed(reply, replicas, pool.where)
            for call in calls:
                call.replicated = enough

    def release(self) -> None:
        """Gives the connections back without asking."""
        while self._kept:
            pool, link, _ = self._kept.pop()
            pool.give(link)


class HoldingPool(ConnectionPool):
    """A pool that leaves the connections of calls with `held` to it."""

    def _quick(self, call: Call, timeout_s: float, began: float) -> Reply | None:
        return None if hasattr(call, "held") else super()._quick(call, timeout_s, began)

    def give(self, link: Any, calls: Sequence[Call] = ()) -> None:
        """As of `ConnectionPool`."""
        held: Held | None = getattr(calls[0], "held", None) if calls else None
        if held is None:
            super().give(link, calls)
        else:
            held.keep(self, link, calls)


class HoldingNodePool(HoldingPool, NodePool):
    """The same for one node of several."""
