"""The Node client on a cluster, where servers move, die and are replaced, and each spend counts once; and behind Sentinel."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.live.admin import LiveRedis
from engine.live.transport.routed import open_transport
from tests.clients.run import passes
from tests.cluster.conftest import cluster, live, plant, started, wire
from tests.cluster.load import Account, counted, figures, logged, plant_all
from tests.cluster.sentinel import Watched
from tests.cluster.servers import Cluster, Node, running
from tests.live.plant import Plant
from tools.node_client import node

__all__ = ["cluster", "live", "plant", "started", "wire"]

pytestmark = pytest.mark.timeout(240)
BEFORE_S = 1.0
AFTER_S = 2.0
SENT_AGAIN_S = 60.0
"""Within this time a client has sent again what the server before had acknowledged last."""
ENDS_S = 20.0


def spends_during(
    folder: Path,
    url: str,
    fault: Callable[[], None],
    logged: Callable[[], Counter[str]],
    patience_s: float = SENT_AGAIN_S,
    after_s: float = AFTER_S,
) -> Account:
    """What a bidder in Node was told that spends while a fault happens, and for some seconds before and after it.

    logged: the events of the journals. The bidder closes its client when they have all of its own, or when time is up.
    """
    bidder = subprocess.Popen(
        [node(), "dist-test/load.js", url],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert bidder.stderr is not None and bidder.stderr.readline() == "spending\n"
        time.sleep(BEFORE_S)
        fault()
        time.sleep(after_s)
        assert bidder.stdin is not None and bidder.stdout is not None
        bidder.stdin.write("stop\n")
        bidder.stdin.flush()
        told = json.loads(bidder.stdout.readline())
        acknowledged, deadline = set(told["acknowledged"]), time.monotonic() + patience_s
        while acknowledged - logged().keys() and time.monotonic() < deadline:
            time.sleep(0.2)
        _, err = bidder.communicate(timeout=ENDS_S)
    finally:
        bidder.kill()
    assert bidder.returncode == 0, err
    assert told["odd"] == []
    assert len(told["acknowledged"]) > 100
    return Account(acknowledged=set(told["acknowledged"]), longest_ms={0: told["longestMs"]})


def test_a_node_bidder_finds_every_shard_of_a_cluster(node_folder: Path, cluster: Cluster, plant: Plant) -> None:
    assert passes(node_folder, "cluster", BUDGET_TEST_CLUSTER_URL=cluster.url) >= 3


def test_a_node_bidder_follows_slots_and_failovers_and_counts_once(
    node_folder: Path, cluster: Cluster, plant: Plant, live: LiveRedis
) -> None:
    def fault() -> None:
        for shard in cluster.shards_of(cluster.primaries[0])[:3]:
            cluster.move(shard, cluster.primaries[1])
        cluster.fail_over(cluster.replicas[2])
        cluster.fail_over(cluster.primaries[2])

    account = spends_during(node_folder, cluster.url, fault, lambda: logged(cluster))
    figures("Node: 3 slots moved, 2 failovers by hand", account, logged(cluster))
    assert counted(live) == sum(logged(cluster).values())


def test_a_primary_dies_and_a_node_bidder_goes_on_with_its_replica(
    node_folder: Path, cluster: Cluster, plant: Plant, live: LiveRedis
) -> None:
    dead, heir = cluster.primaries[1], cluster.replicas[1]

    def fault() -> None:
        promoted_after_death(dead, heir)

    account = spends_during(node_folder, cluster.url, fault, lambda: logged(cluster))
    figures("Node: kill -9 of a primary", account, logged(cluster))
    assert counted(live) == sum(logged(cluster).values())


def promoted_after_death(dead: Node, heir: Node) -> None:
    dead.wait_for_replica()
    dead.kill()
    deadline = time.monotonic() + 60
    while heir.role() != "master":
        assert time.monotonic() < deadline, "no replica took over"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def sentinel() -> Iterator[Watched]:
    with running(Watched) as made:
        made.restore()
        yield made


def test_a_node_bidder_behind_sentinel_finds_the_primary(node_folder: Path, sentinel: Watched) -> None:
    wire = open_transport(sentinel.url)
    plant_all(LiveRedis(wire), None)
    assert passes(node_folder, "cluster", BUDGET_TEST_CLUSTER_URL=sentinel.url) >= 1
    wire.close()
