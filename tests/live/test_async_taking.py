"""A call of the async client is taken when it is made, and may be awaited in any way that asyncio knows."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import pytest

from engine import AsyncBudgetClient, BudgetError, InvalidInput, Overloaded, Spend, Unavailable
from tests.live.plant import CAMPAIGN, Plant
from tests.proxy import Proxy

Call = Callable[[AsyncBudgetClient], Coroutine[Any, Any, Any]]

CALLS: dict[str, Call] = {
    "record_spend": lambda client: client.record_spend(CAMPAIGN, "1"),
    "try_spend": lambda client: client.try_spend(CAMPAIGN, "1"),
    "event_id": lambda client: client.try_spend(CAMPAIGN, "1", event_id="e"),
    "request_id": lambda client: client.record_spend(CAMPAIGN, "1", request_id="r"),
    "record_spends": lambda client: client.record_spends([Spend(CAMPAIGN, "1")]),
    "reserve": lambda client: client.reserve(CAMPAIGN, "1", hold_id="h"),
}


async def in_a_group(call: Coroutine[Any, Any, Any]) -> Any:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(call)
    return task.result()


async def waited_for(call: Coroutine[Any, Any, Any]) -> Any:
    done, _ = await asyncio.wait([asyncio.create_task(call)])
    return done.pop().result()


async def plainly(call: Coroutine[Any, Any, Any]) -> Any:
    return await call


async def gathered(call: Coroutine[Any, Any, Any]) -> Any:
    return (await asyncio.gather(call))[0]


WAYS: dict[str, Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]]] = {
    "await": plainly,
    "task": asyncio.create_task,
    "group": in_a_group,
    "gather": gathered,
    "wait_for": lambda call: asyncio.wait_for(call, 3),
    "shield": asyncio.shield,
    "wait": waited_for,
}


def taken(plant: Plant) -> int:
    """Micros that were spent or set aside."""
    held: Any = plant.plain.hget(plant.key(), "held")
    return plant.spent() + int(held or 0)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("way", WAYS)
def test_a_spend_counts_once_whichever_way_its_answer_is_awaited(
    plant: Plant, hot_url: str, call: str, way: str
) -> None:
    plant.brand()

    async def main() -> Any:
        async with AsyncBudgetClient.from_url(hot_url, timeout_ms=20_000) as client:
            return await WAYS[way](CALLS[call](client))

    answer = asyncio.run(main())
    assert (answer[0] if isinstance(answer, list) else answer).outcome in ("recorded", "accepted")
    assert taken(plant) == 1_000_000


@pytest.mark.parametrize("call", CALLS)
def test_a_spend_made_before_there_is_an_event_loop_counts_once_when_it_is_run(
    plant: Plant, hot_url: str, call: str
) -> None:
    plant.brand()
    client = AsyncBudgetClient.from_url(hot_url, timeout_ms=20_000)
    asyncio.run(CALLS[call](client))
    assert taken(plant) == 1_000_000


def test_wait_wants_a_task_and_says_so_and_the_spend_counts_all_the_same(plant: Plant, hot_url: str) -> None:
    plant.brand()

    async def main() -> None:
        async with AsyncBudgetClient.from_url(hot_url, timeout_ms=20_000) as client:
            with pytest.raises(TypeError, match="use tasks explicitly"):
                await asyncio.wait([asyncio.ensure_future(client.record_spend(CAMPAIGN, "1"))])

    asyncio.run(main())
    assert taken(plant) == 1_000_000


def test_calls_count_in_the_order_in_which_they_were_made_whatever_is_awaited_first(plant: Plant, hot_url: str) -> None:
    plant.brand(daily="10")

    async def main() -> list[Any]:
        async with AsyncBudgetClient.from_url(hot_url, timeout_ms=20_000) as client:
            calls = [
                client.try_spend(CAMPAIGN, "4"),
                client.reserve(CAMPAIGN, "3"),
                client.try_spend(CAMPAIGN, "2", request_id="own"),
                client.try_spends([Spend(CAMPAIGN, "1")]),
                client.try_spend(CAMPAIGN, "0.000001"),
            ]
            return list(reversed([await call for call in reversed(calls)]))

    spend, hold, own, (batch,), last = asyncio.run(main())
    assert [a.outcome for a in (spend, hold, own, batch, last)] == [*["accepted"] * 4, "refused"]


@pytest.mark.parametrize("call", CALLS)
def test_a_spend_that_nobody_awaits_counts_all_the_same(plant: Plant, hot_url: str, call: str) -> None:
    plant.brand()

    async def main() -> None:
        async with AsyncBudgetClient.from_url(hot_url, timeout_ms=20_000) as client:
            CALLS[call](client)
            gc.collect()

    asyncio.run(main())
    assert taken(plant) == 1_000_000


@pytest.mark.parametrize("call", CALLS)
def test_a_task_cancelled_before_it_ran_takes_its_spend_with_it(plant: Plant, hot_url: str, call: str) -> None:
    plant.brand()

    async def main() -> None:
        async with AsyncBudgetClient.from_url(hot_url, timeout_ms=20_000) as client:
            task = asyncio.create_task(CALLS[call](client))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            CALLS[call](client).close()

    asyncio.run(main())
    assert taken(plant) == 0


def test_what_is_wrong_with_a_spend_is_told_to_who_awaits_it_and_the_others_count(plant: Plant, hot_url: str) -> None:
    plant.brand()

    async def main() -> list[Any]:
        async with AsyncBudgetClient.from_url(hot_url, timeout_ms=20_000) as client:
            wrong: Any = 1.5
            answers = await asyncio.gather(
                client.record_spend(CAMPAIGN, wrong),
                client.record_spend(0, "1"),
                client.record_spend(CAMPAIGN, "1"),
                client.try_spend(CAMPAIGN, "1", event_id="<script>"),
                client.record_spend(CAMPAIGN, "1", request_id=""),
                client.record_spends([Spend(CAMPAIGN, "1"), Spend(CAMPAIGN, "0")]),
                client.reserve(CAMPAIGN, wrong),
                client.try_spend(CAMPAIGN, "1"),
                return_exceptions=True,
            )
        late = client.record_spend(CAMPAIGN, "1")
        with pytest.raises(BudgetError, match="closed"):
            await late
        return answers

    answers = asyncio.run(main())
    assert [isinstance(a, InvalidInput) for a in answers] == [True, True, False, True, True, True, True, False]
    assert plant.spent() == 2_000_000


@pytest.fixture
def proxy(hot_port: int) -> Iterator[Proxy]:
    made = Proxy(hot_port)
    yield made
    made.close()


def test_whoever_waits_no_longer_leaves_his_place_to_another(
    plant: Plant, proxy: Proxy, hot_url: str, hot_port: int
) -> None:
    plant.brand()
    places = 6

    async def main() -> None:
        url = hot_url.replace(f":{hot_port}", f":{proxy.port}")
        async with AsyncBudgetClient.from_url(url, timeout_ms=2000, max_waiting=places) as client:

            async def all_places_are_free() -> None:
                made = [client.record_spend(CAMPAIGN, "1") for _ in range(places + 1)]
                *answers, last = await asyncio.gather(*made, return_exceptions=True)
                assert {a.outcome for a in answers if not isinstance(a, BaseException)} == {"recorded"}
                assert [type(a) for a in answers if isinstance(a, BaseException)] == [] and isinstance(last, Overloaded)

            await all_places_are_free()
            wrong: Any = 1.5
            for make in CALLS.values():
                for _ in range(places):
                    before = asyncio.create_task(make(client))
                    before.cancel()
                    await asyncio.gather(before, return_exceptions=True)
                    with pytest.raises(InvalidInput):
                        await client.record_spend(CAMPAIGN, wrong)
            await all_places_are_free()
            proxy.silent = True
            out = await asyncio.gather(
                *(client.record_spend(CAMPAIGN, "1") for _ in range(places)), return_exceptions=True
            )
            ids = [error.request_id for error in out if isinstance(error, Unavailable)]
            assert len(ids) == places
            again = [client.record_spend(CAMPAIGN, "1", request_id=request_id) for request_id in ids]
            lost = await asyncio.gather(*again, return_exceptions=True)
            assert {type(error) for error in lost} == {Unavailable}
            under_way = [client.record_spend(CAMPAIGN, "1") for _ in range(places)]
            await asyncio.sleep(0.01)
            for call in under_way:
                call.close()
            proxy.silent = False
            while client._sender._flight:  # until the round trip that nobody awaits is broken off
                await asyncio.sleep(0.001)
            repeated = await asyncio.gather(
                *(client.record_spend(CAMPAIGN, "1", request_id=request_id) for request_id in ids)
            )
            assert {a.outcome for a in repeated} == {"recorded"}
            await all_places_are_free()

    asyncio.run(main())
