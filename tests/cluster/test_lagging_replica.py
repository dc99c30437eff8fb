"""A replica that lacks what its primary acknowledged last takes over: clients send it again, and nothing is lost."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from engine import AsyncBudgetClient, BudgetClient
from engine.live.admin import LiveRedis
from tests.cluster.load import TIMEOUT_MS, Account, Load, campaign_of, counted, figures, logged
from tests.cluster.servers import Cluster, until
from tests.live.plant import Plant
from tests.patience import PATIENCE_S

BEHIND_S = 1.5


def lag_and_die(cluster: Cluster) -> None:
    """The first replica stands still for a while; then its primary dies, and it takes over with what it has."""
    dead, heir = cluster.primaries[0], cluster.replicas[0]
    heir.kill()
    time.sleep(BEHIND_S)
    dead.kill()
    heir.start()
    taken_over(cluster)


def taken_over(cluster: Cluster) -> None:
    """Waits until the first replica is the primary, and every node knows."""
    until(lambda: cluster.replicas[0].role() == "master")
    until(lambda: all(cluster.owner(shard) is not cluster.primaries[0] for shard in range(64)))


def all_there(cluster: Cluster, account: Account) -> Counter[str]:
    """The journals, once they have all that was acknowledged, or when time is up."""
    deadline = time.monotonic() + PATIENCE_S
    while account.acknowledged - (found := logged(cluster)).keys() and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


@pytest.mark.timeout(180)
def test_what_a_lagging_replica_never_had_is_sent_again_and_counts_once(
    cluster: Cluster, plant: Plant, live: LiveRedis
) -> None:
    with Load(cluster.url) as load:
        time.sleep(0.5)
        lag_and_die(cluster)
        time.sleep(0.5)
        account = load.account
        there = set(account.acknowledged)
        deadline = time.monotonic() + PATIENCE_S
        while there - logged(cluster).keys() and time.monotonic() < deadline:
            time.sleep(0.2)
    figures("a replica behind", account, all_there(cluster, account))
    assert counted(live) == len(logged(cluster)), "the counters are the sum of the journals"


@pytest.mark.long
@pytest.mark.timeout(180)
def test_without_sending_again_a_lagging_replica_loses_money(cluster: Cluster, plant: Plant) -> None:
    shard = cluster.shards_of(cluster.primaries[0])[0]
    with BudgetClient.from_url(cluster.url, TIMEOUT_MS, resend_s=0) as client:
        client.record_spend(campaign_of(shard), amount_micros=1, event_id="early")
        cluster.primaries[0].wait_for_replica()
        cluster.replicas[0].kill()
        client.record_spend(campaign_of(shard), amount_micros=1, event_id="late")
        cluster.primaries[0].kill()
        cluster.replicas[0].start()
        taken_over(cluster)
        client.record_spend(campaign_of(shard), amount_micros=1, event_id="after")
    assert logged(cluster).keys() >= {"early", "after"}
    assert "late" not in logged(cluster), "else the tests of this file show nothing"


@pytest.mark.timeout(180)
def test_an_awaited_spend_that_a_lagging_replica_never_had_counts_once(cluster: Cluster, plant: Plant) -> None:
    shard = cluster.shards_of(cluster.primaries[0])[0]
    account = Account()

    async def spend(client: AsyncBudgetClient, event: str) -> None:
        assert await client.record_spend(campaign_of(shard), amount_micros=1, event_id=event)
        account.acknowledged.add(event)

    async def work() -> Counter[str]:
        async with AsyncBudgetClient.from_url(cluster.url, TIMEOUT_MS) as client:
            await asyncio.gather(*(spend(client, f"early-{i}") for i in range(20)))
            await asyncio.sleep(0.5)
            cluster.replicas[0].kill()
            await asyncio.gather(*(spend(client, f"late-{i}") for i in range(20)))
            cluster.primaries[0].kill()
            cluster.replicas[0].start()
            await spend(client, "after")
            await asyncio.to_thread(taken_over, cluster)
            return await asyncio.to_thread(all_there, cluster, account)

    figures("awaited, a replica behind", account, asyncio.run(work()))
