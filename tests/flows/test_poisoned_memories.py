"""What somebody wrote into the memories or the journal makes nobody wait, is never paid twice, and leaves a way back."""

from __future__ import annotations

import time

import pytest

from engine.client.sync import Spend
from engine.domain.ids import shard_of
from engine.domain.money import MAX_AMOUNT_MICROS
from engine.domain.periods import day_of
from engine.flows.persist.entry_laws import MOST_BYTES
from engine.ledger import quarantine
from engine.live.keys import keys_of_brand
from engine.live.packed import pack
from engine.wiring import System
from tests.flows.test_holds_and_quarantine import poison
from tests.flows.test_one_bad_shard import two_brands
from tests.flows.test_persist import rows
from tests.patience import in_time

LONG_RUNS = (
    "tk*20000000", "tk*999999999", "tk*9007199254740993", "tk*1001", "tx8*500,k*501", "rk*1,x8*1,k*", "dk*k*999999991", "zk*1", "tk*1;d*1", "\x00", "t",
)  # fmt: skip


@pytest.mark.parametrize("outcomes", LONG_RUNS)
def test_outcomes_that_no_call_has_are_set_aside_before_they_are_made_and_the_spends_beside_them_are_written(
    ready: System, outcomes: str
) -> None:
    (brand, campaign), _ = two_brands(ready)
    began = time.monotonic()
    poison(ready, brand, {"r": "x", "b": f"{campaign},7,,;", "o": outcomes})
    ready.client.record_spend(campaign, "1")
    drained = ready.persister.drain_all()
    assert (drained.rows, drained.quarantined) == (1, 1)
    with ready.db.connect() as conn:
        (row,) = quarantine.rows(conn)
    assert "outcomes of a call" in row.reason or "no verb" in row.reason
    assert in_time(time.monotonic() - began, 5)


def test_a_packed_call_of_more_spends_than_a_call_has_is_set_aside_whole(ready: System) -> None:
    (brand, campaign), _ = two_brands(ready)
    sums = "".join(f"{campaign},9999,9999;" for _ in range(1000))
    assert len(sums) < MOST_BYTES
    poison(ready, brand, {"f": "2", "r": "x", "s": sums, "l": "nothing"})
    poison(ready, brand, {"r": "y", "b": f"{campaign},1,,;" * 1001})
    assert ready.persister.drain_all().quarantined == 2
    assert rows(ready, "SELECT count(*) FROM spend") == [(0,)]
    assert len(ready.rebuilder.rebuild([shard_of(brand)])) == 1


@pytest.mark.parametrize(
    "outcomes", ["k*30000000", "k*2", "k*0", "z*1", "x*1", "k8*1", "x99999999*1", "k*1,x8*999999999999"]
)
def test_a_call_whose_remembered_outcomes_are_not_its_own_waits_for_a_rebuild_and_then_hears_its_own_again(
    ready: System, outcomes: str
) -> None:
    (brand, campaign), (_, other) = two_brands(ready, daily=10_000_000)
    assert ready.client.record_spend(campaign, "4", request_id="r").outcome == "recorded"
    ready.persister.drain_all()
    requests = keys_of_brand(brand).requests
    (key,) = (one for one in requests if ready.hot_redis.hexists(one, "r"))
    said = ready.hot_redis.hget(key, "r")
    assert said is not None and said.endswith(b" k*1")
    ready.hot_redis.hset(key, "r", said.removesuffix(b"k*1") + outcomes.encode())
    began = time.monotonic()
    assert ready.client.record_spend(campaign, "4", request_id="r").outcome == "not_ready"
    assert ready.client.record_spend(other, "1").outcome == "recorded"
    assert in_time(time.monotonic() - began, 1)
    assert len(ready.rebuilder.rebuild_missing()) == 1
    assert ready.client.record_spend(campaign, "4", request_id="r").outcome == "recorded"
    ready.persister.drain_all()
    assert rows(ready, "SELECT sum(amount_micros) FROM spend") == [(5_000_000,)]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("=", "a,1"), ("=", "65537,5"), ("=", "-1"), ("=", "9" * 16), ("-", "s,5"), ("-", "65537,"), ("-", "65537,5,w,w"), ("-", "e,5,0"),
        ("", "a,5"), ("", "s,5,0"), ("", "65537,99999999999999999999,20000"), ("", "65537,5,1e3"), ("", "65537"),
    ],
)  # fmt: skip
def test_a_refund_whose_memory_no_script_wrote_moves_no_money_and_is_paid_once_after_the_rebuild(
    ready: System, kind: str, value: str
) -> None:
    (brand, campaign), _ = two_brands(ready)
    ready.client.record_spend(campaign, "8", event_id="e")
    assert ready.client.refund(campaign, "2", "e").outcome == "refunded"
    ready.persister.drain_all()
    (key,) = (one for one in keys_of_brand(brand).events if ready.hot_redis.hexists(one, f"{brand}:e"))
    ready.hot_redis.hset(key, f"{kind}{brand}:e", value)
    assert ready.client.refund(campaign, "2", "e").outcome == "not_ready"
    assert len(ready.rebuilder.rebuild_missing()) == 1
    assert ready.client.refund(campaign, "2", "e").outcome == "refunded"
    assert ready.client.refund(campaign, "7", "e", refund_id="part").outcome == "conflict"
    ready.persister.drain_all()
    assert rows(ready, "SELECT sum(amount_micros) FROM spend") == [(6_000_000,)]


