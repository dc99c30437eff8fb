"""The deadline, and calls that are repeated."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from engine import BudgetClient, InvalidInput, Spend, Unavailable
from engine.domain.ids import shard_of
from engine.errors import BudgetError, InvalidSetting
from engine.live.transport.pool import ConnectionPool
from tests.live.plant import BRAND, CAMPAIGN, Plant
from tests.patience import in_time
from tests.proxy import Proxy


@pytest.fixture
def proxy(hot_port: int) -> Iterator[Proxy]:
    made = Proxy(hot_port)
    yield made
    made.close()


@pytest.fixture
def through(proxy: Proxy, hot_url: str, hot_port: int) -> BudgetClient:
    return BudgetClient.from_url(hot_url.replace(f":{hot_port}", f":{proxy.port}"), timeout_ms=1500)


def test_a_lost_reply_is_asked_for_again_and_the_spend_counts_once(
    plant: Plant, proxy: Proxy, through: BudgetClient
) -> None:
    plant.brand()
    through.record_spend(CAMPAIGN, "1")
    proxy.lose_replies = 3
    answer = through.record_spend(CAMPAIGN, "1")
    assert (answer.outcome, proxy.lose_replies) == ("recorded", 0)
    assert plant.spent() == 2_000_000


def test_a_redis_that_falls_silent_ends_the_call_at_its_deadline_and_repeating_it_is_safe(
    plant: Plant, proxy: Proxy, through: BudgetClient, client: BudgetClient
) -> None:
    plant.brand()
    through.record_spend(CAMPAIGN, "1")
    proxy.silent = True
    began = time.monotonic()
    with pytest.raises(Unavailable, match="repeat with request_id") as caught:
        through.record_spends([Spend(CAMPAIGN, "1"), Spend(CAMPAIGN, "2")])
    assert in_time(time.monotonic() - began, 1.5)
    assert caught.value.answers == [None, None]
    again = client.record_spends([Spend(CAMPAIGN, "1"), Spend(CAMPAIGN, "2")], request_id=caught.value.request_id)
    assert [a.outcome for a in again] == ["recorded", "recorded"]
    assert plant.spent() == 4_000_000


def test_nothing_listening_ends_the_call_at_its_deadline_with_the_place_that_was_tried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = BudgetClient.from_url(f"redis://:secret@127.0.0.1:{port}", timeout_ms=100)
    with pytest.raises(Unavailable, match=f"127.0.0.1:{port}") as caught:
        client.record_spend(CAMPAIGN, "1", request_id="mine")
    assert caught.value.request_id == "mine"
    assert "secret" not in str(caught.value)
    with pytest.raises(Unavailable):
        client.status(CAMPAIGN)


def test_a_wrong_password_is_said_at_once_and_not_repeated_until_the_deadline(hot_port: int) -> None:
    client = BudgetClient.from_url(f"redis://:wrong@127.0.0.1:{hot_port}", timeout_ms=10_000)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="refuses the login"):
        client.record_spend(CAMPAIGN, "1")
    assert in_time(time.monotonic() - began, 2)


def test_scripts_that_redis_forgot_are_loaded_again(plant: Plant, client: BudgetClient) -> None:
    plant.brand()
    client.record_spend(CAMPAIGN, "1")
    plant.plain.script_flush()
    spends = [Spend(brand * 65536 + 1, "1") for brand in (BRAND, BRAND + 1, BRAND)]
    assert [a.outcome for a in client.record_spends(spends)] == ["recorded", "unknown_campaign", "recorded"]


def test_a_full_redis_says_so_and_nothing_is_half_written(plant: Plant, client: BudgetClient) -> None:
    plant.brand()
    before = plant.spent()
    plant.plain.config_set("maxmemory", 1)
    try:
        with pytest.raises(Unavailable, match="full"):
            client.record_spend(CAMPAIGN, "1")
        shard = shard_of(BRAND)
        assert plant.live.read_shard(shard, tick=True).ready, "persist must see a full Redis, or it can never drain it"
        assert plant.live.read_brand(BRAND, 1) is not None
        plant.live.trim(plant.instance, shard, "0-1")
    finally:
        plant.plain.config_set("maxmemory", 0)
    assert (plant.spent(), client.record_spend(CAMPAIGN, "1").outcome) == (before, "recorded")


@pytest.mark.parametrize("url", ["http://localhost", "localhost:6379", "redis://localhost:port"])
def test_a_wrong_url_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(InvalidSetting, match="redis://host:6379/0"):
        ConnectionPool(url)


@pytest.mark.parametrize("timeout", [0, -1, 1.5, True, None])
def test_a_timeout_that_is_no_number_of_milliseconds_is_refused(timeout: object) -> None:
    with pytest.raises(InvalidInput, match="timeout_ms"):
        BudgetClient.from_url("redis://localhost", timeout_ms=timeout)  # type: ignore[arg-type]


def test_every_error_is_a_budget_error() -> None:
    assert issubclass(Unavailable, BudgetError) and issubclass(InvalidSetting, BudgetError)
