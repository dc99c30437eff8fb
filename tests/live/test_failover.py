"""A primary that becomes a replica under open connections: calls go to the new primary within their deadline, and each spend counts once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from engine import AsyncBudgetClient, BudgetClient, Spend, Unavailable
from engine.live.admin import LiveRedis
from engine.live.transport.pool import ConnectionPool
from tests.live.plant import CAMPAIGN, Plant
from tests.patience import PATIENCE_S
from tests.proxy import Proxy

TIMEOUT_MS = int(PATIENCE_S * 1000)


@pytest.fixture
def proxy(hot_port: int) -> Iterator[Proxy]:
    made = Proxy(hot_port)
    yield made
    made.close()


@pytest.fixture
def through(proxy: Proxy, hot_url: str, hot_port: int) -> str:
    return hot_url.replace(f":{hot_port}", f":{proxy.port}")


@pytest.fixture
def demote(plain: redis.Redis) -> Iterator[Any]:
    """Makes the hot Redis a replica of a server that nobody reaches: it keeps its data, and refuses writes."""
    yield lambda: plain.replicaof("127.0.0.1", 1)
    plain.replicaof("NO", "ONE")


@pytest.fixture
def other(jobs_redis: redis.Redis, hot_url: str, servers: Any) -> Iterator[Plant]:
    """The new primary: another server, which takes the same password."""
    password = urlsplit(hot_url).password
    jobs_redis.acl_setuser("default", enabled=True, passwords=[f"+{password}"])
    wire = ConnectionPool(servers.jobs)
    yield Plant(LiveRedis(wire), jobs_redis)
    wire.close()
    jobs_redis.acl_setuser("default", enabled=True, passwords=[f"-{password}"])
    jobs_redis.flushdb()


def test_a_spend_during_a_demotion_counts_once_when_the_primary_is_back(
    plant: Plant, demote: Any, hot_url: str
) -> None:
    plant.brand()
    with BudgetClient.from_url(hot_url, timeout_ms=TIMEOUT_MS) as client:
        client.record_spend(CAMPAIGN, "1")
        demote()
        back = threading.Timer(0.3, plant.plain.replicaof, ("NO", "ONE"))
        back.start()
        assert client.record_spend(CAMPAIGN, "1", event_id="win-1").outcome == "recorded"
        assert {each.outcome for each in client.record_spends([Spend(CAMPAIGN, "1")] * 30)} == {"recorded"}
        back.join()
    assert plant.spent() == 32_000_000


def test_open_connections_to_a_demoted_primary_are_left_and_the_new_primary_is_found(
    plant: Plant, other: Plant, demote: Any, proxy: Proxy, through: str
) -> None:
    plant.brand()
    other.brand()
    with BudgetClient.from_url(through, timeout_ms=TIMEOUT_MS) as client:
        client.record_spend(CAMPAIGN, "1")
        demote()
        proxy.target = other.plain.connection_pool.connection_kwargs["port"]
        assert client.record_spend(CAMPAIGN, "1").outcome == "recorded"
        assert client.try_spend(CAMPAIGN, "1").outcome == "accepted"
    assert (plant.spent(), other.spent()) == (1_000_000, 2_000_000)


def test_awaited_spends_leave_a_demoted_primary_too(
    plant: Plant, other: Plant, demote: Any, proxy: Proxy, through: str
) -> None:
    plant.brand()
    other.brand()

    async def main() -> list[str]:
        async with AsyncBudgetClient.from_url(through, timeout_ms=TIMEOUT_MS) as client:
            await client.record_spend(CAMPAIGN, "1")
            demote()
            proxy.target = other.plain.connection_pool.connection_kwargs["port"]
            answers = await asyncio.gather(*(client.record_spend(CAMPAIGN, "1") for _ in range(50)))
            return sorted({answer.outcome for answer in answers})

    assert asyncio.run(main()) == ["recorded"]
    assert (plant.spent(), other.spent()) == (1_000_000, 50_000_000)


def test_a_redis_that_stays_a_replica_is_named_at_the_deadline(plant: Plant, demote: Any, hot_url: str) -> None:
    plant.brand()
    demote()
    with BudgetClient.from_url(hot_url, timeout_ms=300) as client:
        began = time.monotonic()
        with pytest.raises(Unavailable, match=r"is a read-only replica: point REDIS_URL at the primary"):
            client.record_spend(CAMPAIGN, "1")
        assert time.monotonic() - began >= 0.3, "it was tried until the deadline"

    async def main() -> None:
        async with AsyncBudgetClient.from_url(hot_url, timeout_ms=300) as client:
            with pytest.raises(Unavailable, match=r"is a read-only replica"):
                await client.record_spend(CAMPAIGN, "1")

    asyncio.run(main())
    assert plant.spent() == 0
