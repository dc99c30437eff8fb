"""Which server has which shard: one map for all threads, read by every call without a lock, and asked for anew once for all.

`cluster.py` and `sentinel.py` find the map, `routed.py` sends calls by it, and `engine/client/aio/` does the same under asyncio.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from engine.domain.ids import SHARDS
from engine.live.keys import shard_keys
from engine.urls import bracketed

SHARD_KEYS: Final = tuple(shard_keys(shard).shard for shard in range(SHARDS))
"""The first key of every call to a shard, by shard. The map's own key: a call looks up its first key and nothing else."""
SHARD_OF: Final = {key: shard for shard, key in enumerate(SHARD_KEYS)}
PATIENCE_S: Final = 0.1
"""A node that has been silent for so long may have been replaced: whoever waits for it looks at the map, and waits on."""
_FRESH_S: Final = 0.02
"""A map that is younger is not asked for again: a node is not found quicker by asking more often."""
_ALL: Final[weakref.WeakSet[RouteMap[Any]]] = weakref.WeakSet()


class Place(NamedTuple):
    """Where a server is."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"


class NoRoute(Exception):
    """Nobody said who has the shards. final: no repeat mends it. silent: those who were asked took the question and said nothing."""

    def __init__(self, why: str, *, final: bool = False, silent: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.final = final
        self.silent = silent


class Finder(Protocol):
    """Asks servers who has which shard."""

    where: str
    """What the URL names, as messages show it."""
    asks_first: bool
    """Whether it is asked before each new connection, and the server for its role: one that was demoted still answers reads."""

    def find(self, blamed: Place | None, deadline: float) -> Mapping[str, Place]:
        """{first key of a shard: its primary}, without shards that nobody has. blamed: a server to be asked last. Raises NoRoute."""

    def hint(self, place: Place) -> None:
        """A server that knew better than the map: it is asked first."""

    def url_of(self, place: Place) -> str:
        """The plain URL of a server."""

    def follow(self, routes: RouteMap[Any]) -> None:
        """Keeps the map up to date by itself, where the servers tell of changes. Called once a process."""


Node = TypeVar("Node")


class RouteMap(Generic[Node]):
    """The map. make: what a caller keeps for each server, such as its connections."""

    def __init__(self, finder: Finder, make: Callable[[Place], Node]) -> None:
        self.finder = finder
        self._make = make
        self.nodes: dict[Place, Node] = {}
        self.by_key: dict[str, Node] = {}
        """First key of a shard -> its node. Replaced or changed in single steps, so that readers need no lock."""
        self.places: dict[str, Place] = {}
        """The same as places."""
        self.version = 0
        """Higher after each look at the servers, and each correction."""
        self.fresh_s = _FRESH_S
        self.closed = False
        self._followed = False
        self._at_s = 0.0
        self._lock = threading.Lock()
        _ALL.add(self)

    def node(self, place: Place) -> Node:
        """What is kept for a server, made when it is first needed."""
        found = self.nodes.get(place)
        if found is None:
            found = self.nodes.setdefault(place, self._make(place))
        return found

    def refresh(self, seen: int, blamed: Place | None, deadline: float) -> None:
        """Asks for the map, unless another thread did since version `seen`. One look at every server at most. Raises NoRoute."""
        if not self._lock.acquire(timeout=max(deadline - time.monotonic(), 0.001)):
            raise NoRoute(f"Redis at {self.finder.where} does not say who has the shards", silent=True)
        try:
            if self.version != seen or time.monotonic() - self._at_s < _FRESH_S:
                return
            found = dict(self.finder.find(blamed, deadline))
            self.places = found
            self.by_key = {key: self.node(place) for key, place in found.items()}
            self.version += 1
            self._at_s = time.monotonic()
            if not self._followed and not self.closed:
                self._followed = True
                self.finder.follow(self)
        finally:
            self._lock.release()

    def correct(self, key: str, place: Place) -> None:
        """A server said that another has this shard: it knows better than the map."""
        with self._lock:
            self.finder.hint(place)
            self.places = {**self.places, key: place}
            self.by_key[key] = self.node(place)
            self.version += 1

    def still(self, place: Place, deadline: float) -> bool:
        """Whether a server has a shard, asked now. Where nobody can say, as the map has it."""
        try:
            self.refresh(self.version, None, deadline)
        except NoRoute:
            pass
        return place in self.places.values()

    def serves(self, place: Place, deadline: float) -> bool:
        """Whether a server that says nothing still has a shard, as far as the others know. Asks them, once for all threads."""
        if time.monotonic() - self._at_s >= PATIENCE_S / 2:
            try:
                self.refresh(self.version, place, min(deadline, time.monotonic() + PATIENCE_S))
            except NoRoute:
                return True
        return place in self.places.values()

    def forget(self) -> None:
        """In a forked child: another thread of the parent may have held the lock."""
        self._lock = threading.Lock()
        self._followed = False


def _forget_all() -> None:
    for routes in list(_ALL):
        routes.forget()


os.register_at_fork(after_in_child=_forget_all)
