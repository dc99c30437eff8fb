"""Forms a Redis Cluster of nodes in cluster mode: assigns slots and replicas, then waits until all nodes agree."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import redis

from engine.errors import ServerAway

SLOTS: Final = 16384
_FORMS_S: Final = 30.0
_POLL_S: Final = 0.02


def even_ranges(nodes: int) -> list[tuple[int, int]]:
    """Splits the slots evenly: the first and last slot of each node."""
    return [(i * SLOTS // nodes, (i + 1) * SLOTS // nodes - 1) for i in range(nodes)]


def form(primaries: Sequence[redis.Redis], replicas: Sequence[redis.Redis], bus_of: Callable[[int], int]) -> None:
    """Forms one cluster of nodes that are empty or were that cluster before. The i-th replica follows the i-th primary.

    bus_of: the port of a node's cluster bus, by its client port. Raises ServerAway when the nodes do not agree within
    30 s.
    """
    nodes = [*primaries, *replicas]
    for epoch, (node, (low, high)) in enumerate(zip(primaries, even_ranges(len(primaries)), strict=True), 1):
        if len(ids_of(node)) == 1 and not _has_slots(node):
            ask(node, "ADDSLOTSRANGE", low, high)
            ask(node, "SET-CONFIG-EPOCH", epoch)
    # MEET also goes to nodes that know each other: their ports may have changed since the last start.
    for node in nodes[1:]:
        host, port = place_of(node)
        ask(nodes[0], "MEET", host, port, bus_of(port))
    _wait("nodes find each other", lambda: all(len(ids_of(node)) == len(nodes) for node in nodes))
    for node, primary in zip(replicas, primaries, strict=False):
        if node.info("replication")["role"] == "master":
            ask(node, "REPLICATE", own_id(primary))
    wait_until_whole(nodes)


def _has_slots(node: redis.Redis) -> bool:
    """Whether a node owns slots already."""
    (myself,) = [line for line in _lines(node) if "myself" in line.split()[2]]
    return len(myself.split()) > 8


def wait_until_whole(nodes: Sequence[redis.Redis]) -> None:
    """Waits until every node sees all slots and every replica is connected. Raises ServerAway after 30 s."""
    _wait("nodes agree on the slots", lambda: all(_is_whole(node) for node in nodes))


def _is_whole(node: redis.Redis) -> bool:
    info = cluster_info(node)
    if info.get("cluster_state") != "ok" or info.get("cluster_slots_ok") != str(SLOTS):
        return False
    replication: Any = node.info("replication")
    return bool(replication["role"] == "master" or replication["master_link_status"] == "up")


def ask(node: redis.Redis, *words: object) -> Any:
    """Sends a CLUSTER command and returns its raw reply, with text as bytes. Raises redis-py's errors."""
    # redis-py's own methods return different types from release to release.
    return node.execute_command("CLUSTER", *words)  # type: ignore[no-untyped-call]


def cluster_info(node: redis.Redis) -> dict[str, str]:
    """The fields of CLUSTER INFO."""
    raw = ask(node, "INFO")
    return dict(line.split(":", 1) for line in raw.decode().splitlines() if ":" in line)


def own_id(node: redis.Redis) -> str:
    """The id of a node in its cluster."""
    raw = ask(node, "MYID")
    return str(raw.decode())


def ids_of(node: redis.Redis) -> list[str]:
    """The ids of the nodes that a node knows, without those still in handshake."""
    return [line.split()[0] for line in _lines(node) if "handshake" not in line]


def _lines(node: redis.Redis) -> list[str]:
    """The lines of CLUSTER NODES."""
    return list(ask(node, "NODES").decode().splitlines())


def place_of(node: redis.Redis) -> tuple[str, int]:
    """Host and port of the server of a client."""
    kwargs = node.connection_pool.connection_kwargs
    return str(kwargs["host"]), int(kwargs["port"])


def _wait(what: str, done: Callable[[], bool]) -> None:
    until = time.monotonic() + _FORMS_S
    while not done():
        if time.monotonic() > until:
            raise ServerAway("the embedded cluster", "127.0.0.1", f"its {what} not within {_FORMS_S:.0f} s: try again")
        time.sleep(_POLL_S)
