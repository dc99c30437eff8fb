"""The async client's connections: made late, closed, given scripts anew, shared by calls of both kinds."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
import redis
import redis.asyncio

from engine import AsyncBudgetClient, BudgetError, Unavailable
from tests.live.plant import CAMPAIGN, Plant
from tests.patience import in_time


async def relay(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What comes in goes to Redis, and back."""
    from_redis, to_redis = await asyncio.open_connection("127.0.0.1", port)

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            target.write(data)
        target.close()

    await asyncio.gather(pump(reader, to_redis), pump(from_redis, writer))


def test_a_spend_that_was_cancelled_before_there_was_a_connection_is_never_counted(
    plant: Plant, hot_url: str, hot_port: int
) -> None:
    plant.brand()

    async def main() -> None:
        closed = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        port = closed.sockets[0].getsockname()[1]
        closed.close()
        url = hot_url.replace(f":{hot_port}", f":{port}")
        async with AsyncBudgetClient.from_url(url, timeout_ms=20_000) as client:
            given_up = asyncio.create_task(client.record_spend(CAMPAIGN, amount_micros=1000))
            stays = asyncio.create_task(client.record_spend(CAMPAIGN, amount_micros=1))
            await asyncio.sleep(0.1)
            given_up.cancel()
            await asyncio.sleep(0.05)
            await asyncio.start_server(lambda reader, writer: relay(hot_port, reader, writer), "127.0.0.1", port)
            assert (await stays).outcome == "recorded"

    asyncio.run(main())
    assert plant.spent() == 1


def test_spends_with_and_without_event_ids_in_turn_share_a_few_calls(
    plant: Plant, plain: redis.Redis, hot_url: str
) -> None:
    plant.brand()

    async def main() -> None:
        async with AsyncBudgetClient.from_url(hot_url, timeout_ms=20_000) as client:
            await client.record_spend(CAMPAIGN, amount_micros=1)
            plain.config_resetstat()
            calls = (
                client.record_spend(CAMPAIGN, amount_micros=1, event_id=f"e{i}" if i % 2 else None) for i in range(1000)
            )
            assert {answer.outcome for answer in await asyncio.gather(*calls)} == {"recorded"}

    asyncio.run(main())
    stats: Any = plain.info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] <= 10
    assert plant.spent() == 1001


def test_closing_on_another_event_loop_is_refused_in_one_line(plant: Plant, hot_url: str) -> None:
    plant.brand()
    client = AsyncBudgetClient.from_url(hot_url)
    asyncio.run(client.record_spend(CAMPAIGN, amount_micros=1))  # type: ignore[arg-type]  # its coroutine
    with pytest.raises(BudgetError, match="another event loop"):
        asyncio.run(client.aclose())


def test_a_wrong_password_is_said_at_once(hot_port: int) -> None:
    async def work() -> None:
        async with AsyncBudgetClient.from_url(f"redis://:wrong@127.0.0.1:{hot_port}", timeout_ms=10_000) as client:
            began = time.monotonic()
            with pytest.raises(Unavailable, match="refuses the login"):
                await client.record_spend(CAMPAIGN, "1")
            assert in_time(time.monotonic() - began, 2)

    asyncio.run(work())


def test_scripts_that_redis_forgot_and_connections_that_it_closed_cost_no_spend(
    plant: Plant, plain: redis.Redis, hot_url: str
) -> None:
    plant.brand()

    async def work() -> None:
        async with AsyncBudgetClient.from_url(hot_url, timeout_ms=20_000) as client:
            for turn in range(10):
                await asyncio.gather(*(client.record_spend(CAMPAIGN, "1") for _ in range(50)))
                plain.script_flush()
                if turn % 2:
                    plain.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    asyncio.run(work())
    assert plant.spent() == 500_000_000
