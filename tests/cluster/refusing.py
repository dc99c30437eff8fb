"""Ways in which one node refuses every call, while the other nodes of its cluster are well; and a primary behind Sentinel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

import pytest
import redis

from engine.live.keys import shard_keys
from engine.live.transport.cluster import SLOT_OF
from engine.local.forming import even_ranges, own_id
from tests.cluster.servers import PASSWORD, Cluster, Node, until
from tests.faults import refusals
from tests.patience import PATIENCE_S


@contextmanager
def loading(node: Node, tag: str = "") -> Iterator[None]:
    """LOADING: it was restarted, and reads a big append-only file. tag: what puts keys into a slot of its own."""
    names = [f"filler {i} {tag}" for i in range(refusals.BIG)]
    with node.plain.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.set(name, 1)
        pipe.execute()
    node.kill()
    node.launch("key-load-delay 10\n")
    try:
        until(lambda: refusals.says(node.plain, "loading"), PATIENCE_S)
        yield
        assert refusals.says(node.plain, "loading"), "the block took longer than the load"
    finally:
        node.kill()
        node.start()
        until(lambda: _serves(node, names[0]), PATIENCE_S)
        with node.plain.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.delete(name)
            pipe.execute()


def _serves(node: Node, key: str) -> bool:
    """Whether a node answers for a key of its own: one that just began still waits for the others."""
    try:
        node.plain.exists(key)
    except redis.RedisError:
        return False
    return True


@contextmanager
def without_a_slot(cluster: Cluster, node: Node) -> Iterator[None]:
    """CLUSTERDOWN: one of its slots, which no shard has, is nobody's, and it refuses all calls for that."""
    low, high = even_ranges(len(cluster.primaries))[cluster.primaries.index(node)]
    slot = next(slot for slot in range(low, high) if slot not in SLOT_OF.values())
    node.plain.config_set("cluster-require-full-coverage", "yes")
    node.plain.execute_command("CLUSTER", "DELSLOTS", slot)
    try:
        until(lambda: node.plain.cluster("INFO")["cluster_state"] == "fail", PATIENCE_S)
        yield
    finally:
        node.plain.execute_command("CLUSTER", "ADDSLOTS", slot)
        node.plain.config_set("cluster-require-full-coverage", "no")
        until(lambda: node.plain.cluster("INFO")["cluster_state"] == "ok", PATIENCE_S)


@contextmanager
def half_moved(cluster: Cluster, node: Node) -> Iterator[None]:
    """TRYAGAIN: of each of its shards one key is on its way to another node, and the rest is not."""
    other = next(each for each in cluster.primaries if each is not node)
    shards = cluster.shards_of(node)

    def move(source: Node, to: Node, shard: int) -> None:
        source.plain.execute_command(
            "MIGRATE", "127.0.0.1", to.port, shard_keys(shard).journal, 0, 5000, "AUTH", PASSWORD
        )

    for shard in shards:
        other.plain.execute_command("CLUSTER", "SETSLOT", cluster.slot(shard), "IMPORTING", own_id(node.plain))
        node.plain.execute_command("CLUSTER", "SETSLOT", cluster.slot(shard), "MIGRATING", own_id(other.plain))
        move(node, other, shard)
    try:
        yield
    finally:
        for shard in shards:
            node.plain.execute_command("CLUSTER", "SETSLOT", cluster.slot(shard), "STABLE")
            move(other, node, shard)
            other.plain.execute_command("CLUSTER", "SETSLOT", cluster.slot(shard), "STABLE")


def refuses(word: str, cluster: Cluster, node: Node) -> AbstractContextManager[None]:
    """A node that answers every call with this error, until the end of the block."""
    if word == "LOADING":
        return loading(node, f"{{{cluster.shards_of(node)[0]}}}")
    own: dict[str, Callable[[Cluster, Node], AbstractContextManager[None]]] = {
        "CLUSTERDOWN": without_a_slot,
        "TRYAGAIN": half_moved,
    }
    return own[word](cluster, node) if word in own else refusals.REFUSALS[word](node)


BEHIND_SENTINEL: Final[dict[str, Callable[[Node], AbstractContextManager[None]]]] = {
    "LOADING": loading,
    "NOREPLICAS": lambda node: refusals.without_replicas(node, "2"),  # it has one
}
"""What differs there."""
WORDS: Final = ("MISCONF", "NOREPLICAS", "OOM", "BUSY", "LOADING", "CLUSTERDOWN", "TRYAGAIN")
"""Not READONLY and MASTERDOWN: a node that is a replica now says MOVED."""
_LONG: Final = ("LOADING", "BUSY", "NOREPLICAS", "OOM")
EACH: Final = [pytest.param(word, marks=pytest.mark.long if word in _LONG else ()) for word in WORDS]
"""For parametrize."""
