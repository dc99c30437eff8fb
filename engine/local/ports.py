"""Finds free TCP ports."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection
from pathlib import Path
from typing import Final

from engine.errors import Refused

_NEIGHBOURS = 100
_FIRST: Final = 15_000
_LAST: Final = 32_767
_GIVEN_AWAY: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""Linux takes the near end of each connection from these ports, two numbers in one line."""
_TRIES: Final = 100


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
    """A free port on loopback, one that the operating system gives to no connection. A server that is away for a moment
    finds its port free again then, and nobody who asks for it meanwhile is connected with himself.
    """
    first, last = _quiet()
    for port in random.sample(range(first, last + 1), min(_TRIES, max(0, last + 1 - first))):
        if is_free(port):
            return port
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _quiet() -> tuple[int, int]:
    """The first and the last port of those that the operating system gives to no connection; the last below the first
    where it gives all of them.
    """
    try:
        given_from = int(_GIVEN_AWAY.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        given_from = _LAST + 1  # other systems begin higher
    return _FIRST, min(_LAST, given_from - 1)


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
