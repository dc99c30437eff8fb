"""A transport around another: what it does not change is as of the one inside."""

from __future__ import annotations

from typing import Any

from engine.live.transport.protocol import Transport


class TransportAround:
    """The part that is passed on."""

    _inner: Transport

    @property
    def where(self) -> str:
        """As of the transport inside."""
        return self._inner.where

    @property
    def several(self) -> bool:
        """As of the transport inside."""
        return self._inner.several

    def where_of(self, shard_key: str) -> str:
        """As of the transport inside."""
        return self._inner.where_of(shard_key)

    def locate(self, timeout_s: float) -> None:
        """As of the transport inside."""
        self._inner.locate(timeout_s)

    def own_connection(self, timeout_s: float) -> Any:
        """As of the transport inside."""
        return self._inner.own_connection(timeout_s)

    def close(self) -> None:
        """As of the transport inside."""
        self._inner.close()
