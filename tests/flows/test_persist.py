"""From the journal into the spend log: every acknowledged spend has exactly one row."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from engine.client.sync import Spend
from engine.domain.ids import shard_of
from engine.flows.persist.persister import ShardsStuck, trim_all
from engine.live.keys import keys_of_brand
from engine.wiring import System
from tests.flows.conftest import born_on_the_moved_clock


def rows(system: System, query: str, **values: Any) -> list[Any]:
    with system.db.connect() as conn:
        return [tuple(row) for row in conn.execute(text(query), values)]


def brand_with_campaigns(
    system: System, count: int = 1, daily: int | None = None, name: str = "Aurora"
) -> tuple[int, list[int]]:
    """A published brand and its campaign ids."""
    brand = system.manage.create_brand(name, daily, None, None, "test").row
    born_on_the_moved_clock(system)
    made = system.manage.create_campaigns(brand.id, [f"c{i}" for i in range(count)], "test")
    return brand.id, [c.id for c in made]


def test_each_recorded_spend_has_one_row_with_the_journals_instant_and_number(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    occurred = datetime(2026, 11, 20, 8, 30, 0, 123_000, tzinfo=UTC)
    ready.client.record_spend(campaign, "1.234567", event_id="win/1+a=", request_id="call-1", occurred_at=occurred)
    ready.client.record_spends([Spend(campaign, "2"), Spend(campaign, "3")], request_id="call-2")
    drained = ready.persister.drain_all()
    assert (drained.rows, drained.micros) == (3, 6_234_567)
    assert rows(
        ready,
        "SELECT amount_micros, event_id, request_id, occurred_at, kind, generation, position FROM spend ORDER BY n, position",
    ) == [
        (1_234_567, "win/1+a=", "call-1", occurred, "spend", 1, 0),
        (2_000_000, None, "call-2", None, "spend", 1, 0),
        (3_000_000, None, "call-2", None, "spend", 1, 1),
    ]
    assert rows(ready, "SELECT brand_id, spend_micros, spends FROM campaign_day") == [(brand_id, 6_234_567, 3)]
    ((n, entry, cursor_n, cursor_entry),) = rows(
        ready,
        "SELECT max(l.n), max(recorded_at), max(c.n), max(c.entry_id) FROM spend l JOIN journal_cursor c ON c.shard = l.shard",
    )
    assert n == cursor_n == ready.live.read_shard(shard_of(brand_id)).n
    assert int(cursor_entry.split("-")[0]) == entry.timestamp() * 1000


def test_refused_duplicate_and_unknown_spends_of_a_batch_leave_no_row(ready: System) -> None:
    _, (campaign,) = brand_with_campaigns(ready, daily=5_000_000)
    batch = [
        Spend(campaign, "4", "a"),
        Spend(campaign, "4", "b"),
        Spend(campaign, "4", "a"),
        Spend(campaign + 1, "1"),
        Spend(campaign, "1"),
    ]
    outcomes = [a.outcome for a in ready.client.try_spends(batch, request_id="mixed")]
    assert outcomes == ["accepted", "refused", "duplicate", "unknown_campaign", "accepted"]
    ready.persister.drain_all()
    assert rows(ready, "SELECT position, amount_micros FROM spend ORDER BY position") == [
        (0, 4_000_000),
        (4, 1_000_000),
    ]
    assert rows(ready, "SELECT request_id, outcomes FROM mixed_request") == [("mixed", "k*1,x8*1,d*1,u*1,k*1")]


def test_persisting_again_writes_nothing(ready: System) -> None:
    _, (campaign,) = brand_with_campaigns(ready)
    ready.client.record_spend(campaign, "1")
    assert ready.persister.drain_all().rows == 1
    assert ready.persister.drain_all().rows == 0
    assert rows(ready, "SELECT count(*) FROM spend") == [(1,)]


def test_a_backlog_larger_than_a_transaction_is_carried_over_whole(ready: System) -> None:
    _, campaigns = brand_with_campaigns(ready, 3)
    for i in range(50):
        ready.client.record_spend(campaigns[i % 3], "0.01")
    shard = shard_of(campaigns[0] >> 16)
    steps = 0
    while ready.persister.step([shard], batch=7).left:
        steps += 1
    assert steps == 7
    assert rows(ready, "SELECT count(*), sum(amount_micros) FROM spend") == [(50, 500_000)]


def spends_over_shards(ready: System, brands: int) -> list[int]:
    """A spend of 1 on each of so many new brands; their shards, each once."""
    shards = set()
    for number in range(brands):
        brand_id, (campaign,) = brand_with_campaigns(ready, name=f"Brand {number}")
        ready.client.record_spend(campaign, "1")
        shards.add(shard_of(brand_id))
    return sorted(shards)


def test_what_waits_in_many_shards_is_written_in_one_transaction(ready: System) -> None:
    shards = spends_over_shards(ready, 6)
    assert len(shards) > 2
    ready.persister.drain_all()
    written = rows(
        ready, "SELECT shard, xmin::text FROM spend_log UNION SELECT shard, xmin::text FROM spend_pack ORDER BY shard"
    )
    assert [shard for shard, _ in written] == shards
    assert len({transaction for _, transaction in written}) == 1, "one transaction wrote them all"
    assert rows(ready, "SELECT count(*), sum(spend_micros), sum(spends) FROM campaign_day") == [(6, 6_000_000, 6)]
    assert not ready.persister.waiting()


def test_a_shard_that_another_process_holds_is_left_out_of_a_transaction_and_the_others_are_written(
    ready: System,
) -> None:
    held, *others = spends_over_shards(ready, 6)
    with ready.db.begin() as conn:
        conn.execute(text("SELECT 1 FROM journal_cursor WHERE shard = :s FOR UPDATE"), {"s": held})
        ready.persister.drain_all()
        assert [shard for (shard,) in rows(ready, "SELECT DISTINCT shard FROM spend ORDER BY shard")] == others
    ready.persister.drain_all()
    assert rows(ready, "SELECT count(*), sum(amount_micros) FROM spend") == [(6, 6_000_000)]


def test_of_a_full_transaction_the_shards_that_it_did_not_come_to_are_written_by_the_next(ready: System) -> None:
    spends_over_shards(ready, 6)
    left = [state.shard for state in ready.persister.waiting()]
    seen = [left]
    while left:
        left = ready.persister.step(left, batch=2).left
        seen.append(left)
    assert len(seen) > 3
    assert rows(ready, "SELECT count(*), sum(amount_micros) FROM spend") == [(6, 6_000_000)]
    assert not ready.persister.waiting()


def test_a_shard_with_a_long_backlog_is_gone_on_with_after_the_others(ready: System) -> None:
    long, *others = spends_over_shards(ready, 6)
    ready.persister.drain_all()
    (campaign,) = rows(ready, "SELECT min(campaign_id) FROM spend WHERE shard = :shard", shard=long)[0]
    for _ in range(10):
        ready.client.record_spend(campaign, "1")
    assert ready.persister.step([long, *others], batch=3).left == [*others, long]
    assert rows(ready, "SELECT count(*) FROM spend") == [(6 + 3,)]


def test_a_days_sum_grows_with_each_transaction_that_writes_to_it(ready: System) -> None:
    _, (campaign,) = brand_with_campaigns(ready)
    for amount in ("1", "2", "4"):
        ready.client.record_spend(campaign, amount)
        ready.persister.drain_all()
    assert rows(ready, "SELECT sum(spend_micros), sum(spends) FROM campaign_day") == [(7_000_000, 3)]


def test_a_transaction_that_fails_leaves_no_row_and_no_moved_cursor(ready: System) -> None:
    _, (campaign,) = brand_with_campaigns(ready)
    ready.client.record_spend(campaign, "1")
    with ready.db.begin() as conn:
        conn.execute(text("ALTER TABLE campaign_day RENAME TO away"))
    try:
        with pytest.raises(ShardsStuck, match="campaign_day"):
            ready.persister.drain_all()
    finally:
        with ready.db.begin() as conn:
            conn.execute(text("ALTER TABLE away RENAME TO campaign_day"))
    assert rows(ready, "SELECT count(*) FROM spend") == [(0,)]
    assert ready.persister.drain_all().rows == 1


def test_a_cursor_that_another_process_holds_is_left_alone(ready: System) -> None:
    _, (campaign,) = brand_with_campaigns(ready)
    ready.client.record_spend(campaign, "1")
    shard = shard_of(campaign >> 16)
    with ready.db.begin() as conn:
        conn.execute(text("SELECT 1 FROM journal_cursor WHERE shard = :s FOR UPDATE"), {"s": shard})
        assert ready.persister.step([shard]).locked
    assert ready.persister.drain_all().rows == 1


def test_a_gap_in_the_journal_stops_its_shard_and_names_both_numbers(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    for _ in range(3):
        ready.client.record_spend(campaign, "1")
    journal = keys_of_brand(brand_id).journal
    ready.hot_redis.xdel(journal, ready.hot_redis.xrange(journal)[-2][0])
    ready.persister.drain_all()
    assert rows(ready, "SELECT count(*) FROM spend") == [(0,)]
    ((stopped,),) = rows(ready, "SELECT stopped FROM journal_cursor WHERE shard = :s", s=shard_of(brand_id))
    assert "after n 2 the journal goes on with n 4" in stopped
    assert ready.client.record_spend(campaign, "1").outcome == "not_ready"


def test_an_older_redis_that_came_back_is_found_by_its_number_and_stopped(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    for _ in range(3):
        ready.client.record_spend(campaign, "1")
    ready.persister.drain_all()
    keys = keys_of_brand(brand_id)
    ready.hot_redis.xdel(keys.journal, ready.hot_redis.xrange(keys.journal)[-1][0])
    ready.hot_redis.hset(keys.shard, "n", 3)
    ready.persister.drain_all()
    assert ready.client.record_spend(campaign, "1").outcome == "not_ready"


def test_new_spends_under_numbers_that_postgresql_has_already_are_found_too(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    for _ in range(3):
        ready.client.record_spend(campaign, "1")
    ready.persister.drain_all()
    keys = keys_of_brand(brand_id)
    ready.hot_redis.xdel(keys.journal, ready.hot_redis.xrange(keys.journal)[-1][0])
    ready.hot_redis.hset(keys.shard, "n", 3)
    for _ in range(4):
        ready.client.record_spend(campaign, "5")
    ready.persister.drain_all()
    assert rows(ready, "SELECT count(*) FROM spend") == [(3,)]
    assert ready.client.record_spend(campaign, "1").outcome == "not_ready"


@pytest.mark.parametrize("left", [None, "something else"], ids=["deleted", "wrong type"])
def test_a_quiet_shard_whose_journal_is_gone_is_stopped_and_what_was_spent_is_counted_again_after_the_rebuild(
    ready: System, left: str | None
) -> None:
    """No spend comes that would meet the loss: persist it is that finds it."""
    brand_id, (campaign,) = brand_with_campaigns(ready, daily=3_000_000)
    for _ in range(3):
        ready.client.record_spend(campaign, "1")
    ready.persister.drain_all()
    journal = keys_of_brand(brand_id).journal
    ready.hot_redis.delete(journal)
    if left:
        ready.hot_redis.set(journal, left)
    ready.persister.drain_all()
    assert ready.client.try_spend(campaign, "1").outcome == "not_ready"
    ready.rebuilder.rebuild_missing()
    assert ready.client.try_spend(campaign, "1").outcome == "refused"


def test_a_shard_whose_number_fell_back_is_stopped_before_it_takes_another_spend(ready: System) -> None:
    """Its journal still ends where the cursor stands: nothing but the number tells."""
    brand_id, (campaign,) = brand_with_campaigns(ready)
    for _ in range(3):
        ready.client.record_spend(campaign, "1")
    ready.persister.drain_all()
    ready.hot_redis.hincrby(keys_of_brand(brand_id).shard, "n", -1)
    ready.persister.drain_all()
    assert ready.client.record_spend(campaign, "1").outcome == "not_ready"


def test_a_journal_of_another_instance_is_not_persisted(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    ready.client.record_spend(campaign, "1")
    shard = keys_of_brand(brand_id).shard
    ours = ready.hot_redis.hget(shard, "mark")
    assert ours is not None
    ready.hot_redis.hset(shard, "mark", "someone-else:1")
    assert ready.persister.drain_all().rows == 0
    ready.hot_redis.hset(shard, "mark", ours)
    assert ready.persister.drain_all().rows == 1


def test_a_journal_is_trimmed_of_all_that_is_old_however_much_came_in_a_minute(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    ready.hot_redis.config_set("stream-node-max-entries", 1)  # so that a call drops 100
    try:
        for _ in range(450):
            ready.client.record_spend(campaign, "1")
        ready.persister.drain_all()
        dropped = 0
        for _ in range(2):
            with ready.db.begin() as conn:
                conn.execute(text("UPDATE journal_cursor SET next_at = now() - interval '11 minutes'"))
            dropped = trim_all(ready.db, ready.live, ready.instance, 10)
        assert dropped >= 449
        assert ready.hot_redis.xlen(keys_of_brand(brand_id).journal) == 1
        assert ready.persister.drain_all().rows == 0
    finally:
        ready.hot_redis.config_set("stream-node-max-entries", 100)


def test_the_journal_is_trimmed_only_below_where_the_cursor_stood_long_enough_ago(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    journal, shard = keys_of_brand(brand_id).journal, shard_of(brand_id)
    ready.hot_redis.config_set("stream-node-max-entries", 1)
    try:
        for _ in range(5):
            ready.client.record_spend(campaign, "1")
        ready.persister.drain_all()
        assert trim_all(ready.db, ready.live, ready.instance, 10) == 0
        for _ in range(2):
            with ready.db.begin() as conn:
                conn.execute(text("UPDATE journal_cursor SET next_at = now() - interval '11 minutes'"))
            trim_all(ready.db, ready.live, ready.instance, 10)
        left = ready.hot_redis.xrange(journal)
        assert len(left) == 1
        ((entry_id,),) = rows(ready, "SELECT entry_id FROM journal_cursor WHERE shard = :s", s=shard)
        assert left[0][0].decode() == entry_id, "the cursor's own entry must stay: persist joins on to it"
        ready.client.record_spend(campaign, "1")
        assert ready.persister.drain_all().rows == 1
    finally:
        ready.hot_redis.config_set("stream-node-max-entries", 100)
