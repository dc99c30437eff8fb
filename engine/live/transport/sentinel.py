"""Who the primary is, by Sentinel: the map has one server for all shards."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from redis import exceptions

from engine.live.transport.ask_once import address_of, ask_once
from engine.live.transport.pool import is_timeout, one_line
from engine.live.transport.routes import SHARD_KEYS, NoRoute, Place, RouteMap
from engine.live.transport.switches import Switches
from engine.urls import RedisPlaces

ANSWER_S: Final = 0.05
_LONGEST_S: Final = 1.0


class SentinelFinder:
    """Knows the Sentinels of a URL. Used by one thread at a time."""

    asks_first = True

    def __init__(self, places: RedisPlaces) -> None:
        self._url = places
        self._known = [Place(*each) for each in places.hosts]
        self._answer_s = ANSWER_S
        self.where = f"{places.master} by Sentinel {','.join(map(str, self._known))}"
        address_of(self.url_of(self._known[0]))

    def url_of(self, place: Place) -> str:
        """The plain URL of the primary."""
        return self._url.url_of(*place)

    def hint(self, place: Place) -> None:
        """Only Sentinels are asked."""

    def follow(self, routes: RouteMap[Any]) -> None:
        """Listens for +switch-master in a thread of its own."""
        Switches(
            routes,
            self._url.master,
            lambda: [address_of(self._url.sentinel_url_of(*sentinel)) for sentinel in list(self._known)],
        ).start()

    def find(self, blamed: Place | None, deadline: float) -> Mapping[str, Place]:
        """One look at every Sentinel until one names the primary. Raises NoRoute."""
        errors: list[tuple[Place, Exception]] = []
        unknown: Place | None = None
        for sentinel in list(self._known):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            address = address_of(self._url.sentinel_url_of(*sentinel))
            try:
                reply = ask_once(
                    address, min(self._answer_s, left), "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._url.master
                )
            except (exceptions.AuthenticationError, exceptions.AuthorizationError) as error:
                raise NoRoute(
                    f"the Sentinel at {sentinel} refuses the login: {one_line(error)};"
                    " its own goes into the parameters sentinel_username and sentinel_password",
                    final=True,
                ) from None
            except (exceptions.RedisError, OSError) as error:
                errors.append((sentinel, error))
                self._known = [*(each for each in self._known if each != sentinel), sentinel]
                continue
            if isinstance(reply, Exception):
                raise _refused(sentinel, reply)
            if reply is None:
                unknown = sentinel
                continue
            self._answer_s = ANSWER_S
            self._known = [sentinel, *(each for each in self._known if each != sentinel)]
            return dict.fromkeys(SHARD_KEYS, Place(reply[0].decode(), int(reply[1])))
        if unknown is not None and not errors:
            raise NoRoute(
                f"the Sentinel at {unknown} knows no master {self._url.master}: correct the name in the URL", final=True
            )
        self._answer_s = min(self._answer_s * 2, _LONGEST_S)
        said = "; ".join(f"{place}: {one_line(error)}" for place, error in errors[:3]) or "no time was left"
        silent = bool(errors) and all(is_timeout(error) for _, error in errors)
        raise NoRoute(f"no Sentinel of {self.where} answers ({said})", silent=silent)


def _refused(place: Place, error: Exception) -> NoRoute:
    text = one_line(error)
    if "unknown command" in text.lower():
        return NoRoute(f"the server at {place} is no Sentinel: name Sentinels, with port 26379 as a rule", final=True)
    if isinstance(error, exceptions.NoPermissionError):
        return NoRoute(f"the Sentinel at {place} does not permit this login its question: {text}", final=True)
    return NoRoute(f"the Sentinel at {place} does not say who the primary is: {text}")
