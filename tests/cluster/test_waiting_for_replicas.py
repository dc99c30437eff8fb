"""BUDGET_WAIT_REPLICAS: a counted spend says whether a replica has it. A replica that is away delays, and refuses nothing."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from engine import AsyncBudgetClient, BudgetClient, BudgetError, InvalidInput, Spend
from engine.client.resend import ResendingTransport
from engine.live.admin import LiveRedis
from engine.live.replies import Answered
from engine.live.transport.held import confirmed
from tests.cluster.load import brand_in, campaign_of, logged
from tests.cluster.servers import PASSWORD, Cluster, Node, until
from tests.live.plant import Plant
from tests.patience import in_time

pytestmark = pytest.mark.timeout(120)
TIMEOUT_MS = 1500
"""Of calls that a replica keeps waiting to their end. The others have to be through by then on a busy machine too."""


@pytest.fixture
def frozen(cluster: Cluster, plant: Plant) -> Iterator[Node]:
    """The replica of the first primary, which says nothing."""
    node = cluster.replicas[0]
    cluster.primaries[0].wait_for_replica()
    node.signal(signal.SIGSTOP)
    yield node
    node.signal(signal.SIGCONT)


def commands(cluster: Cluster, name: str) -> list[int]:
    """How often each primary was given a command."""
    stats = [node.plain.info("commandstats") for node in cluster.primaries]
    return [int(each.get(f"cmdstat_{name}", {"calls": 0})["calls"]) for each in stats]


def calls_of(cluster: Cluster, name: str, before: Sequence[int]) -> list[int]:
    return [now - then for now, then in zip(commands(cluster, name), before, strict=True)]


def over_all(name: str) -> list[Spend]:
    return [Spend(campaign_of(shard), amount_micros=1, event_id=f"{name}-{shard}") for shard in range(64)]


def test_every_counted_call_is_replicated_and_a_batch_asks_each_node_once(cluster: Cluster, plant: Plant) -> None:
    campaign = campaign_of(7)
    with BudgetClient.from_url(cluster.url, 20_000, wait_replicas=1) as client:
        first: list[Answered] = [
            client.record_spend(campaign, "1", event_id="one"),
            client.record_spend(campaign, "1", event_id="one"),
            client.try_spend(campaign, "1"),
            held := client.reserve(campaign, "1"),
            client.settle(held.hold_id, "1"),
            client.refund(campaign, "1", "one"),
        ]
        assert [(bool(each), each.replicated) for each in first] == [(True, True)] * 6
        assert "replicated=True" in repr(first[0])
        before = commands(cluster, "wait")
        assert {each.replicated for each in client.record_spends(over_all("list"))} == {True}
        assert calls_of(cluster, "wait", before) == [1, 1, 1]
        told = client.record_spend_columns([campaign_of(shard) for shard in range(64)], [1] * 64)
        assert (told.replicated, told[3].replicated) == (True, True)
        assert client.status(campaign)
        plant.brand(brand_id=brand_in(7), version=2, daily="0")
        refused = client.try_spend(campaign, "1")
        assert (refused.outcome, refused.replicated) == ("refused", None), "nothing was counted"


def test_who_does_not_wait_asks_no_replica(cluster: Cluster, plant: Plant) -> None:
    before = commands(cluster, "wait")
    with BudgetClient.from_url(cluster.url, 20_000) as client:
        assert client.record_spend(campaign_of(7), "1").replicated is None
        assert {each.replicated for each in client.record_spends(over_all("list"))} == {None}
        assert client.record_spend_columns([campaign_of(7)], [1]).replicated is None
    assert calls_of(cluster, "wait", before) == [0, 0, 0]


def test_a_frozen_replica_delays_a_spend_to_its_deadline_and_the_spend_counts_once(
    cluster: Cluster, live: LiveRedis, frozen: Node
) -> None:
    mine = cluster.shards_of(cluster.primaries[0])
    one, other = mine[0], next(shard for shard in range(64) if shard not in mine)
    with (
        BudgetClient.from_url(cluster.url, TIMEOUT_MS, resend_s=0, wait_replicas=1) as client,
        BudgetClient.from_url(cluster.primaries[0].url, TIMEOUT_MS, wait_replicas=1) as plain,
    ):
        assert client.record_spend(campaign_of(other), amount_micros=1, event_id="other").replicated is True
        for name, each in (("routed", client), ("plain", plain)):
            each.try_spend(campaign_of(one), amount_micros=1, event_id=f"{name}-script")  # the scripts are there
            before, began = commands(cluster, "evalsha"), time.monotonic()
            try:
                result = each.try_spend(campaign_of(one), amount_micros=1, event_id=name)
            except BudgetError as error:
                raise AssertionError(f"{name}: {error}") from None
            took_s = time.monotonic() - began
            assert (result.outcome, bool(result), result.replicated) == ("accepted", True, False)
            assert took_s >= TIMEOUT_MS / 1000 * 0.9 and in_time(took_s, TIMEOUT_MS / 1000)
            assert calls_of(cluster, "evalsha", before)[0] == 1, "nothing was sent twice"
        answers = client.record_spends(over_all("list"))
        assert {each.outcome for each in answers} == {"recorded"}
        assert [shard for shard, each in enumerate(answers) if not each.replicated] == mine
        told = client.record_spend_columns([campaign_of(one), campaign_of(other)], [1, 1])
        assert (bool(told), told.replicated, told[0].replicated, told[1].replicated) == (True, False, False, True)
        frozen.signal(signal.SIGCONT)
        until(lambda: client.record_spend(campaign_of(one), amount_micros=1).replicated)
    assert set(logged(cluster).values()) == {1}


def test_an_absent_replica_is_said_and_more_replicas_than_there_are_as_well(cluster: Cluster, plant: Plant) -> None:
    mine = cluster.shards_of(cluster.primaries[0])
    cluster.replicas[0].kill()
    until(lambda: cluster.primaries[0].plain.info("replication")["connected_slaves"] == 0)
    with BudgetClient.from_url(cluster.url, TIMEOUT_MS, wait_replicas=1) as client:
        answers = client.record_spends(over_all("absent"))
        assert {each.outcome for each in answers} == {"recorded"}
        assert [shard for shard, each in enumerate(answers) if not each.replicated] == mine
    with BudgetClient.from_url(cluster.url, TIMEOUT_MS, wait_replicas=2) as client:
        assert {each.replicated for each in client.record_spends(over_all("two"))} == {False}
    assert [confirmed(replicas, 2, "here") for replicas in range(4)] == [False, False, True, True]
    assert set(logged(cluster).values()) == {1}


def test_a_primary_that_dies_while_its_replica_is_waited_for_has_counted_the_spend(
    cluster: Cluster, frozen: Node
) -> None:
    dead, shard = cluster.primaries[0], cluster.shards_of(cluster.primaries[0])[0]
    with BudgetClient.from_url(cluster.url, 20_000, resend_s=0, wait_replicas=1) as client:
        client.status(campaign_of(shard))

        def waits() -> bool:
            return int(dead.plain.info("clients")["blocked_clients"]) > 0

        def die_while_it_waits() -> None:
            until(lambda: waits() and waits())  # at the second look the answer of the script has been sent
            dead.kill()

        death = threading.Thread(target=die_while_it_waits)
        began = time.monotonic()
        death.start()
        result = client.record_spend(campaign_of(shard), amount_micros=1, event_id="last")
        death.join()
        assert (result.outcome, result.replicated) == ("recorded", False)
        assert time.monotonic() - began < 15, "it does not wait to its end for a server that is gone"


def test_a_call_is_kept_before_its_replica_is_waited_for(cluster: Cluster, frozen: Node) -> None:
    """Else a primary that freezes while it is asked takes the call along: the look at the shards would come too early."""
    shard = cluster.shards_of(cluster.primaries[0])[0]
    with BudgetClient.from_url(cluster.url, 20_000, resend_s=30, wait_replicas=1) as client:
        waiting = threading.Thread(target=client.record_spend, args=(campaign_of(shard), "1"))
        waiting.start()
        wire: Any = client._wire
        while not isinstance(wire, ResendingTransport):
            wire = wire._inner
        until(lambda: any(each.calls for each in list(wire._kept._shards.values())))
        assert waiting.is_alive()
        frozen.signal(signal.SIGCONT)  # or it would wait to the end of its time
        waiting.join()


def test_a_login_that_may_not_ask_has_its_spends_counted_and_is_told_in_the_log(
    cluster: Cluster, plant: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    node = cluster.primaries[0]
    for each in cluster.nodes:
        each.plain.execute_command("ACL", "SETUSER", "mute", "on", f">{PASSWORD}", "~*", "&*", "+@all", "-wait")
    url = cluster.url.replace("://:", "://mute:")
    with (
        caplog.at_level(logging.WARNING, "engine.client"),
        BudgetClient.from_url(url, 20_000, wait_replicas=1) as client,
    ):
        result = client.record_spend(campaign_of(cluster.shards_of(node)[0]), "1")
        assert (result.outcome, result.replicated) == ("recorded", False)
    assert f"Redis at {node.place} does not say which replicas have a call" in caplog.text


def test_awaited_spends_say_so_too_and_one_question_serves_all_of_a_round_trip(cluster: Cluster, plant: Plant) -> None:
    shard = cluster.shards_of(cluster.primaries[0])[0]
    campaign = campaign_of(shard)

    async def main() -> None:
        async with AsyncBudgetClient.from_url(cluster.url, 20_000, wait_replicas=1) as client:
            await client.record_spend(campaign, "1")
            before = commands(cluster, "wait")
            results = await asyncio.gather(*(client.record_spend(campaign, "1") for _ in range(200)))
            assert {each.replicated for each in results} == {True}
            assert calls_of(cluster, "wait", before)[0] <= 3, "not one a spend"
            held = await client.reserve(campaign, "1")
            own = await client.record_spend(campaign, "1", request_id="mine")
            assert (held.replicated, own.replicated) == (True, True)
            assert {each.replicated for each in await client.record_spends(over_all("list"))} == {True}
            assert (await client.record_spend_columns([campaign], [1])).replicated is True
            assert await client.status(campaign)

    asyncio.run(main())


def test_awaited_spends_over_a_frozen_replica_are_counted_and_those_behind_them_too(
    cluster: Cluster, frozen: Node
) -> None:
    mine = cluster.shards_of(cluster.primaries[0])
    one, other = campaign_of(mine[0]), campaign_of(next(shard for shard in range(64) if shard not in mine))

    async def main() -> None:
        async with AsyncBudgetClient.from_url(cluster.url, TIMEOUT_MS, wait_replicas=1) as client:
            assert (await client.record_spend(other, "1")).replicated is True
            early = [asyncio.ensure_future(client.record_spend(one, "1", event_id=f"early-{i}")) for i in range(10)]
            await asyncio.sleep(0.1)
            late = [asyncio.ensure_future(client.record_spend(one, "1", event_id=f"late-{i}")) for i in range(10)]
            results = await asyncio.gather(*early, *late)
            assert {(each.outcome, each.replicated) for each in results} == {("recorded", False)}
            answers = await client.record_spends(over_all("list"))
            assert [shard for shard, each in enumerate(answers) if not each.replicated] == mine

    asyncio.run(main())
    found = logged(cluster)
    assert all(found[f"{name}-{i}"] == 1 for name in ("early", "late") for i in range(10))


@pytest.mark.parametrize("odd", [-1, 11, "1", True, None, 1.0])
def test_a_number_of_replicas_that_is_none_is_refused(odd: Any) -> None:
    with pytest.raises(InvalidInput, match="wait_replicas"):
        BudgetClient.from_url("redis://localhost", wait_replicas=odd)
    with pytest.raises(InvalidInput, match="wait_replicas"):
        AsyncBudgetClient.from_url("redis://localhost", wait_replicas=odd)


def test_the_environment_names_the_number(cluster: Cluster, plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", cluster.url)
    monkeypatch.setenv("BUDGET_WAIT_REPLICAS", "1")
    with BudgetClient.from_env(20_000) as client:
        assert client.record_spend(campaign_of(1), "1").replicated is True
    with BudgetClient.from_env(20_000, wait_replicas=0) as client:
        assert client.record_spend(campaign_of(1), "1").replicated is None

    async def main() -> None:
        async with AsyncBudgetClient.from_env(20_000) as client:
            assert (await client.record_spend(campaign_of(1), "1")).replicated is True

    asyncio.run(main())
