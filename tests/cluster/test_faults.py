"""Fault 12: slots move, primaries are replaced, die or freeze while bidders spend. Nothing is lost, nothing counts twice, and no call takes long."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from engine import BudgetClient, Spend, Unavailable
from engine.live.admin import LiveRedis
from tests.cluster.load import Load, campaign_of, counted, figures, logged
from tests.cluster.servers import Cluster, Node, until
from tests.live.plant import Plant

LONG = int(os.environ.get("TEST_CLUSTER_LONG", "1"))
"""How many times as long each test is; `make cluster` makes it more."""
CROWD = int(os.environ.get("TEST_CLUSTER_CROWD", "10"))
"""How many times as long a call may take here: this suite shares two cores, and a call that waits for the processor is no call that waits for Redis.
`make cluster` has the machine for itself, and allows less."""
pytestmark = pytest.mark.timeout(120 * LONG)


def account_of(load: Load, cluster: Cluster, live: LiveRedis, what: str, **more: object) -> None:
    figures(what, load.account, logged(cluster), **more)
    assert counted(live) == len(logged(cluster)), "the counters are the sum of the journals"


def test_slots_move_there_and_back_under_load(cluster: Cluster, plant: Plant, live: LiveRedis) -> None:
    moved = cluster.shards_of(cluster.primaries[0])[: 3 * LONG]
    with Load(cluster.url) as load:
        time.sleep(0.3)
        for shard in moved:
            cluster.move(shard, cluster.primaries[1])
        for shard in moved:
            cluster.move(shard, cluster.primaries[0])
        time.sleep(0.3)
    account_of(load, cluster, live, f"{2 * len(moved)} slot moves")
    assert load.account.longest() < 250 * CROWD


def test_a_failover_by_hand_there_and_back(cluster: Cluster, plant: Plant, live: LiveRedis) -> None:
    pair = cluster.primaries[0], cluster.replicas[0]
    with Load(cluster.url) as load:
        time.sleep(0.3)
        for _ in range(LONG):
            for node in reversed(pair):
                cluster.fail_over(node)
                time.sleep(0.5)
    account_of(load, cluster, live, f"{2 * LONG} failovers by hand")
    assert load.account.longest() < 100 * CROWD


class Promotion(threading.Thread):
    """Sees when a replica becomes the primary: how long that takes is the cluster's own doing (an election may fail and begin anew)."""

    def __init__(self, heir: Node) -> None:
        super().__init__()
        self._heir = heir
        self._began = time.monotonic()
        self.took_s = 0.0
        self.start()

    def run(self) -> None:
        until(lambda: self._heir.role() == "master")
        self.took_s = time.monotonic() - self._began


def test_a_primary_dies_and_its_replica_takes_over(cluster: Cluster, plant: Plant, live: LiveRedis) -> None:
    dead, heir = cluster.primaries[0], cluster.replicas[0]
    mine = cluster.shards_of(dead)
    others = [shard for shard in range(64) if shard not in mine]
    # One writer with WAIT behind each of its spends: what it was told is in the replica too, and may not be lost.
    with Load(cluster.url, shards=others, batches=False) as load, BudgetClient.from_url(cluster.url, 20_000) as client:
        time.sleep(0.3)
        for i in range(50):
            client.record_spend(campaign_of(mine[i % len(mine)]), amount_micros=1, event_id=f"before-{i}")
            load.account.acknowledged.add(f"before-{i}")
        dead.wait_for_replica()
        dead.kill()
        promotion, began = Promotion(heir), time.monotonic()
        client.record_spend(campaign_of(mine[0]), amount_micros=1, event_id="after")
        away_s = time.monotonic() - began
        load.account.acknowledged.add("after")
        results = client.record_spends([Spend(campaign_of(s), amount_micros=1, event_id=f"all-{s}") for s in range(64)])
        assert {r.outcome for r in results} == {"recorded"}
        load.account.acknowledged.update(f"all-{s}" for s in range(64))
    promotion.join()
    more = {"away": f"{away_s:.2f} s", "promoted_after": f"{promotion.took_s:.2f} s"}
    account_of(load, cluster, live, "kill -9", p99_of_others=f"{load.account.p99(others):.1f} ms", **more)
    assert away_s < promotion.took_s + 0.5 * CROWD
    assert load.account.longest(others) < 250 * CROWD, "who has to do with other nodes notices nothing"


