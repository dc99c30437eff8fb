"""The async client when Redis or the wire fails: nobody hangs, nothing counts twice."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from engine import AsyncBudgetClient, BudgetClient, InvalidId, Spend, Unavailable
from engine.client.aio import sender
from engine.live.admin import LiveRedis
from engine.live.transport import connection
from engine.live.transport.pool import ConnectionPool
from engine.local.servers import EmbeddedServers
from tests.live.plant import CAMPAIGN, Plant
from tests.patience import PATIENCE_S, in_time
from tests.proxy import Proxy


@pytest.fixture
def proxy(hot_port: int) -> Iterator[Proxy]:
    made = Proxy(hot_port)
    yield made
    made.close()


@pytest.fixture
def through(proxy: Proxy, hot_url: str, hot_port: int) -> str:
    return hot_url.replace(f":{hot_port}", f":{proxy.port}")


async def answered(call: Callable[[], Awaitable[Any]]) -> Any:
    """The answer of a call under an id of its own, repeated as a bidder does: a busy machine may need longer than the deadline that is tried here."""
    while True:
        try:
            return await call()
        except Unavailable:
            continue


async def connected(client: AsyncBudgetClient) -> None:
    """A first spend of 1.00, by which the client has its connection and Redis the script."""
    await answered(lambda: client.record_spend(CAMPAIGN, "1", request_id="first"))


async def comes_true(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        await asyncio.sleep(0.005)


def test_a_shared_call_whose_reply_is_lost_is_sent_again_and_counts_once(
    plant: Plant, proxy: Proxy, through: str
) -> None:
    plant.brand()

    async def work() -> list[Any]:
        async with AsyncBudgetClient.from_url(through, timeout_ms=20_000) as client:
            await client.record_spend(CAMPAIGN, "1")
            proxy.lose_replies = 3
            return await asyncio.gather(*(client.record_spend(CAMPAIGN, "1") for _ in range(500)))

    assert {a.outcome for a in asyncio.run(work())} == {"recorded"}
    assert proxy.lose_replies == 0
    assert plant.spent() == 501_000_000


@pytest.mark.parametrize("side", ["request", "reply"])
def test_a_wire_cut_at_any_byte_costs_no_spend_and_counts_none_twice(
    plant: Plant, proxy: Proxy, through: str, side: str
) -> None:
    plant.brand()

    async def work() -> int:
        reported = 0
        async with AsyncBudgetClient.from_url(through, timeout_ms=20_000) as client:
            for after in [1, 2, *random.sample(range(3, 700 if side == "request" else 150), 12)]:
                proxy.cut(side, after)
                both = [client.record_spend(CAMPAIGN, "1", event_id=f"{side}{after}"), client.try_spend(CAMPAIGN, "1")]
                answers = await asyncio.gather(*both, *(client.record_spend(CAMPAIGN, "1") for _ in range(30)))
                assert {a.outcome for a in answers} == {"recorded", "accepted"}
                reported += 32
        return reported

    assert asyncio.run(work()) * 1_000_000 == plant.spent()
    assert proxy.cuts > 5


@pytest.mark.parametrize("later", [False, True])
def test_callers_whose_time_is_over_repeat_their_place_in_the_shared_call_and_each_spend_counts_once(
    plant: Plant, proxy: Proxy, through: str, client: BudgetClient, later: bool
) -> None:
    plant.brand()

    async def work() -> None:
        async with AsyncBudgetClient.from_url(through, timeout_ms=600) as their:
            await connected(their)
            proxy.silent = True
            began = time.monotonic()
            errors = await asyncio.gather(
                *(their.record_spend(CAMPAIGN, amount_micros=1 << i) for i in range(20)), return_exceptions=True
            )
            assert in_time(time.monotonic() - began, 1)
            await comes_true(lambda: plant.spent() == 1_000_000 + (1 << 20) - 1)
            proxy.silent = False
            ids = []
            for error in errors:
                assert isinstance(error, Unavailable) and error.request_id in str(error) and error.answers == [None]
                ids.append(error.request_id)
            assert len(set(ids)) == 20
            with pytest.raises(InvalidId, match="another spend"):
                await their.record_spend(CAMPAIGN, amount_micros=2, request_id=ids[0])
            with pytest.raises(InvalidId, match="another spend"):
                await their.try_spend(CAMPAIGN, amount_micros=1, request_id=ids[0])
            with pytest.raises(InvalidId):
                client.record_spend(CAMPAIGN, amount_micros=1, request_id=ids[0])
            while later and their._sender._flight:  # until the round trip that nobody awaits is broken off
                await asyncio.sleep(0.001)
            for _ in range(2):
                again = await asyncio.gather(
                    *(
                        answered(lambda i=i: their.record_spend(CAMPAIGN, amount_micros=1 << i, request_id=ids[i]))  # type: ignore[misc]
                        for i in range(20)
                    )
                )
                assert {a.outcome for a in again} == {"recorded"}
        async with AsyncBudgetClient.from_url(through) as stranger:
            with pytest.raises(InvalidId, match="does not keep"):
                await stranger.record_spend(CAMPAIGN, amount_micros=1, request_id=ids[0])

    asyncio.run(work())
    assert plant.spent() == 1_000_000 + (1 << 20) - 1


def test_a_place_is_not_repeated_when_redis_may_have_forgotten_its_call(
    plant: Plant, proxy: Proxy, through: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.brand()
    monkeypatch.setattr(sender, "KEPT_S", 0)

    async def work() -> None:
        async with AsyncBudgetClient.from_url(through, timeout_ms=500) as client:
            await connected(client)
            proxy.silent = True
            with pytest.raises(Unavailable) as caught:
                await client.record_spend(CAMPAIGN, "1")
            proxy.silent = False
            with pytest.raises(InvalidId, match="does not keep"):
                await client.record_spend(CAMPAIGN, "1", request_id=caught.value.request_id)

    asyncio.run(work())
    assert plant.spent() == 2_000_000


def test_a_stopped_redis_ends_every_kind_of_call_at_its_deadline_and_repeats_with_own_ids_count_once(
    plant: Plant, plain: redis.Redis, hot_url: str
) -> None:
    plant.brand()

    async def work() -> None:
        async with AsyncBudgetClient.from_url(hot_url, timeout_ms=500) as client:
            await connected(client)
            plain.execute_command("CLIENT", "PAUSE", "9000", "ALL")
            began = time.monotonic()
            calls = (
                client.record_spend(CAMPAIGN, "1"),
                client.try_spend(CAMPAIGN, "1", request_id="mine"),
                client.record_spends([Spend(CAMPAIGN, "1")] * 10, request_id="batch"),
                client.status(CAMPAIGN),
                client.reserve(CAMPAIGN, "1"),
            )
            errors = await asyncio.gather(*calls, return_exceptions=True)
            late = await asyncio.gather(client.record_spend(CAMPAIGN, "1"), return_exceptions=True)
            assert time.monotonic() - began < 8.5, "before Redis went on"
            for error in (*errors, *late):
                assert isinstance(error, Unavailable)
            assert isinstance(errors[1], Unavailable) and errors[1].request_id == "mine"
            assert isinstance(errors[2], Unavailable) and errors[2].answers == [None] * 10
            with redis.Redis.from_url(hot_url, socket_timeout=PATIENCE_S) as patient:
                await asyncio.to_thread(patient.ping)  # answered when Redis goes on
            first, last = errors[0], late[0]
            assert isinstance(first, Unavailable) and isinstance(last, Unavailable)
            await answered(lambda: client.record_spend(CAMPAIGN, "1", request_id=first.request_id))
            await answered(lambda: client.record_spend(CAMPAIGN, "1", request_id=last.request_id))
            await answered(lambda: client.try_spend(CAMPAIGN, "1", request_id="mine"))
            await answered(lambda: client.record_spends([Spend(CAMPAIGN, "1")] * 10, request_id="batch"))

    asyncio.run(work())
    assert plant.spent() == 14_000_000


def test_nothing_listening_ends_the_call_at_its_deadline_and_closing_does_not_hang() -> None:
    async def work() -> None:
        async with AsyncBudgetClient.from_url("redis://:secret@127.0.0.1:1", timeout_ms=150) as client:
            began = time.monotonic()
            with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1") as caught:
                await client.record_spend(CAMPAIGN, "1")
            assert "secret" not in str(caught.value)
            waiting = asyncio.ensure_future(client.record_spend(CAMPAIGN, "1"))
            await asyncio.sleep(0)
            await client.aclose()
            with pytest.raises(Unavailable):
                await waiting
            assert in_time(time.monotonic() - began, 1)

    asyncio.run(work())


@pytest.mark.parametrize("protocol", [2, 3])
def test_without_hiredis_every_spend_counts_once_all_the_same(
    plant: Plant, plain: redis.Redis, hot_url: str, monkeypatch: pytest.MonkeyPatch, protocol: int
) -> None:
    plant.brand()
    monkeypatch.setattr(connection, "Reader", None)
    monkeypatch.setattr(
        redis.asyncio.connection,
        "DefaultParser",
        redis._parsers._AsyncRESP2Parser if protocol == 2 else redis._parsers._AsyncRESP3Parser,
    )

    async def work() -> None:
        async with AsyncBudgetClient.from_url(f"{hot_url}?protocol={protocol}", timeout_ms=20_000) as client:
            for _ in range(3):
                answers = await asyncio.gather(*(client.record_spend(CAMPAIGN, "1") for _ in range(50)))
                assert {a.outcome for a in answers} == {"recorded"}
                plain.script_flush()

    asyncio.run(work())
    assert plant.spent() == 150_000_000


def test_a_redis_that_is_killed_and_started_again_costs_no_spend_and_counts_none_twice(tmp_path: Path) -> None:
    servers = EmbeddedServers(tmp_path / "data")
    try:
        url = servers.start().hot
        plain = redis.Redis.from_url(url)
        plain.config_set("appendfsync", "always")
        plant = Plant(LiveRedis(ConnectionPool(url)), plain)
        plant.brand()
        server = next(server for server in servers.all if f":{server.port}" in url)

        async def work() -> int:
            reported, ended = 0, asyncio.Event()

            async def report() -> None:
                nonlocal reported
                while not ended.is_set():
                    answers = await asyncio.gather(*(client.record_spend(CAMPAIGN, "1") for _ in range(20)))
                    reported += sum(answer.outcome == "recorded" for answer in answers)

            async with AsyncBudgetClient.from_url(url, timeout_ms=30_000) as client:
                reports = [asyncio.create_task(report()) for _ in range(5)]
                for _ in range(2):
                    seen = reported
                    while reported < seen + 1000:
                        await asyncio.sleep(0.01)
                    assert server.process is not None
                    server.process.kill()
                    while server.alive:
                        await asyncio.sleep(0.01)
                    server.launch()
                    server.wait(lambda: False)
                seen = reported
                while reported < seen + 1000:
                    await asyncio.sleep(0.01)
                ended.set()
                await asyncio.gather(*reports)
            return reported

        assert asyncio.run(work()) * 1_000_000 == plant.spent()
    finally:
        servers.remove()


def test_who_asks_again_at_once_behind_a_silent_round_trip_is_ended_at_his_deadline_too(
    plant: Plant, proxy: Proxy, through: str
) -> None:
    plant.brand()

    async def main() -> None:
        async with AsyncBudgetClient.from_url(through, timeout_ms=500) as client:
            await connected(client)
            proxy.silent = True

            async def refused_after() -> float:
                began = asyncio.get_running_loop().time()
                with pytest.raises(Unavailable):
                    await asyncio.wait_for(client.record_spend(CAMPAIGN, amount_micros=1), PATIENCE_S)
                return asyncio.get_running_loop().time() - began

            async def twice() -> list[float]:
                return [await refused_after(), await refused_after()]

            in_flight = asyncio.create_task(refused_after())
            await asyncio.sleep(0.002)
            assert in_time(max([*await twice(), await in_flight]), 0.5)
            proxy.silent = False

    asyncio.run(main())


def test_a_repeat_that_found_redis_not_ready_asks_again_and_learns_that_it_was_counted(
    plant: Plant, plain: redis.Redis, proxy: Proxy, through: str
) -> None:
    plant.brand()

    async def main() -> list[str]:
        async with AsyncBudgetClient.from_url(through, timeout_ms=1500) as client:
            await connected(client)
            proxy.silent = True
            with pytest.raises(Unavailable) as caught:
                await client.record_spend(CAMPAIGN, amount_micros=5)
            proxy.silent = False
            kept: dict[Any, Any] = {key: plain.dump(key) for key in plain.keys("*")}
            plain.flushall()
            told = [await client.record_spend(CAMPAIGN, amount_micros=5, request_id=caught.value.request_id)]
            for key, dumped in kept.items():
                plain.restore(key, 0, dumped, replace=True)
            for _ in range(2):
                told.append(await client.record_spend(CAMPAIGN, amount_micros=5, request_id=caught.value.request_id))
            return [answer.outcome for answer in told]

    assert asyncio.run(main()) == ["not_ready", "recorded", "recorded"]
    assert plant.spent() == 1_000_005
