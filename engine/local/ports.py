"""Finds free TCP ports."""

from __future__ import annotations

import socket
from collections.abc import Collection

from engine.errors import Refused

_NEIGHBOURS = 100


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on a port now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Connections of a stopped server in TIME_WAIT must not count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def any_free() -> int:
    """A free port on loopback, chosen by the operating system."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def kept_or_free(kept: int | None, taken: set[int]) -> int:
    """The port of the last start if it is still free and not in `taken`, else another free one."""
    if kept is not None and 1024 <= kept <= 65535 and kept not in taken and is_free(kept):
        return kept
    while (port := any_free()) in taken:
        pass
    return port


def next_free(port: int, host: str, part: str = "WEB", taken: Collection[int] = ()) -> int:
    """The first free port from `port` on that is not in `taken`. part: as in the settings' names. Raises Refused when 100
    ports are taken, or the host is no address of this machine.
    """
    for candidate in range(port, min(port + _NEIGHBOURS, 65536)):
        if candidate not in taken and is_free(candidate, host):
            return candidate
    raise Refused(
        f"no port from {port} on is free on {host}: set BUDGET_{part}_PORT to another,"
        f" and BUDGET_{part}_HOST to an address of this machine"
    )