def test_a_primary_is_frozen_for_longer_than_the_node_timeout(cluster: Cluster, plant: Plant, live: LiveRedis) -> None:
    frozen, heir = cluster.primaries[1], cluster.replicas[1]
    mine = cluster.shards_of(frozen)
    others = [shard for shard in range(64) if shard not in mine]
    told: list[float] = []

    def spend(client: BudgetClient, load: Load, number: int) -> None:
        began = time.monotonic()
        client.record_spend(campaign_of(mine[number]), amount_micros=1, event_id=f"frozen-{number}")
        told.append(time.monotonic() - began)
        load.account.acknowledged.add(f"frozen-{number}")

    with Load(cluster.url, shards=others, batches=False) as load, BudgetClient.from_url(cluster.url, 20_000) as client:
        for number in range(4):
            spend(client, load, number)
        frozen.wait_for_replica()
        told.clear()
        frozen.signal(signal.SIGSTOP)
        promotion = Promotion(heir)
        threads = [threading.Thread(target=spend, args=(client, load, number)) for number in range(4, 8)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            batch = [Spend(campaign_of(s), amount_micros=1, event_id=f"all-{s}") for s in range(64)]
            assert {r.outcome for r in client.record_spends(batch)} == {"recorded"}
            load.account.acknowledged.update(f"all-{s}" for s in range(64))
        finally:
            frozen.signal(signal.SIGCONT)
        until(lambda: frozen.role() == "slave")
    promotion.join()
    more = {"away": f"{max(told):.2f} s", "promoted_after": f"{promotion.took_s:.2f} s"}
    account_of(load, cluster, live, "frozen", p99_of_others=f"{load.account.p99(others):.1f} ms", **more)
    assert len(told) == 4
    assert max(told) < promotion.took_s + 0.5 * CROWD
    assert load.account.longest(others) < 250 * CROWD


def test_a_batch_over_all_nodes_has_the_others_answers_when_one_hangs(cluster: Cluster, plant: Plant) -> None:
    frozen = cluster.primaries[2]
    mine = cluster.shards_of(frozen)
    with BudgetClient.from_url(cluster.url, timeout_ms=800) as client:
        batch = [Spend(campaign_of(s), amount_micros=1, event_id=f"h-{s}") for s in range(64)]
        client.record_spends(batch)
        frozen.signal(signal.SIGSTOP)
        try:
            with pytest.raises(Unavailable, match=frozen.place) as away:
                client.record_spends(batch)
        finally:
            frozen.signal(signal.SIGCONT)
    missing = [shard for shard, answer in enumerate(away.value.answers) if answer is None]
    assert missing == mine, "one node's shards, and no other"


def test_a_cluster_that_is_down_is_named_and_waited_for(cluster: Cluster, plant: Plant, live: LiveRedis) -> None:
    shard, node = 5, cluster.owner(5)
    with BudgetClient.from_url(cluster.url, timeout_ms=500) as client:
        client.record_spend(campaign_of(shard), amount_micros=1)
        for each in cluster.primaries:
            each.plain.execute_command("CLUSTER", "DELSLOTS", cluster.slot(shard))
        with pytest.raises(Unavailable) as away:
            client.record_spend(campaign_of(shard), amount_micros=1, event_id="down")
        said = str(away.value)
        assert "\n" not in said
        assert "is down" in said or "no node of Redis" in said, said
        back = threading.Timer(0.2, node.plain.execute_command, ("CLUSTER", "ADDSLOTS", cluster.slot(shard)))
        back.start()
        try:
            with BudgetClient.from_url(cluster.url, timeout_ms=20_000) as patient:
                assert patient.record_spend(campaign_of(shard), amount_micros=1, event_id="down").outcome == "recorded"
        finally:
            back.join()
    assert logged(cluster)["down"] == 1


def test_without_redis_pys_fast_parser_all_is_the_same(
    cluster: Cluster, plant: Plant, live: LiveRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.live.transport.connection.Reader", None)
    frozen = cluster.primaries[2]
    batch = [Spend(campaign_of(s), amount_micros=1, event_id=f"slow-{s}") for s in range(64)]
    with BudgetClient.from_url(cluster.url, timeout_ms=20_000) as client:
        assert {r.outcome for r in client.record_spends(batch)} == {"recorded"}
        cluster.move(5, next(n for n in cluster.primaries if n is not cluster.owner(5)))
        assert client.record_spend(campaign_of(5), amount_micros=1, event_id="moved").outcome == "recorded"
        frozen.wait_for_replica()
        frozen.signal(signal.SIGSTOP)
        try:
            assert {r.outcome for r in client.record_spends(batch)} == {"duplicate"}
        finally:
            frozen.signal(signal.SIGCONT)
        until(lambda: frozen.role() == "slave")
    assert max(logged(cluster).values()) == 1


def test_a_cluster_without_most_of_its_primaries_says_so_and_goes_on_when_they_are_back(
    cluster: Cluster, plant: Plant
) -> None:
    left = cluster.primaries[0]
    shard = cluster.shards_of(left)[0]
    gone = [node for node in cluster.nodes if node not in (left, cluster.replicas[0])]
    with BudgetClient.from_url(cluster.url, timeout_ms=800) as client:
        client.record_spend(campaign_of(shard), amount_micros=1)
        for node in gone:
            node.signal(signal.SIGSTOP)
        said = ""

        def down() -> bool:
            nonlocal said
            try:
                client.record_spend(campaign_of(shard), amount_micros=1)
            except Unavailable as away:
                said = str(away)
            return "is down" in said

        try:
            until(down)
        finally:
            for node in gone:
                node.signal(signal.SIGCONT)
        assert f"the cluster at {left.place} is down" in said
        assert "\n" not in said
    with BudgetClient.from_url(cluster.url, timeout_ms=20_000) as client:
        assert client.record_spend(campaign_of(shard), amount_micros=1, event_id="back").outcome == "recorded"
