"""Who has which shard in a cluster: CLUSTER SLOTS, asked of whichever node answers soonest."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from redis import exceptions
from redis.crc import key_slot

from engine.live.transport.ask_once import address_of, ask_once
from engine.live.transport.pool import is_timeout, one_line
from engine.live.transport.routes import SHARD_KEYS, NoRoute, Place, RouteMap
from engine.urls import RedisPlaces

ANSWER_S: Final = 0.05
"""A node that needs longer is left for the next one."""
_LONGEST_S: Final = 1.0
SLOT_OF: Final = {key: key_slot(key.encode()) for key in SHARD_KEYS}
"""The hash slot of each shard, by its first key."""


class ClusterFinder:
    """Knows the nodes of a cluster: those of the URL, and all that they have named since. Used by one thread at a time."""

    asks_first = False

    def __init__(self, places: RedisPlaces) -> None:
        self._url = places
        self._seeds = [Place(*each) for each in places.hosts]
        self._known: list[Place] = list(self._seeds)
        """In the order in which they are asked: who knew better, who answered last, the rest."""
        self._answer_s = ANSWER_S
        self.where = f"cluster {','.join(map(str, self._seeds))}"
        address_of(self.url_of(self._seeds[0]))  # what redis-py does not take is refused now

    def url_of(self, place: Place) -> str:
        """The plain URL of a node."""
        return self._url.url_of(*place)

    def hint(self, place: Place) -> None:
        """This node is asked first."""
        self._known = [place, *(each for each in self._known if each != place)]

    def follow(self, routes: RouteMap[Any]) -> None:
        """Nodes tell of moves themselves: who asks the wrong one is told the right one."""

    def find(self, blamed: Place | None, deadline: float) -> Mapping[str, Place]:
        """One look at every node until one answers. Raises NoRoute."""
        errors: list[tuple[Place, Exception]] = []
        for place in sorted(self._known, key=lambda each: each == blamed):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            try:
                reply = ask_once(address_of(self.url_of(place)), min(self._answer_s, left), "CLUSTER", "SLOTS")
            except (exceptions.AuthenticationError, exceptions.AuthorizationError) as error:
                raise NoRoute(f"Redis at {place} refuses the login: {error}", final=True) from None
            except (exceptions.RedisError, OSError) as error:
                errors.append((place, error))
                self._last(place)
                continue
            if isinstance(reply, Exception):
                raise _refused(place, reply)
            found = self._read(place, reply)
            if found:
                self._answer_s = ANSWER_S
                if blamed in found.values():
                    # One that is cut off from the others may never learn better: another is asked next.
                    self._last(place)
                return found
            errors.append((place, OSError("it knows no node that has a slot")))
        self._answer_s = min(self._answer_s * 2, _LONGEST_S)
        said = "; ".join(f"{place}: {one_line(error)}" for place, error in errors[:3]) or "no time was left"
        more = f"; and {len(errors) - 3} more" if len(errors) > 3 else ""
        silent = bool(errors) and all(is_timeout(error) for _, error in errors)
        raise NoRoute(f"no node of Redis {self.where} answers ({said}{more})", silent=silent)

    def _last(self, place: Place) -> None:
        """This node is asked last."""
        self._known = [*(each for each in self._known if each != place), place]

    def _read(self, asked: Place, reply: Iterable[Any]) -> dict[str, Place]:
        """{first key: primary}, and takes note of every node."""
        found: dict[str, Place] = {}
        seen = [asked]
        for low, high, primary, *replicas in reply:
            at = _place(primary, asked)
            seen += [each for each in (_place(node, asked) for node in replicas) if each is not None]
            if at is not None:
                seen.append(at)
                found.update((key, at) for key, slot in SLOT_OF.items() if int(low) <= slot <= int(high))
        self._known = list(dict.fromkeys([*seen, *self._seeds])) if found else self._known
        return found


def _place(node: Any, asked: Place) -> Place | None:
    """Where a node is; one without a host is the one that was asked, and `?` is nowhere."""
    host = (node[0] or b"").decode()
    return None if host == "?" else Place(host or asked.host, int(node[1]))


def _refused(place: Place, error: Exception) -> NoRoute:
    text = one_line(error)
    if "cluster support disabled" in text:
        return NoRoute(f"Redis at {place} is no cluster: write redis:// instead of redis+cluster://", final=True)
    if isinstance(error, exceptions.NoPermissionError):
        return NoRoute(
            f"Redis at {place} does not permit this login CLUSTER SLOTS: see `budget-engine acl`", final=True
        )
    if "unknown command" in text.lower():
        return NoRoute(f"the server at {place} knows no CLUSTER SLOTS ({text}): name a node with data", final=True)
    return NoRoute(f"Redis at {place} does not say who has the slots: {text}")
