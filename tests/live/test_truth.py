"""An answer is true when the money was counted as asked: `if client.try_spend(...)` bids on nothing else."""

from __future__ import annotations

import asyncio

import pytest
import redis

from engine import AsyncBudgetClient, BudgetClient, Spend
from engine.client.holds import HoldResult, RefundResult
from engine.live.replies import SpendResult
from tests.live.plant import BRAND, CAMPAIGN, Plant
from tests.patience import PATIENCE_S

UNKNOWN = CAMPAIGN + 9


def test_a_try_that_is_refused_is_false_and_one_that_is_counted_is_true(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily="1")
    bids = [amount for amount in ("0.75", "0.75", "0.25") if client.try_spend(CAMPAIGN, amount)]
    assert bids == ["0.75", "0.25"]
    assert plant.spent() == 1_000_000


def test_a_duplicate_is_true_because_its_money_is_counted_and_a_conflict_is_false(
    plant: Plant, client: BudgetClient
) -> None:
    plant.brand()
    assert client.record_spend(CAMPAIGN, "1", event_id="win")
    assert client.record_spend(CAMPAIGN, "1", event_id="win")
    assert client.try_spend(CAMPAIGN, "1", event_id="win")
    assert not client.record_spend(CAMPAIGN, "2", event_id="win")
    assert not client.try_spend(CAMPAIGN, "2", event_id="win")
    assert plant.spent() == 1_000_000


def test_a_campaign_that_is_not_known_and_a_shard_that_is_not_ready_are_false(
    plant: Plant, client: BudgetClient
) -> None:
    plant.brand()
    for call in (client.record_spend, client.try_spend, client.reserve):
        assert not call(UNKNOWN, "1")
    plant.plain.delete(plant.key(BRAND).replace(f"brand:{BRAND}", "shard"))
    for call in (client.record_spend, client.try_spend, client.reserve):
        answer = call(CAMPAIGN, "1")
        assert (answer.outcome, bool(answer)) == ("not_ready", False)


def test_each_spend_of_a_batch_is_true_by_itself(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily="2")
    batch = [Spend(CAMPAIGN, "1.5"), Spend(CAMPAIGN, "1"), Spend(UNKNOWN, "1"), Spend(CAMPAIGN, "0.5")]
    assert [bool(answer) for answer in client.try_spends(batch)] == [True, False, False, True]
    many = client.try_spends([Spend(CAMPAIGN, "0.01")] * 20)
    assert not any(many)
    assert all(client.record_spends([Spend(CAMPAIGN, "0.01")] * 20))


def test_a_hold_is_true_when_the_call_did_what_it_asked(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily="10")
    assert client.reserve(CAMPAIGN, "6", 60, "one")
    assert client.reserve(CAMPAIGN, "6", 60, "one"), "the same hold again is the same money set aside"
    assert not client.reserve(CAMPAIGN, "5", 60, "two"), "refused"
    assert not client.reserve(CAMPAIGN, "5", 60, "one"), "conflict"
    assert client.settle(f"{CAMPAIGN}:one", "2")
    assert client.settle(f"{CAMPAIGN}:one", "2"), "the same settle again is counted"
    assert not client.settle(f"{CAMPAIGN}:one", "3"), "conflict"
    assert not client.release(f"{CAMPAIGN}:one"), "it was settled: nothing came back"
    assert not client.reserve(CAMPAIGN, "6", 60, "one"), "it has ended: nothing is set aside"
    assert not client.release(f"{CAMPAIGN}:three"), "unknown"


def test_a_settle_after_a_release_is_true_where_and_only_where_its_money_is_counted(
    plant: Plant, client: BudgetClient
) -> None:
    plant.brand(daily="10")
    assert client.reserve(CAMPAIGN, "6", 60, "one")
    assert client.release(f"{CAMPAIGN}:one")
    assert client.release(f"{CAMPAIGN}:one")
    before = plant.spent()
    settled = client.settle(f"{CAMPAIGN}:one", "2")
    assert bool(settled) == (plant.spent() - before == 2_000_000)
    late = client.settle(f"{CAMPAIGN}:never", "1")
    assert (late.outcome, late.mark, bool(late)) == ("settled", "late", True)


def test_a_refund_is_true_when_it_is_refunded_and_at_no_other_time(plant: Plant, client: BudgetClient) -> None:
    plant.brand()
    client.record_spend(CAMPAIGN, "2", event_id="win")
    assert not client.refund(CAMPAIGN, "3", "win")
    assert not client.refund(CAMPAIGN, "1", "never")
    assert client.refund(CAMPAIGN, "2", "win")
    assert client.refund(CAMPAIGN, "2", "win"), "the same refund again has been paid"
    assert not client.refund(UNKNOWN, "2", "win")


@pytest.mark.parametrize("outcome", ["pending", "refused", "some later word", "conflict", "unknown_event", "not_ready"])
def test_an_outcome_that_is_not_named_as_counted_is_false(outcome: str) -> None:
    assert not SpendResult(CAMPAIGN, outcome)
    assert not RefundResult(CAMPAIGN, outcome)
    hold = HoldResult(CAMPAIGN, outcome)
    hold.wanted = "accepted"
    assert not hold


def test_the_status_of_a_campaign_is_true_when_it_may_run(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily="1")
    assert client.status(CAMPAIGN)
    client.record_spend(CAMPAIGN, "1")
    assert not client.status(CAMPAIGN)
    with client.watch(campaigns=[CAMPAIGN]) as watch:
        assert watch.wait_ready(PATIENCE_S)
        assert not watch.status(CAMPAIGN)


def test_the_answers_under_asyncio_are_true_by_the_same_rule(
    plant: Plant, hot_url: str, hot_redis: redis.Redis
) -> None:
    plant.brand(daily="2")

    async def story() -> None:
        async with AsyncBudgetClient.from_url(hot_url, timeout_ms=3000) as client:
            one, two = await asyncio.gather(client.try_spend(CAMPAIGN, "1.5"), client.try_spend(CAMPAIGN, "1.5"))
            assert (bool(one), bool(two)) == (True, False)
            assert not await client.try_spend(CAMPAIGN, "1.5", request_id="mine")
            assert await client.reserve(CAMPAIGN, "0.5", 60, "one")
            assert not await client.reserve(CAMPAIGN, "0.5", 60, "two")
            assert await client.release(f"{CAMPAIGN}:one")
            assert not await client.release(f"{CAMPAIGN}:two")
            assert [bool(a) for a in await client.try_spends([Spend(CAMPAIGN, "0.5"), Spend(CAMPAIGN, "0.5")])] == [
                True,
                False,
            ]
            assert not await client.status(CAMPAIGN)

    asyncio.run(story())
