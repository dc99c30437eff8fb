"""A Redis that came back with older plans, and with all of its journal: no counter shows it, and the old limits are in force."""

from __future__ import annotations

import pytest

from engine.domain.ids import shard_of
from engine.flows.catalog.publish import Publisher
from engine.live.keys import keys_of_brand
from engine.wiring import System
from tests.flows.test_persist import brand_with_campaigns


def put_back(system: System, kept: dict[bytes, bytes]) -> None:
    for key, value in kept.items():
        system.hot_redis.restore(key, 0, value, replace=True)


@pytest.mark.parametrize("restarted", [False, True], ids=["the same worker", "a worker that began since"])
def test_a_limit_of_an_older_redis_is_replaced_with_the_next_second_not_with_the_next_check(
    ready: System, monkeypatch: pytest.MonkeyPatch, restarted: bool
) -> None:
    brand, (campaign,) = brand_with_campaigns(ready, daily=10_000_000)
    other, _ = brand_with_campaigns(ready, daily=10_000_000, name="Other")
    ready.client.record_spend(campaign, "1")
    ready.persister.drain_all()
    ready.publisher.keep_published()
    compared: list[list[int]] = []
    mend = Publisher.mend
    monkeypatch.setattr(Publisher, "mend", lambda self, shards: (compared.append(list(shards)), mend(self, shards))[1])
    kept = {key: ready.hot_redis.dump(key) for key in ready.hot_redis.keys(f"budget:{{{shard_of(brand)}}}:*")}
    n = ready.live.read_shard(shard_of(brand)).n
    ready.manage.update_brand(brand, "mia", daily_budget_micros=5_000_000)
    ready.manage.update_brand(other, "mia", daily_budget_micros=6_000_000)
    assert ready.publisher.keep_published() == set()
    assert compared == [], "a change that was published makes no shard look older"
    put_back(ready, kept)
    assert ready.live.read_shard(shard_of(brand)).n == n, "no spend is missing, so persist has nothing to compare"
    assert ready.hot_redis.hget(keys_of_brand(brand).brand(brand), "daily") == b"10000000"
    if restarted:
        del ready.publisher
    assert ready.publisher.keep_published() == {brand}
    assert compared == [[shard_of(brand)]], "the other shards are not compared"
    assert ready.client.try_spend(campaign, "5").outcome == "refused"
    assert ready.client.try_spend(campaign, "4").outcome == "accepted"
    assert ready.publisher.keep_published() == set()
    assert len(compared) == 1, "it is found once"
