"""The async client answers as the other one, and shares calls."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
import redis

from engine import AsyncBudgetClient, BudgetClient, Overloaded, Spend
from engine.errors import BudgetError
from tests.live.plant import BRAND, CAMPAIGN, Plant

OTHER = (BRAND + 1) * 65536 + 1


def run(url: str, work: Callable[[AsyncBudgetClient], Awaitable[Any]], **kwargs: int) -> Any:
    """What `work` gives on a client of its own."""

    async def whole() -> Any:
        async with AsyncBudgetClient.from_url(url, **{"timeout_ms": 20_000, **kwargs}) as client:
            return await work(client)

    return asyncio.run(whole())


def script_calls(plain: redis.Redis) -> int:
    """EVALSHA calls since the last CONFIG RESETSTAT."""
    stats: Any = plain.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {}).get("calls", 0))


CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("record_spend", (CAMPAIGN, "1.25"), {}),
    ("record_spend", (CAMPAIGN,), {"amount_micros": 7}),
    ("record_spend", (CAMPAIGN, "1"), {"event_id": "e1"}),
    ("record_spend", (CAMPAIGN, "1"), {"event_id": "e1"}),
    ("record_spend", (CAMPAIGN, "2"), {"event_id": "e1"}),
    ("record_spend", (CAMPAIGN, "1"), {"request_id": "r1"}),
    ("record_spend", (CAMPAIGN, "1"), {"request_id": "r1"}),
    ("record_spend", (CAMPAIGN, "1"), {"occurred_at": datetime.now(UTC)}),
    ("record_spend", (CAMPAIGN + 9, "1"), {}),
    ("record_spend", (OTHER, "1"), {}),
    ("try_spend", (CAMPAIGN, "1"), {}),
    ("try_spend", (CAMPAIGN, "500"), {}),
    ("try_spend", (CAMPAIGN, "1"), {"event_id": "e2"}),
    ("record_spends", ([Spend(CAMPAIGN, "0.5"), Spend(OTHER, "0.25"), Spend(CAMPAIGN, "1", "e3")],), {}),
    ("try_spends", ([Spend(CAMPAIGN, "0.01")] * 20,), {"request_id": "r2"}),
    ("try_spends", ([Spend(CAMPAIGN, "0.01")] * 20,), {"request_id": "r2"}),
    ("record_spends", ([],), {}),
    ("reserve", (CAMPAIGN, "3"), {"hold_id": "h1"}),
    ("settle", (f"{CAMPAIGN}:h1", "2"), {}),
    ("reserve", (CAMPAIGN, "3"), {"hold_id": "h2"}),
    ("release", (f"{CAMPAIGN}:h2",), {}),
    ("release", (f"{CAMPAIGN}:h3",), {}),
    ("refund", (CAMPAIGN, "1", "e1"), {}),
    ("refund", (CAMPAIGN, "1", "e9"), {}),
    ("refund", (CAMPAIGN, "1", "e9"), {"spent_on": datetime.now(UTC).date(), "refund_id": "part-1"}),
    ("refund", (CAMPAIGN, "99", "e1"), {"refund_id": "part-1"}),
    ("refund", (CAMPAIGN, "1", "e1"), {"refund_id": "two words"}),
    ("refund", (CAMPAIGN, "1", "e9"), {"spent_on": date(1970, 1, 1)}),
    ("status", (CAMPAIGN,), {}),
    ("record_spend", (CAMPAIGN, "1000"), {}),
    ("status", (CAMPAIGN,), {}),
    ("status", (CAMPAIGN + 9,), {}),
    ("record_spend", (CAMPAIGN, "-1"), {}),
    ("record_spend", (CAMPAIGN,), {}),
    ("record_spend", (CAMPAIGN, "1"), {"amount_micros": 1}),
    ("record_spend", (CAMPAIGN,), {"amount_micros": True}),
    ("record_spend", (float(CAMPAIGN), "1"), {}),
    ("record_spend", (65536, "1"), {}),
    ("record_spend", (CAMPAIGN, "1"), {"request_id": "not an id"}),
    ("record_spends", ([Spend(CAMPAIGN, "1"), Spend(CAMPAIGN, "0")],), {}),
    ("settle", ("h1", "2"), {}),
]


def test_every_call_is_answered_as_by_the_other_client_and_moves_the_same_money(
    plant: Plant, plain: redis.Redis, client: BudgetClient, hot_url: str
) -> None:
    def planted(on: Plant) -> None:
        on.brand(daily="100")
        on.brand(brand_id=BRAND + 1)

    def said(answer: Any) -> Any:
        return [repr(a) for a in answer] if isinstance(answer, list) else repr(answer)

    planted(plant)
    sync_answers = []
    for name, args, kwargs in CALLS:
        try:
            sync_answers.append(said(getattr(client, name)(*args, **kwargs)))
        except BudgetError as error:
            sync_answers.append((type(error), str(error)))
    spent = plant.spent()
    plain.flushall()
    planted(Plant(plant.live, plain))

    async def work(their: AsyncBudgetClient) -> list[Any]:
        answers = []
        for name, args, kwargs in CALLS:
            try:
                answers.append(said(await getattr(their, name)(*args, **kwargs)))
            except BudgetError as error:
                answers.append((type(error), str(error)))
        return answers

    for call, mine, theirs in zip(CALLS, sync_answers, run(hot_url, work), strict=True):
        assert mine == theirs, call
    assert plant.spent() == spent


def test_a_thousand_tasks_with_one_spend_each_share_one_call_and_every_unit_is_counted(
    plant: Plant, plain: redis.Redis, hot_url: str
) -> None:
    plant.brand()

    async def work(client: AsyncBudgetClient) -> list[Any]:
        await client.record_spend(CAMPAIGN, "1")
        plain.config_resetstat()
        return await asyncio.gather(*(client.record_spend(CAMPAIGN, amount_micros=i) for i in range(1, 1001)))

    answers = run(hot_url, work)
    assert script_calls(plain) == 1
    assert {a.outcome for a in answers} == {"recorded"}
    assert plant.spent() == 1_000_000 + 500_500


def test_facts_and_questions_of_many_tasks_are_judged_in_the_order_in_which_they_were_reported(
    plant: Plant, hot_url: str
) -> None:
    plant.brand(daily="10")

    async def work(client: AsyncBudgetClient) -> list[Any]:
        return await asyncio.gather(
            *(client.try_spend(CAMPAIGN, "1") for _ in range(9)),
            client.record_spend(CAMPAIGN, "0.5"),
            client.try_spend(CAMPAIGN, "1"),
            client.try_spend(CAMPAIGN, "0.5", event_id="last"),
            client.try_spend(CAMPAIGN, "0.000001"),
            client.record_spends([Spend(CAMPAIGN, "1")]),
            client.record_spend(CAMPAIGN, "1", request_id="own"),
        )

    *answers, batch, own = run(hot_url, work)
    assert [a.outcome for a in answers] == [*["accepted"] * 9, "recorded", "refused", "accepted", "refused"]
    assert [batch[0].outcome, own.outcome, str(own.daily_spend)] == ["recorded", "recorded", "12.000000"]
    assert plant.spent() == 12_000_000


def test_a_spend_reported_behind_a_call_of_its_own_does_not_overtake_it_to_the_last_units(
    plant: Plant, hot_url: str
) -> None:
    plant.brand(daily="10")

    async def work(client: AsyncBudgetClient) -> list[Any]:
        return await asyncio.gather(
            client.try_spend(CAMPAIGN, "1"),
            client.try_spend(CAMPAIGN, "8", request_id="own"),
            client.try_spend(CAMPAIGN, "2"),
            client.reserve(CAMPAIGN, "1"),
            client.try_spend(CAMPAIGN, "1"),
        )

    assert [a.outcome for a in run(hot_url, work)] == ["accepted", "accepted", "refused", "accepted", "refused"]
    assert plant.spent() == 9_000_000


def test_a_storm_of_tasks_for_the_last_units_takes_exactly_what_is_left(plant: Plant, hot_url: str) -> None:
    plant.brand(daily="100")

    async def work(client: AsyncBudgetClient) -> list[Any]:
        async def one(i: int) -> Any:
            await asyncio.sleep(random.random() / 50)
            return await client.try_spend(CAMPAIGN, "0.1", event_id=f"e{i}" if i % 7 == 0 else None)

        return await asyncio.gather(*(one(i) for i in range(2000)))

    answers = run(hot_url, work)
    assert sum(a.outcome == "accepted" for a in answers) == 1000
    assert sum(a.outcome == "refused" for a in answers) == 1000
    assert plant.spent() == 100_000_000


def test_a_spend_past_max_waiting_is_refused_at_once_and_not_counted(plant: Plant, hot_url: str) -> None:
    plant.brand()

    async def work(client: AsyncBudgetClient) -> list[Any]:
        first = await asyncio.gather(*(client.record_spend(CAMPAIGN, "1") for _ in range(150)), return_exceptions=True)
        assert (await client.record_spends([Spend(CAMPAIGN, "1")] * 120))[0].outcome == "recorded"
        return first

    answers = run(hot_url, work, max_waiting=100)
    overloaded = [a for a in answers if isinstance(a, Overloaded)]
    assert len(overloaded) == 50 and "max_waiting is 100" in str(overloaded[0])
    assert plant.spent() == 220_000_000


def test_a_spend_cancelled_before_it_was_sent_is_not_counted_and_the_others_are(plant: Plant, hot_url: str) -> None:
    plant.brand()

    async def work(client: AsyncBudgetClient) -> list[Any]:
        tasks = [asyncio.ensure_future(client.record_spend(CAMPAIGN, amount_micros=1 << i)) for i in range(20)]
        asyncio.get_running_loop().call_soon(lambda: [tasks[i].cancel() for i in (0, 3, 19)])
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = run(hot_url, work)
    assert [i for i, a in enumerate(answers) if isinstance(a, asyncio.CancelledError)] == [0, 3, 19]
    assert plant.spent() == (1 << 20) - 1 - (1 + 8 + (1 << 19))


def test_tasks_cancelled_at_random_take_nothing_from_the_others(plant: Plant, hot_url: str) -> None:
    plant.brand()

    async def work(client: AsyncBudgetClient) -> list[Any]:
        tasks = []
        for i in range(3000):
            tasks.append(asyncio.ensure_future(client.record_spend(CAMPAIGN, "1")))
            if i % 50 == 0:
                await asyncio.sleep(0)
                random.choice(tasks).cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = run(hot_url, work)
    counted = sum(not isinstance(a, asyncio.CancelledError) for a in answers)
    assert counted > 2900
    assert counted * 1_000_000 <= plant.spent() <= 3_000_000_000


def test_closing_under_load_loses_nothing_that_was_taken_and_takes_nothing_more(plant: Plant, hot_url: str) -> None:
    plant.brand()

    async def work(client: AsyncBudgetClient) -> list[Any]:
        tasks = [asyncio.ensure_future(client.record_spend(CAMPAIGN, "1")) for _ in range(2500)]
        await asyncio.sleep(0)
        await client.aclose()
        with pytest.raises(BudgetError, match="closed"):
            await client.record_spend(CAMPAIGN, "1")
        await client.aclose()
        assert all(task.done() for task in tasks)
        return await asyncio.gather(*tasks)

    assert {a.outcome for a in run(hot_url, work)} == {"recorded"}
    assert plant.spent() == 2_500_000_000


def test_a_client_says_when_it_is_used_from_another_event_loop(plant: Plant, hot_url: str) -> None:
    plant.brand()
    client = AsyncBudgetClient.from_url(hot_url)
    asyncio.run(client.record_spend(CAMPAIGN, "1"))
    with pytest.raises(BudgetError, match="another event loop"):
        asyncio.run(client.record_spend(CAMPAIGN, "1"))
    assert plant.spent() == 1_000_000