def test_a_holds_end_that_no_script_wrote_takes_its_shard_out_of_use_and_the_end_is_known_again_after(
    ready: System,
) -> None:
    (brand, campaign), _ = two_brands(ready, daily=10_000_000)
    hold_id = ready.client.reserve(campaign, "5", 3600, "h").hold_id
    ready.client.settle(hold_id, "4")
    ready.persister.drain_all()
    (key,) = (one for one in keys_of_brand(brand).events if ready.hot_redis.hexists(one, f"!{campaign}:h"))
    for value in ("s,5", "x,5000000,4000000", "s,5e6,4000000", "s,5000000,99999999999999999999"):
        ready.hot_redis.hset(key, f"!{campaign}:h", value)
        assert ready.client.release(hold_id).outcome == "not_ready"
        assert len(ready.rebuilder.rebuild_missing()) == 1
        assert ready.client.release(hold_id).outcome == "settled"


def test_money_beyond_the_largest_total_uses_its_budget_up_and_its_shard_comes_back_and_serves_the_others(
    ready: System,
) -> None:
    (brand, campaign), _ = two_brands(ready, daily=10_000_000)
    neighbour = ready.manage.create_campaigns(brand, ["other"], "test")[0].id
    for call in range(20):
        poison(ready, brand, {"r": f"x{call}", "b": f"{campaign},{MAX_AMOUNT_MICROS},,;" * 1000})
    for hold in range(2):
        line = f"R,{campaign},h{hold},{9 * 10**15},{ready.live.now_ms() + 3_600_000};"
        poison(ready, brand, {"h": line})
    today = day_of(ready.live.now_ms())
    for part in range(3):
        poison(ready, brand, {"h": f"F,{campaign},e,{MAX_AMOUNT_MICROS},{today},p{part};" * 3100})
    ready.persister.drain_all()
    assert rows(ready, "SELECT count(*) FROM spend") == [(29_300,)]
    shard = shard_of(brand)
    for _ in range(2):
        assert len(ready.rebuilder.rebuild([shard])) == 1
        assert ready.client.try_spend(neighbour, "1").outcome == "refused"
        assert ready.client.status(campaign).reasons == ("daily_budget",)
        assert ready.live.read_shard(shard).ready
        ready.client.refund(campaign, "1", "e", refund_id="another")
        assert ready.live.read_shard(shard).ready
    assert [check.id for check in ready.verifier.verify() if "could not be judged" in str(check.findings)] == []


@pytest.mark.parametrize("outcomes", ["z", "t", "\x00", "tk*2000", "tk*30"])
def test_a_packed_call_with_outcomes_that_no_script_writes_stops_nothing(ready: System, outcomes: str) -> None:
    (brand, campaign), _ = two_brands(ready)
    ready.client.record_spends([Spend(campaign, "1")] * 30)
    ((_, fields),) = ready.hot_redis.xrevrange(keys_of_brand(brand).journal, count=1)
    again = {name.decode(): value for name, value in fields.items() if name != b"n"}
    poison(ready, brand, {**again, "o": outcomes})
    assert ready.persister.drain_all().quarantined == (outcomes != "tk*30")
    assert len(ready.rebuilder.rebuild([shard_of(brand)])) == 1
    assert [check.id for check in ready.verifier.verify() if "could not be judged" in str(check.findings)] == []


@pytest.mark.parametrize("kind", ["b", "s", "F"])
def test_entries_of_a_brand_of_another_shard_are_set_aside_also_where_nothing_else_waits_there(
    ready: System, kind: str
) -> None:
    (brand, campaign), (_, neighbour) = two_brands(ready)
    ready.persister.drain_all()  # the mark of the first rebuild
    today = day_of(ready.live.now_ms())
    for number in range(3):
        said = (
            {"r": f"x{number}", "b": f"{neighbour},7,,;"}
            if kind == "b"
            else {"h": f"F,{neighbour},e{number},7,{today};"}
        )
        if kind == "s":
            (text, log) = pack([neighbour] * 2, [neighbour], [3, 4])
            said = {"f": "2", "r": f"x{number}", "s": text, "l": log}
        poison(ready, brand, said)
    assert ready.persister.drain_all().quarantined == 3
    assert len(ready.rebuilder.rebuild([shard_of(brand)])) == 1
    assert ready.client.record_spend(campaign, "1").outcome == "recorded"
    assert ready.client.record_spend(neighbour, "1").outcome == "recorded"
    assert ready.persister.drain_all().rows == 2
