"""A rebuild after Redis fell back reads what changed, and not all that is kept; and it says which numbers nobody knows."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from sqlalchemy import text

from engine.client.sync import Spend
from engine.domain.ids import shard_of
from engine.flows.rebuild import fork
from engine.flows.rebuild.fork import Unknown
from engine.flows.rebuild.rebuilder import NotAllRebuilt, Rebuilt, lost_in
from engine.live.keys import keys_of_brand, shard_keys
from engine.wiring import System
from tests.flows.test_at_size import statements
from tests.flows.test_persist import brand_with_campaigns, rows
from tests.flows.test_verify import failed
from tests.patience import PATIENCE_S
from tests.processes.conftest import brand_of


def snapshot(system: System, shard: int) -> dict[bytes, bytes]:
    """Everything that Redis has of a shard, as a replica would have it from now on."""
    plain: Any = system.hot_redis
    tag = shard_keys(shard).shard.rpartition(":")[0].replace("{", "[{]")
    return {key: plain.dump(key) for key in plain.keys(f"{tag}:*")}


def promoted(system: System, kept: dict[bytes, bytes]) -> None:
    """That replica is the primary now."""
    for key, value in kept.items():
        system.hot_redis.restore(key, 0, value, replace=True)


def healed(system: System) -> Rebuilt:
    """Persist notices, and the shard is rebuilt."""
    system.persister.drain()
    try:
        (rebuilt,) = system.rebuilder.rebuild_missing()
    except NotAllRebuilt as why:
        pytest.fail(f"the shard is not healed: {why}")
    system.persister.drain_all()
    return rebuilt


def asked_of_the_log(system: System, kept_entries: int) -> int:
    """How many questions a rebuild asks PostgreSQL after a fall-back behind so many entries."""
    brand_id, (campaign,) = brand_of(system, f"kept {kept_entries}", 1)
    for _ in range(kept_entries):
        system.client.record_spend(campaign, "1")
    system.persister.drain_all()
    kept = snapshot(system, shard_of(brand_id))
    system.client.record_spend(campaign, "2", event_id="win", request_id="again")
    system.persister.drain_all()
    promoted(system, kept)
    system.client.record_spend(campaign, "2", event_id="win", request_id="again")
    system.client.record_spend(campaign, "4")
    system.persister.drain()
    with statements(system) as asked:
        (rebuilt,) = system.rebuilder.rebuild_missing()
    assert rebuilt.salvaged == 1
    assert failed(system) == {}
    return len(asked)


def test_a_rebuild_asks_postgresql_no_more_for_more_entries_that_it_has_already(
    ready: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fork, "SLICE", 20)
    assert asked_of_the_log(ready, 400) <= asked_of_the_log(ready, 30) + 2


def test_entries_that_are_missing_are_asked_for_a_slice_at_a_time(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    ready.client.record_spend(campaign, "1")
    ready.persister.drain_all()
    kept = snapshot(ready, shard_of(brand_id))
    ready.client.record_spend(campaign, "1")
    ready.persister.drain_all()
    promoted(ready, kept)
    for i in range(300):
        ready.client.record_spend(campaign, "1", event_id=f"win-{i}")
    ready.persister.drain()
    with statements(ready) as asked:
        (rebuilt,) = ready.rebuilder.rebuild_missing()
    assert rebuilt.salvaged == 300
    assert len([one for one in asked if "FROM spend" in one and "brand_id = ANY" in one]) <= 6
    assert rows(ready, "SELECT count(*), sum(amount_micros) FROM spend") == [(302, 302_000_000)]
    assert failed(ready) == {}


def test_a_hold_settled_again_after_a_fall_back_is_booked_once(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    held = ready.client.reserve(campaign, "4", 600)
    ready.persister.drain_all()
    kept = snapshot(ready, shard_of(brand_id))
    ready.client.settle(held.hold_id, "3")
    ready.persister.drain_all()
    promoted(ready, kept)
    ready.client.record_spend(campaign, "1")
    ready.client.settle(held.hold_id, "3")
    healed(ready)
    assert rows(ready, "SELECT amount_micros FROM spend ORDER BY 1") == [(1_000_000,), (3_000_000,)]
    assert failed(ready) == {}


@pytest.mark.parametrize("packed", [False, True])
def test_a_call_of_which_a_part_was_in_the_log_is_still_known_after_the_rebuild(ready: System, packed: bool) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    ready.client.record_spend(campaign, "1")
    ready.persister.drain_all()
    kept = snapshot(ready, shard_of(brand_id))
    ready.client.record_spend(campaign, "1", event_id="win-1")
    ready.persister.drain_all()
    promoted(ready, kept)
    call = [Spend(campaign, "1", f"win-{i}") for i in range(1, 30 if packed else 3)]
    assert {a.outcome for a in ready.client.record_spends(call, request_id="part")} == {"recorded"}
    healed(ready)
    assert {a.outcome for a in ready.client.record_spends(call, request_id="part")} == {"recorded"}
    assert ready.persister.drain_all().rows == 0
    assert rows(ready, "SELECT count(*) FROM spend") == [(1 + len(call),)]
    assert failed(ready) == {}


def test_ids_of_calls_that_redis_had_lost_are_known_after_the_rebuild(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    ready.client.record_spend(campaign, "1", event_id="before", request_id="r-before")
    ready.persister.drain_all()
    kept = snapshot(ready, shard_of(brand_id))
    ready.client.record_spend(campaign, "1", event_id="lost", request_id="r-lost")
    ready.persister.drain_all()
    promoted(ready, kept)
    ready.client.record_spend(campaign, "1", event_id="after", request_id="r-after")
    healed(ready)
    for name in ("before", "lost", "after"):
        assert ready.client.record_spend(campaign, "1", event_id=name).outcome == "duplicate"
        assert ready.client.record_spend(campaign, "1", event_id=name, request_id=f"r-{name}").outcome == "recorded"
    assert ready.persister.drain_all().rows == 0
    assert failed(ready) == {}


def test_a_refund_given_again_after_a_fall_back_is_given_once_and_its_sum_is_kept(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    ready.client.record_spend(campaign, "5", event_id="win")
    ready.client.refund(campaign, "1", "win", refund_id="one")
    ready.persister.drain_all()
    kept = snapshot(ready, shard_of(brand_id))
    ready.client.refund(campaign, "2", "win", refund_id="two")
    ready.persister.drain_all()
    promoted(ready, kept)
    ready.client.record_spend(campaign, "7")
    ready.client.refund(campaign, "2", "win", refund_id="two")
    healed(ready)
    assert ready.client.refund(campaign, "3", "win", refund_id="three").outcome == "conflict"
    assert ready.client.refund(campaign, "2", "win", refund_id="four").outcome == "refunded"
    ready.persister.drain_all()
    assert rows(ready, "SELECT sum(amount_micros) FROM spend") == [(7_000_000,)]
    assert failed(ready) == {}


def test_an_entry_set_aside_is_not_set_aside_again_by_a_rebuild(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    keys = keys_of_brand(brand_id)
    ready.client.record_spend(campaign, "1")
    n = ready.live.read_shard(shard_of(brand_id)).n + 1
    ready.hot_redis.xadd(keys.journal, {"f": "1", "n": n, "r": "odd", "b": "not spends"})
    ready.hot_redis.hset(keys.shard, "n", n)
    ready.client.record_spend(campaign, "2")
    ready.persister.drain_all()
    kept = snapshot(ready, shard_of(brand_id))
    ready.client.record_spend(campaign, "4")
    ready.persister.drain_all()
    promoted(ready, kept)
    ready.client.record_spend(campaign, "8")
    healed(ready)
    assert rows(ready, "SELECT count(*) FROM quarantine") == [(1,)]
    assert rows(ready, "SELECT sum(amount_micros) FROM spend") == [(15_000_000,)]


def test_a_fall_back_names_the_number_from_which_on_nobody_knows(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    for _ in range(3):
        ready.client.record_spend(campaign, "1")
    ready.persister.drain_all()
    kept = snapshot(ready, shard_of(brand_id))
    ready.client.record_spend(campaign, "1")
    ready.persister.drain_all()
    n = ready.live.read_shard(shard_of(brand_id)).n
    promoted(ready, kept)
    for _ in range(5):
        ready.client.record_spend(campaign, "1")
    assert healed(ready).unknown == (Unknown(n + 1, None),)


def test_a_gap_in_the_journal_is_named_from_its_first_number_to_its_last(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    journal = keys_of_brand(brand_id).journal
    for _ in range(3):
        ready.client.record_spend(campaign, "1")
    ready.persister.drain_all()
    n = ready.live.read_shard(shard_of(brand_id)).n
    for _ in range(6):
        ready.client.record_spend(campaign, "1")
    entries: Any = ready.hot_redis.xrange(journal)
    ready.hot_redis.xdel(journal, *[name for name, _ in entries[-6:-4]], entries[-2][0])
    rebuilt = healed(ready)
    assert rebuilt.unknown == (Unknown(n + 1, n + 2), Unknown(n + 5, n + 5))
    assert lost_in([rebuilt]) == (
        f"; journals lost, nobody knows: shard {shard_of(brand_id)} n {n + 1} to {n + 2}, n {n + 5}"
    )
    assert rows(ready, "SELECT count(*) FROM spend") == [(6,)]


def test_a_journal_that_is_gone_is_named_up_to_the_number_that_its_shard_had_reached(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    ready.client.record_spend(campaign, "1")
    ready.persister.drain_all()
    n = ready.live.read_shard(shard_of(brand_id)).n
    for _ in range(4):
        ready.client.record_spend(campaign, "1")
    ready.hot_redis.delete(keys_of_brand(brand_id).journal)
    assert healed(ready).unknown == (Unknown(n + 1, n + 4),)


def test_several_shards_are_rebuilt_side_by_side(ready: System, monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(2)
    rebuild = ready.rebuilder._rebuild

    def waits_for_another(*args: Any) -> Rebuilt:
        together.wait(PATIENCE_S)
        return rebuild(*args)

    monkeypatch.setattr(ready.rebuilder, "_rebuild", waits_for_another)
    assert [of.shard for of in sorted(ready.rebuilder.rebuild([3, 4]), key=lambda of: of.shard)] == [3, 4]


def test_a_rebuild_after_one_that_died_before_its_end_books_nothing_twice(
    ready: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    ready.client.record_spend(campaign, "1")
    ready.persister.drain_all()
    kept = snapshot(ready, shard_of(brand_id))
    ready.client.record_spend(campaign, "2", event_id="win")
    ready.persister.drain_all()
    promoted(ready, kept)
    ready.client.record_spends([Spend(campaign, "2", "win"), Spend(campaign, "4", "other")])
    ready.client.record_spend(campaign, "8")
    ready.persister.drain()
    with monkeypatch.context() as dying:
        dying.setattr(ready.rebuilder, "_read", lambda *_: time.sleep(-1))
        with pytest.raises(Exception, match="negative"):
            ready.rebuilder.rebuild_missing()
    healed(ready)
    assert rows(ready, "SELECT amount_micros FROM spend ORDER BY 1") == [
        (1_000_000,), (2_000_000,), (4_000_000,), (8_000_000,),
    ]  # fmt: skip
    assert failed(ready) == {}
    with ready.db.connect() as conn:
        assert conn.execute(text("SELECT count(*) FROM quarantine")).scalar_one() == 0


def test_a_rebuild_after_a_fall_back_reads_no_id_that_redis_still_has(
    ready: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    for i in range(5):
        ready.client.record_spend(campaign, "1", event_id=f"before-{i}")
        time.sleep(0.002)
    ready.persister.drain_all()
    kept = snapshot(ready, shard_of(brand_id))
    time.sleep(0.002)
    ready.client.record_spend(campaign, "1", event_id="lost")
    ready.persister.drain_all()
    promoted(ready, kept)
    ready.client.record_spend(campaign, "1", event_id="after")
    assert healed(ready).events <= 3, "the last before, the lost and the one after"
    for name in ("before-0", "lost", "after"):
        assert ready.client.record_spend(campaign, "1", event_id=name).outcome == "duplicate"


@pytest.mark.parametrize("harm", ["guard", "window", "type"])
def test_memories_that_are_not_whole_are_written_anew_after_a_fall_back(ready: System, harm: str) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    keys = keys_of_brand(brand_id)
    for i in range(5):
        ready.client.record_spend(campaign, "1", event_id=f"before-{i}")
    ready.persister.drain_all()
    kept = snapshot(ready, shard_of(brand_id))
    ready.client.record_spend(campaign, "1", event_id="lost")
    ready.persister.drain_all()
    promoted(ready, kept)
    if harm == "window":
        # The replica was promoted so late that its window is over: the next call would forget a hash.
        ready.hot_redis.hset(keys.shard, "ev_until", 3_600_000)
    else:
        ready.hot_redis.delete(keys.events[0])
    if harm == "type":
        ready.hot_redis.set(keys.events[0], "something else")
    assert healed(ready).events == 6
    for name in ("before-0", "lost"):
        assert ready.client.record_spend(campaign, "1", event_id=name).outcome == "duplicate"
    assert failed(ready) == {}
