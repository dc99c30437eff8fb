"""Ports for servers that a test starts itself."""

from __future__ import annotations

from engine.local.ports import any_free

_given: set[int] = set()


def free_port() -> int:
    """A port on which nobody listens, that no connection gets, and that this process was not given before."""
    while (port := any_free()) in _given:
        pass
    _given.add(port)
    return port
