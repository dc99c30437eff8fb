"""How calls reach the shards, whatever the servers are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from engine.live.transport.pool import Call, Reply


class Transport(Protocol):
    """How calls reach the shards: `ConnectionPool` to one Redis, `RoutedPool` to the nodes of a cluster or Sentinel's primary."""

    @property
    def where(self) -> str:
        """What the URL names, as messages show it."""

    @property
    def several(self) -> bool:
        """Whether the shards are on several servers, of which one may be away."""

    def where_of(self, shard_key: str) -> str:
        """The server that has a shard, by the shard's first key."""

    def locate(self, timeout_s: float) -> None:
        """Finds the servers of the shards, where that is not done yet. Raises nothing: the next call reports what is wrong."""

    def call(self, call: Call, timeout_s: float) -> Reply:
        """The reply to one call. Raises NoAnswer."""

    def call_all(self, calls: Sequence[Call], timeout_s: float, away_after_s: float | None = None) -> list[Reply]:
        """The replies to calls in order. Raises NoAnswer with those that did arrive."""

    def own_connection(self, timeout_s: float) -> Any:
        """A connection for the caller alone, to listen on."""

    def close(self) -> None:
        """Closes the connections that are not in use."""
