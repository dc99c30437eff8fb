"""Leases in the log: each spend a row of its lease, and a wiped Redis gives the hold back as it was."""

from __future__ import annotations

import itertools
import threading
import time
from decimal import Decimal
from pathlib import Path

from engine.client.leases.calls import asks_draw, asks_lease, read_draw, read_grant
from engine.live.keys import keys_of_brand
from engine.wiring import System
from tests.flows.test_persist import brand_with_campaigns, rows
from tests.flows.test_verify import failed
from tests.live.test_leases import until

NUMBERS = itertools.count(1)


def draw(system: System, campaign: int, number: int, micros: list[int]) -> str:
    return read_draw(system.live.call_all([asks_draw(campaign, "lease.a", number, micros, 0)])[0])


def set_lease(system: System, campaign: int, micros: int) -> int:
    return read_grant(system.live.call_all([asks_lease(campaign, "lease.a", micros, 60_000, next(NUMBERS))])[0]).held


def test_each_spend_of_a_lease_is_a_row_that_says_whether_its_hold_covered_it(ready: System) -> None:
    _, (campaign,) = brand_with_campaigns(ready, daily=20)
    assert set_lease(ready, campaign, 12) == 12
    assert [draw(ready, campaign, number, micros) for number, micros in enumerate(([1, 2], [3], [4, 4], [5]))] == [
        "counted"
    ] * 4
    ready.persister.drain_all()
    assert rows(ready, "SELECT request_id, position, kind, hold_id, amount_micros FROM spend ORDER BY n, position") == [
        ("lease.a/0", 0, "spend", "lease.a", 1),
        ("lease.a/0", 1, "spend", "lease.a", 2),
        ("lease.a/1", 0, "spend", "lease.a", 3),
        ("lease.a/2", 0, "over", "lease.a", 4),
        ("lease.a/2", 1, "over", "lease.a", 4),
        ("lease.a/3", 0, "late", "lease.a", 5),
    ]
    assert rows(ready, "SELECT state, held_micros FROM hold") == [("released", 0)]
    assert set_lease(ready, campaign, 9) == 1
    ready.persister.drain_all()
    assert rows(ready, "SELECT state, held_micros FROM hold") == [("open", 1)]
    assert failed(ready) == {}


def test_a_wiped_redis_gets_a_lease_back_as_it_was_and_knows_its_draws(ready: System) -> None:
    brand, (campaign,) = brand_with_campaigns(ready, daily=20)
    set_lease(ready, campaign, 12)
    draw(ready, campaign, 0, [1, 2])
    key = keys_of_brand(brand).holds(brand)[0]
    before = ready.hot_redis.hgetall(key)
    ready.persister.drain_all()
    ready.hot_redis.flushall()
    ready.rebuilder.rebuild_missing()
    assert ready.hot_redis.hgetall(key) == {name: value.rpartition(b",")[0] for name, value in before.items()}
    assert [draw(ready, campaign, 0, [1, 2]), draw(ready, campaign, 0, [2, 2])] == ["counted", "conflict"]
    assert draw(ready, campaign, 1, [9]) == "counted"
    assert set_lease(ready, campaign, 0) == 0
    ready.persister.drain_all()
    assert rows(ready, "SELECT sum(amount_micros), count(*) FROM spend") == [(12, 3)]
    assert failed(ready) == {}


def test_a_lease_at_work_over_rebuilds_has_each_of_its_spends_counted_once_and_the_budget_holds(
    ready: System, tmp_path: Path
) -> None:
    brand, (campaign,) = brand_with_campaigns(ready, daily=5_000_000)
    lease = ready.client.lease(campaign, "1", 60, largest="1", spool=tmp_path)
    done = threading.Event()

    def spend() -> None:
        while not done.is_set():
            lease.try_spend(amount_micros=1000)
            time.sleep(0.0003)

    thread = threading.Thread(target=spend)
    thread.start()
    until(lambda: lease.spent >= Decimal("0.5"))
    for _ in range(3):
        ready.hot_redis.hdel(keys_of_brand(brand).shard, "mark")
        until(lambda: lease.why == ("stale",))
        ready.rebuilder.rebuild_missing()
        until(lambda: not lease.why)
    until(lambda: lease.spent >= Decimal("1.5"))
    done.set()
    thread.join()
    lease.close()
    assert list(tmp_path.iterdir()) == []
    ready.persister.drain_all()
    ((logged, count),) = rows(ready, "SELECT sum(amount_micros), count(*) FROM spend")
    assert logged == count * 1000 == lease.spent * 1_000_000 <= 5_000_000
    assert failed(ready) == {}
