"""A watch and a lease on a cluster: changes arrive from every node, and go on to arrive when the node that is listened to goes."""

from __future__ import annotations

import signal
import time

import pytest

from engine import BudgetClient
from engine.client.watch.clock import NodeClocks
from tests.cluster.load import BRANDS, brand_in, campaign_of, logged, note
from tests.cluster.servers import Cluster, until
from tests.cluster.test_faults import CROWD
from tests.live.plant import Plant
from tests.patience import PATIENCE_S, TIMES


def listened(watch: object) -> int:
    """The port of the node that a watch listens to."""
    return int(watch._subscription._connection.port)  # type: ignore[attr-defined]


def see_every_shard(plant: Plant, watch: object, version: int) -> float:
    """Every brand is used up and free again, and the watch sees each; the longest it took, in ms."""
    longest = 0.0
    for daily, may in (("0", False), (None, True)):
        version += 1
        for shard in range(64):
            plant.brand(brand_id=brand_in(shard), daily=daily, version=version)
            began, campaign = time.monotonic(), campaign_of(shard)
            until(lambda campaign=campaign, may=may: watch.may_bid(campaign) is may, TIMES * 5)  # type: ignore[attr-defined,misc]
            longest = max(longest, (time.monotonic() - began) * 1000)
    return longest


@pytest.mark.long
def test_changes_on_every_node_are_seen_and_a_dead_listener_is_replaced(cluster: Cluster, plant: Plant) -> None:
    with BudgetClient.from_url(cluster.url, timeout_ms=5000) as client, client.watch() as watch:
        assert watch.wait_ready(PATIENCE_S), watch.why
        assert sum(watch.may_bid(b * 65536 + 1) for b in BRANDS) == 64
        note(f"watch: a change of any shard is seen within {see_every_shard(plant, watch, 1):.0f} ms")
        assert watch.clock_error_ms is not None and watch.clock_error_ms < 50 * CROWD
        node = next(n for n in cluster.nodes if n.port == listened(watch))
        node.kill()
        began = time.monotonic()
        until(lambda: watch.stale, TIMES * 5)
        assert watch.wait_ready(PATIENCE_S), watch.why
        note(f"watch: whole again {time.monotonic() - began:.2f} s after the node that it listened to was killed")
        assert listened(watch) != node.port
        see_every_shard(plant, watch, 10)


def test_a_node_that_hangs_makes_its_own_shards_stale_and_no_other(cluster: Cluster, plant: Plant) -> None:
    with BudgetClient.from_url(cluster.url, timeout_ms=5000) as client, client.watch() as watch:
        assert watch.wait_ready(PATIENCE_S), watch.why
        node = next(n for n in cluster.primaries if n.port != listened(watch))
        mine, replica = cluster.shards_of(node), cluster.replicas[cluster.primaries.index(node)]
        other = next(shard for shard in range(64) if shard not in mine)
        replica.signal(signal.SIGSTOP)  # nobody takes over
        node.signal(signal.SIGSTOP)
        try:
            until(lambda: watch.stale, TIMES * 10)
            until(lambda: not any(watch.may_bid(campaign_of(s)) for s in mine), TIMES * 10)
            assert node.place in watch.why
            for version, daily in ((2, "0"), (3, None), (4, "0"), (5, None)):
                plant.brand(brand_id=brand_in(other), daily=daily, version=version)
                began = time.monotonic()
                until(lambda daily=daily: watch.may_bid(campaign_of(other)) is (daily is None))  # type: ignore[misc]
                assert time.monotonic() - began < 0.5 * CROWD, "a change elsewhere is seen while the node hangs"
                time.sleep(0.7)
        finally:
            node.signal(signal.SIGCONT)
            replica.signal(signal.SIGCONT)
        assert watch.wait_ready(PATIENCE_S), watch.why


def test_a_shard_that_moved_is_read_again(cluster: Cluster, plant: Plant) -> None:
    with BudgetClient.from_url(cluster.url, timeout_ms=5000) as client, client.watch() as watch:
        assert watch.wait_ready(PATIENCE_S), watch.why
        shard = cluster.shards_of(cluster.primaries[0])[0]
        cluster.move(shard, cluster.primaries[1])
        see_every_shard(plant, watch, 1)
        where = watch._reader._read_from
        until(lambda: where[shard] == cluster.primaries[1].place)


def test_a_lease_goes_on_over_a_failover(cluster: Cluster, plant: Plant) -> None:
    shard = cluster.shards_of(cluster.primaries[2])[0]
    given = 0
    with (
        BudgetClient.from_url(cluster.url, timeout_ms=5000) as client,
        client.lease(campaign_of(shard), "100", ttl=60) as lease,
    ):
        for turn in range(60):
            if turn == 30:
                cluster.fail_over(cluster.replicas[2])
            given += bool(lease.try_spend(amount_micros=10))
            time.sleep(0.01)
        until(lambda: given == 60 or lease.try_spend(amount_micros=10))
    spent = plant.live.read_brand(brand_in(shard), 0)
    assert spent is not None and given >= 30
    assert spent.daily_spend in (given * 10, given * 10 + 10)
    assert spent.holds == 0 if hasattr(spent, "holds") else True
    assert not logged(cluster), "leased spends have no event ids"


@pytest.mark.parametrize("apart_ms", [0, 40])
def test_the_time_of_several_servers_is_their_middle(apart_ms: int) -> None:
    clocks = NodeClocks()
    now = time.monotonic()
    for where, ahead in (("a", 0), ("b", apart_ms)):
        clocks.heard(where, now, now + 0.001, int(now * 1000) + 5_000_000 + ahead)
    assert clocks.known
    assert abs(clocks.exact_ms() - (time.monotonic() * 1000 + 5_000_000 + apart_ms / 2)) < 3
    assert apart_ms / 2 <= clocks.error_ms < apart_ms / 2 + 3
    clocks.keep({"a"})
    clocks.heard("a", now, now + 0.001, int(now * 1000) + 5_000_000)
    assert clocks.error_ms < 3
