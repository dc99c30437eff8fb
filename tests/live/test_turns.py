"""Batches of many calls: asked for turn by turn, the next made while Redis is at work on the one before."""

from __future__ import annotations

import hashlib
import time

import pytest
import redis

from engine import BudgetClient, Spend, Unavailable
from engine.domain.ids import SHARDS
from engine.errors import BudgetError
from engine.live.scripts import Script
from engine.live.transport.pool import Call, ConnectionPool, NoAnswer
from tests.live.plant import BRAND, Plant
from tests.live.test_leases import until
from tests.patience import in_time
from tests.proxy import Proxy

BRANDS = range(BRAND, BRAND + SHARDS)
"""One a shard."""


def lua(text: str) -> Script:
    whole = f"#!lua\n{text}"
    return Script("made here", whole, hashlib.sha1(whole.encode(), usedforsecurity=False).hexdigest())


ECHO = lua("return { ARGV[1] }")
ERROR = lua("return redis.error_reply('ERR out of order')")


def echoes(count: int) -> list[Call]:
    return [Call(ECHO, (), (str(number),)) for number in range(count)]


@pytest.mark.parametrize("events", [False, True])
def test_a_batch_over_all_shards_counts_each_spend_once_on_its_brand_though_redis_forgot_the_scripts(
    plant: Plant, client: BudgetClient, events: bool
) -> None:
    for brand in BRANDS:
        plant.brand(brand_id=brand)
    batch = [
        Spend(brand * 65536 + 1, None, f"win-{brand}-{i}" if events else None, brand + i)
        for i in range(10)
        for brand in BRANDS
    ]
    plant.plain.script_flush()
    answers = client.record_spends(batch, request_id="batch")
    assert [answer.campaign_id for answer in answers] == [spend.campaign_id for spend in batch]
    assert {answer.outcome for answer in answers} == {"recorded"}
    plant.plain.script_flush()
    assert [a.outcome for a in client.record_spends(batch, request_id="batch")] == ["recorded"] * len(batch)
    assert {brand: plant.spent(brand) for brand in BRANDS} == {brand: 10 * brand + 45 for brand in BRANDS}


@pytest.mark.parametrize("place", [0, 2, 3, 5, 9, 19])
def test_after_an_error_among_many_calls_each_later_call_gets_its_own_reply(
    wire: ConnectionPool, plain: redis.Redis, place: int
) -> None:
    calls = echoes(20)
    calls[place] = Call(ERROR, (), ())
    with pytest.raises(BudgetError, match="out of order"):
        wire.call_all(calls, 5)
    assert wire.call(Call(ECHO, (), ("alone",)), 5) == [b"alone"]
    assert wire.call_all(echoes(20), 5) == [[str(number).encode()] for number in range(20)]


def test_a_redis_that_keeps_no_script_ends_the_calls_at_their_deadline(
    wire: ConnectionPool, plain: redis.Redis
) -> None:
    never = Script("never", ECHO.text, "0" * 40)
    began = time.monotonic()
    with pytest.raises(NoAnswer, match="forgets scripts as soon as they are loaded") as caught:
        wire.call_all([*echoes(7), Call(never, (), ())], 0.5)
    assert in_time(time.monotonic() - began, 0.5)
    assert caught.value.replies == [*([str(number).encode()] for number in range(7)), None]


def test_spends_of_others_wait_behind_six_calls_of_a_batch_at_most(
    plant: Plant, client: BudgetClient, hot_url: str, hot_port: int
) -> None:
    for brand in BRANDS:
        plant.brand(brand_id=brand)
    batch = [Spend(brand * 65536 + 1, "1") for brand in BRANDS]
    client.record_spends(batch)
    proxy = Proxy(hot_port)
    through = BudgetClient.from_url(hot_url.replace(f":{hot_port}", f":{proxy.port}"), timeout_ms=1500)
    assert through.status(BRAND * 65536 + 1).status == "active"
    proxy.silent = True
    with pytest.raises(Unavailable):
        through.record_spends(batch)
    # What was sent before the deadline may still be on its way.
    until(lambda: sum(plant.spent(brand) for brand in BRANDS) >= (SHARDS + 6) * 1_000_000)
    through.close()
    proxy.close()
    assert sorted(plant.spent(brand) for brand in BRANDS) == [1_000_000] * (SHARDS - 6) + [2_000_000] * 6
