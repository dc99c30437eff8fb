"""Redis lost what it had acknowledged and PostgreSQL never had: a client that keeps its last calls sends them again after the rebuild."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from engine import AsyncBudgetClient, BudgetClient, BudgetError, InvalidInput, Spend
from engine.client import resend
from engine.client.aio import resend as aio_resend
from engine.client.resend import ResendingTransport
from engine.wiring import System
from tests.flows.test_persist import rows
from tests.patience import PATIENCE_S


@pytest.fixture
def by_hand(ready: System, monkeypatch: pytest.MonkeyPatch) -> Iterator[BudgetClient]:
    """A client that looks when it is told to, and once by itself when it is first used."""
    monkeypatch.setattr(resend, "CHECK_S", 3600.0)
    with BudgetClient.from_url(ready.settings.redis_url, timeout_ms=5000, resend_s=5) as client:
        yield client


def look(client: BudgetClient) -> None:
    wire = client._wire
    assert isinstance(wire, ResendingTransport)
    wire.check()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def lose_all(system: System) -> None:
    system.hot_redis.flushall()
    assert system.rebuilder.rebuild_missing()


def campaign_with(system: System, daily: int | None = None) -> int:
    brand = system.manage.create_brand("one", daily, None, None, "test").row.id
    return system.manage.create_campaigns(brand, ["c"], "test")[0].id


def exact(system: System, spends: int, micros: int) -> None:
    system.persister.drain_all()
    assert rows(system, "SELECT count(*), sum(amount_micros) FROM spend") == [(spends, micros)]
    assert [str(check.findings) for check in system.verifier.verify() if check.findings] == []


def test_spends_that_only_redis_had_are_sent_again_after_a_rebuild_and_those_that_were_persisted_are_not_doubled(
    ready: System,
) -> None:
    campaign = campaign_with(ready)
    with BudgetClient.from_url(ready.settings.redis_url, timeout_ms=5000, resend_s=5) as client:
        for _ in range(3):
            client.record_spend(campaign, "1")
        client.record_spends([Spend(campaign, "0.5")] * 20)
        ready.persister.drain_all()
        for _ in range(4):
            client.record_spend(campaign, "1")
        client.record_spends([Spend(campaign, "0.5", f"win-{i}") for i in range(20)])
        look(client)
        lose_all(ready)
        deadline = time.monotonic() + PATIENCE_S
        while str(client.record_spend(campaign, "1", request_id="probe").daily_spend) != "28.000000":
            assert time.monotonic() < deadline, "what was acknowledged did not come back"
            time.sleep(0.1)
    exact(ready, 48, 28_000_000)


def test_an_accepted_question_whose_room_was_taken_meanwhile_is_counted_all_the_same(
    ready: System, by_hand: BudgetClient
) -> None:
    campaign = campaign_with(ready, 10_000_000)
    assert by_hand.try_spend(campaign, "6", event_id="mine").outcome == "accepted"
    look(by_hand)
    lose_all(ready)
    assert ready.client.try_spend(campaign, "6", event_id="others").outcome == "accepted"
    look(by_hand)
    status = ready.client.record_spend(campaign, "6", event_id="mine")
    assert (status.outcome, str(status.daily_spend)) == ("duplicate", "12.000000")
    look(by_hand)
    exact(ready, 2, 12_000_000)


@pytest.mark.parametrize("with_ids", [False, True], ids=["plain", "with event ids"])
def test_of_a_packed_batch_of_questions_those_that_no_longer_fit_are_counted_as_facts(
    ready: System, by_hand: BudgetClient, with_ids: bool
) -> None:
    campaign = campaign_with(ready, 10_000_000)
    batch = [Spend(campaign, "1", f"win-{i}" if with_ids else None) for i in range(10)]
    assert {answer.outcome for answer in by_hand.try_spends(batch)} == {"accepted"}
    look(by_hand)
    lose_all(ready)
    assert ready.client.try_spend(campaign, "4.5").outcome == "accepted"
    look(by_hand)
    exact(ready, 11, 14_500_000)


def test_calls_older_than_the_window_are_not_kept_and_nothing_is_sent_without_need(
    ready: System, by_hand: BudgetClient
) -> None:
    campaign = campaign_with(ready)
    by_hand.record_spend(campaign, "1")
    wire = by_hand._wire
    assert isinstance(wire, ResendingTransport)
    look(by_hand)
    assert wire._kept.due() == {}
    (shard,) = wire._kept._shards.values()
    assert len(shard.calls) == 1
    for _ in range(4):
        assert shard.checked_at is not None
        shard.checked_at -= 1.9
        look(by_hand)
    assert len(shard.calls) == 0
    exact(ready, 1, 1_000_000)


def test_a_client_that_is_closed_right_after_a_loss_sends_its_calls_again_first(
    ready: System, by_hand: BudgetClient
) -> None:
    campaign = campaign_with(ready)
    for _ in range(3):
        by_hand.record_spend(campaign, "1")
    look(by_hand)
    lose_all(ready)
    by_hand.close()
    exact(ready, 3, 3_000_000)


def test_a_client_that_is_closed_while_its_shard_is_lost_waits_for_the_rebuild(
    ready: System, by_hand: BudgetClient
) -> None:
    campaign = campaign_with(ready)
    by_hand.record_spend(campaign, "1")
    look(by_hand)
    ready.hot_redis.flushall()
    closing = threading.Thread(target=by_hand.close)
    closing.start()
    wire = by_hand._wire
    assert isinstance(wire, ResendingTransport)
    until(lambda: wire._kept.unsure() == 1)
    assert ready.rebuilder.rebuild_missing()
    closing.join(PATIENCE_S)
    exact(ready, 1, 1_000_000)


def test_an_asyncio_client_that_is_closed_right_after_a_loss_sends_its_calls_again_first(
    ready: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = campaign_with(ready)
    monkeypatch.setattr(aio_resend, "CHECK_S", 3600.0)

    async def spends() -> None:
        client = AsyncBudgetClient.from_url(ready.settings.redis_url, timeout_ms=5000, resend_s=5)
        await client.record_spend(campaign, "1")
        await asyncio.sleep(0.1)
        resender = client._sender._resender
        assert resender is not None
        await resender._check()
        await asyncio.to_thread(lose_all, ready)
        await client.aclose()
        with pytest.raises(BudgetError, match="closed"):
            await client.record_spend(campaign, "1")

    asyncio.run(spends())
    exact(ready, 1, 1_000_000)


def test_a_client_whose_server_stays_away_is_closed_in_time_and_says_what_may_be_lost(
    ready: System, by_hand: BudgetClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    by_hand.record_spend(campaign_with(ready), "1")
    look(by_hand)
    ready.hot_redis.flushall()
    monkeypatch.setattr(resend, "CLOSE_S", 0.3)
    by_hand.close()
    assert "closed while 1 acknowledged calls of the last seconds could not be looked at" in caplog.text


@pytest.mark.parametrize("odd", [-1, 61, "5", True, float("nan")])
def test_a_window_that_is_none_is_refused(ready: System, odd: object) -> None:
    with pytest.raises(InvalidInput, match="resend_s"):
        BudgetClient.from_url(ready.settings.redis_url, resend_s=odd)  # type: ignore[arg-type]


@pytest.mark.parametrize("persisted", [False, True])
def test_a_question_that_was_refused_is_not_sent_again_when_there_is_room(
    ready: System, by_hand: BudgetClient, persisted: bool
) -> None:
    campaign = campaign_with(ready, 10_000_000)
    brand = campaign >> 16
    assert by_hand.try_spend(campaign, "11").outcome == "refused"
    batch = [Spend(campaign, amount) for amount in ("4", "7", "5", "3")]
    assert [each.outcome for each in by_hand.try_spends(batch)] == ["accepted", "refused", "accepted", "refused"]
    assert by_hand.reserve(campaign, "2", hold_id="none").outcome == "refused"
    look(by_hand)
    if persisted:
        ready.persister.drain_all()
    lose_all(ready)
    ready.manage.update_brand(brand, "test", daily_budget_micros=100_000_000)
    look(by_hand)
    look(by_hand)
    assert ready.client.release(f"{campaign}:none").outcome == "unknown_hold", "nor is a refused hold"
    exact(ready, 2, 9_000_000)
