"""Hears from Sentinel that another server is the primary now (+switch-master). A primary that was frozen or cut off answers on open connections until it
is demoted, and what it counts meanwhile is lost: a client that has heard of the switch does not ask it any more.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Final

from redis import exceptions

from engine.live.transport.connection import Address
from engine.live.transport.routes import NoRoute, RouteMap

_CHANNEL: Final = "+switch-master"
_BEAT_S: Final = 1.0
_PAUSE_S: Final = 0.5
_ANSWER_S: Final = 1.0


class Switches(threading.Thread):
    """Listens to one Sentinel after the other while the map lives. addresses: those to listen to, in their present order."""

    def __init__(self, routes: RouteMap[Any], master: str, addresses: Callable[[], list[Address]]) -> None:
        super().__init__(name="budget-sentinel", daemon=True)
        self._routes = weakref.ref(routes)
        self._master = master.encode()
        self._addresses = addresses

    def run(self) -> None:
        while self._lives():
            for address in self._addresses():
                try:
                    self._listen(address)
                except (exceptions.RedisError, OSError):
                    pass
                if not self._lives():
                    return
            time.sleep(_PAUSE_S)

    def _lives(self) -> bool:
        routes = self._routes()
        return routes is not None and not routes.closed

    def _listen(self, address: Address) -> None:
        """Until the connection is lost, or says nothing. Raises redis' errors, OSError."""
        connection = address.connection(
            protocol=2, health_check_interval=0, socket_timeout=_ANSWER_S, socket_connect_timeout=_ANSWER_S
        )
        try:
            connection.connect()
            connection.send_command("SUBSCRIBE", _CHANNEL)
            connection.read_response(timeout=_ANSWER_S)
            self._refresh()  # it may have switched before
            asked = False
            while self._lives():
                if not connection.can_read(_BEAT_S):
                    if asked:
                        return
                    connection.send_command("PING")
                    asked = True
                    continue
                asked = False
                word = connection.read_response(timeout=_ANSWER_S)
                if word[0] == b"message" and word[2].split()[:1] == [self._master]:
                    self._refresh()
        finally:
            connection.disconnect()

    def _refresh(self) -> None:
        routes = self._routes()
        if routes is None:
            return
        time.sleep(routes.fresh_s)  # a look just before the switch must not pass for one after it
        try:
            routes.refresh(routes.version, None, time.monotonic() + _ANSWER_S)
        except NoRoute:
            pass  # the next call that needs it asks again
