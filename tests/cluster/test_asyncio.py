"""Fault 12 under asyncio: awaited spends find their node while slots move, primaries are replaced and die, and a node that hangs delays no other's."""

from __future__ import annotations

import asyncio
import signal
import threading
import time

import pytest

from engine import AsyncBudgetClient, Spend, Unavailable
from engine.live.admin import LiveRedis
from tests.cluster.load import TIMEOUT_MS, Account, campaign_of, counted, figures, logged
from tests.cluster.servers import Cluster, until
from tests.cluster.test_faults import CROWD, LONG, Promotion
from tests.live.plant import Plant

pytestmark = pytest.mark.timeout(120 * LONG)


class AsyncLoad(threading.Thread):
    """Tasks that spend one by one, and one that sends batches, in an event loop of a thread."""

    def __init__(self, url: str, shards: list[int], tasks: int = 16) -> None:
        super().__init__()
        self.account = Account()
        self._url, self._shards, self._tasks = url, shards, tasks
        self._ending = threading.Event()

    def __enter__(self) -> AsyncLoad:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ending.set()
        self.join()
        assert not self.account.errors, self.account.errors

    def run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            self.account.errors.append(error)

    async def _main(self) -> None:
        async with AsyncBudgetClient.from_url(self._url, timeout_ms=TIMEOUT_MS) as client:
            await asyncio.gather(*(self._single(client, number) for number in range(self._tasks)), self._batch(client))

    async def _single(self, client: AsyncBudgetClient, number: int) -> None:
        count = 0
        while not self._ending.is_set():
            shard = self._shards[(count * self._tasks + number) % len(self._shards)]
            event, began = f"a-{number}-{count}", time.monotonic()
            result = await client.record_spend(campaign_of(shard), amount_micros=1, event_id=event)
            ms = (time.monotonic() - began) * 1000
            self.account.longest_ms[shard] = max(self.account.longest_ms.get(shard, 0.0), ms)
            assert result.outcome in ("recorded", "duplicate"), result
            self.account.acknowledged.add(event)
            count += 1

    async def _batch(self, client: AsyncBudgetClient) -> None:
        count = 0
        while not self._ending.is_set():
            events = [f"ab-{count}-{shard}" for shard in self._shards]
            spends = [
                Spend(campaign_of(s), amount_micros=1, event_id=e) for s, e in zip(self._shards, events, strict=True)
            ]
            results = await client.record_spends(spends)
            assert {r.outcome for r in results} <= {"recorded", "duplicate"}
            self.account.acknowledged.update(events)
            count += 1
            await asyncio.sleep(0.02)


def test_awaited_spends_follow_slots_and_primaries(cluster: Cluster, plant: Plant, live: LiveRedis) -> None:
    moved = cluster.shards_of(cluster.primaries[0])[: 2 * LONG]
    pair = cluster.primaries[2], cluster.replicas[2]
    with AsyncLoad(cluster.url, list(range(64))) as load:
        time.sleep(0.3)
        for to in (cluster.primaries[1], cluster.primaries[0]):
            for shard in moved:
                cluster.move(shard, to)
        for node in reversed(pair):
            cluster.fail_over(node)
        time.sleep(0.3)
    figures("asyncio: slots moved and failovers by hand", load.account, logged(cluster))
    assert counted(live) == len(logged(cluster))
    assert load.account.longest() < 250 * CROWD


@pytest.mark.parametrize("frozen", [False, True])
def test_awaited_spends_outlive_a_primary_and_others_do_not_wait(
    cluster: Cluster, plant: Plant, live: LiveRedis, frozen: bool
) -> None:
    node, heir = cluster.primaries[0], cluster.replicas[0]
    mine = cluster.shards_of(node)
    others = [shard for shard in range(64) if shard not in mine]
    account = Account()

    async def main() -> tuple[float, Promotion]:
        async with AsyncBudgetClient.from_url(cluster.url, timeout_ms=TIMEOUT_MS) as client:
            assert (await client.record_spend(campaign_of(mine[0]), amount_micros=1, event_id="before")).outcome
            node.wait_for_replica()
            account.acknowledged.add("before")
            node.signal(signal.SIGSTOP) if frozen else node.kill()
            promotion, began = Promotion(heir), time.monotonic()
            late = [
                asyncio.ensure_future(client.record_spend(campaign_of(s), amount_micros=1, event_id=f"late-{s}"))
                for s in mine
            ]
            longest, count = 0.0, 0
            while not all(task.done() for task in late):
                one = time.monotonic()
                shard = others[count % len(others)]
                await client.record_spend(campaign_of(shard), amount_micros=1, event_id=f"other-{count}")
                account.acknowledged.add(f"other-{count}")
                longest, count = max(longest, time.monotonic() - one), count + 1
            account.longest_ms[0] = longest * 1000
            account.acknowledged.update(f"late-{s}" for s in mine)
            return time.monotonic() - began, promotion

    try:
        away_s, promotion = asyncio.run(main())
    finally:
        if frozen:
            node.signal(signal.SIGCONT)
    promotion.join()
    if frozen:
        until(lambda: node.role() == "slave")
    more = {"away": f"{away_s:.2f} s", "promoted_after": f"{promotion.took_s:.2f} s"}
    figures(f"asyncio: {'frozen' if frozen else 'kill -9'}", account, logged(cluster), **more)
    assert counted(live) == len(logged(cluster))
    assert away_s < promotion.took_s + 0.5 * CROWD
    assert account.longest() < 250 * CROWD, "spends of other nodes do not wait"


def test_a_node_that_hangs_is_named_and_a_spend_that_timed_out_can_be_repeated(cluster: Cluster, plant: Plant) -> None:
    node = cluster.primaries[1]
    shard = cluster.shards_of(node)[0]

    async def main() -> None:
        async with AsyncBudgetClient.from_url(cluster.url, timeout_ms=300) as client:
            await client.record_spend(campaign_of(shard), amount_micros=1)
            node.signal(signal.SIGSTOP)
            try:
                with pytest.raises(Unavailable, match=node.place) as away:
                    await client.record_spend(campaign_of(shard), amount_micros=1, event_id="again")
            finally:
                node.signal(signal.SIGCONT)
            until(node.answers)
            result = await client.record_spend(
                campaign_of(shard), amount_micros=1, event_id="again", request_id=away.value.request_id
            )
            assert result.outcome == "recorded"

    asyncio.run(main())
    assert logged(cluster)["again"] == 1


def test_a_cluster_that_is_nowhere_is_said_so() -> None:
    async def main() -> None:
        async with AsyncBudgetClient.from_url("redis+cluster://127.0.0.1:1", timeout_ms=300) as client:
            with pytest.raises(Unavailable, match="no node of Redis cluster 127.0.0.1:1 answers"):
                await client.record_spend(campaign_of(1), amount_micros=1)

    asyncio.run(main())
