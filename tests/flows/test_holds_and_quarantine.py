"""Holds, refunds and poisoned entries on their way into PostgreSQL, and back into a rebuilt Redis."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy import text

from engine.domain.ids import shard_of
from engine.domain.periods import ms_of
from engine.errors import BudgetError
from engine.flows.persist import ingest
from engine.ledger import quarantine
from engine.live.keys import keys_of_brand
from engine.wiring import System
from tests.flows.conftest import at, rows_only
from tests.flows.test_persist import brand_with_campaigns, rows


def test_each_end_of_a_hold_is_logged_and_only_settled_money_has_a_row(ready: System) -> None:
    _, (campaign,) = brand_with_campaigns(ready, daily=20_000_000)
    client = ready.client
    for name, end in (("a", "settle"), ("b", "release"), ("c", "over"), ("d", "open")):
        held = client.reserve(campaign, "3", 600, name)
        if end == "settle":
            client.settle(held.hold_id, "2")
        elif end == "over":
            client.settle(held.hold_id, "5")
        elif end == "release":
            client.release(held.hold_id)
    client.settle(f"{campaign}:z", "1")
    ready.persister.drain_all()
    assert rows(ready, "SELECT hold_id, state, held_micros, settled_micros FROM hold ORDER BY hold_id") == [
        ("a", "settled", 3_000_000, 2_000_000),
        ("b", "released", 3_000_000, 0),
        ("c", "over", 3_000_000, 5_000_000),
        ("d", "open", 3_000_000, 0),
        ("z", "late", 0, 1_000_000),
    ]
    assert rows(ready, "SELECT kind, hold_id, amount_micros FROM spend ORDER BY n, position") == [
        ("spend", "a", 2_000_000),
        ("over", "c", 5_000_000),
        ("late", "z", 1_000_000),
    ]


def test_a_rebuild_restores_open_holds_their_expiry_and_the_ends_of_the_others(clock: System) -> None:
    now = ms_of(datetime(2030, 5, 5, 12, tzinfo=UTC))
    at(clock, now)
    _, (campaign,) = brand_with_campaigns(clock, daily=10_000_000)
    client = clock.client
    held, ended = client.reserve(campaign, "6", 60), client.reserve(campaign, "1", 60)
    client.settle(ended.hold_id, "1")
    clock.persister.drain_all()
    clock.hot_redis.flushall()
    at(clock, now)
    clock.rebuilder.rebuild_missing()
    assert client.try_spend(campaign, "4").outcome == "refused"
    assert client.try_spend(campaign, "3").outcome == "accepted"
    again = client.settle(ended.hold_id, "1")
    assert (again.outcome, again.mark, again.daily_spend) == ("settled", "", Decimal(4))
    at(clock, now + 60_000)
    assert client.try_spend(campaign, "6").outcome == "accepted"
    assert client.release(held.hold_id).outcome == "expired"


def test_a_refund_is_an_opposite_row_and_the_daily_sum_goes_down(ready: System) -> None:
    _, (campaign,) = brand_with_campaigns(ready)
    ready.client.record_spend(campaign, "5", event_id="win")
    ready.client.refund(campaign, "2", "win")
    ready.persister.drain_all()
    assert rows(ready, "SELECT kind, amount_micros, event_id FROM spend ORDER BY n") == [
        ("spend", 5_000_000, "win"),
        ("refund", -2_000_000, "win"),
    ]
    assert rows(ready, "SELECT spend_micros, spends FROM campaign_day") == [(3_000_000, 1)]
    ready.hot_redis.flushall()
    ready.rebuilder.rebuild_missing()
    again = ready.client.refund(campaign, "2", "win")
    assert (again.outcome, again.daily_spend) == ("refunded", Decimal(3))
    assert ready.client.refund(campaign, "1", "win").outcome == "conflict"


def test_a_refund_of_a_closed_day_is_a_correction_and_the_closed_total_stays(clock: System) -> None:
    at(clock, ms_of(datetime(2030, 5, 5, 23, 59, 30, tzinfo=UTC)))
    _, (campaign,) = brand_with_campaigns(clock)
    with clock.db.begin() as conn:
        conn.execute(text("UPDATE brand SET created_at = '2030-05-05'"))
    clock.client.record_spend(campaign, "5", event_id="win")
    clock.persister.drain_all()
    at(clock, ms_of(datetime(2030, 5, 6, 0, 0, tzinfo=UTC)))
    clock.closer.close_ended()
    assert clock.client.refund(campaign, "5", "win").monthly_spend == Decimal(0)
    clock.persister.drain_all()
    assert rows(clock, "SELECT kind, day::text FROM spend ORDER BY n") == [
        ("spend", "2030-05-05"),
        ("correction", "2030-05-05"),
    ]
    assert rows(clock, "SELECT spend_micros FROM period_total WHERE spend_micros > 0") == [(5_000_000,)]
    at(clock, ms_of(datetime(2030, 6, 1, tzinfo=UTC)))
    assert clock.closer.close_ended().drift == []


def poison(system: System, brand_id: int, fields: Mapping[str, str | bytes]) -> None:
    """An entry in the journal as no script writes it, in its turn of n."""
    keys = keys_of_brand(brand_id)
    n = system.hot_redis.hincrby(keys.shard, "n", 1)
    system.hot_redis.xadd(keys.journal, {"f": "1", "n": n, **fields})


def test_fault_5_a_poisoned_entry_is_set_aside_with_its_bytes_and_the_rest_goes_through(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    ready.client.record_spend(campaign, "1")
    poison(ready, brand_id, {"r": "x", "b": f"{campaign},nonsense;"})
    poison(ready, brand_id, {"r": "y", "b": f"{campaign + 65536},7,,;"})
    ready.client.record_spend(campaign, "2")
    drained = ready.persister.drain_all()
    assert (drained.rows, drained.quarantined) == (2, 2)
    with ready.db.connect() as conn:
        first, second = quarantine.rows(conn)
        assert first.raw().get(b"b") == f"{campaign},nonsense;".encode()
        assert "does not read" in first.reason
        assert "home" in second.reason
        assert quarantine.sums(conn, [brand_id + 1]) and second.micros == 7
    assert ready.client.record_spend(campaign, "1").outcome == "recorded"
    assert ready.persister.drain_all().rows == 1


def test_an_entry_without_a_number_is_set_aside_once_and_blocks_nothing(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    ready.hot_redis.xadd(keys_of_brand(brand_id).journal, {"hello": b"\x00\xff"})
    for _ in range(2):
        ready.client.record_spend(campaign, "1")
        assert ready.persister.drain_all().rows == 1
    with ready.db.connect() as conn:
        (row,) = quarantine.rows(conn)
    assert (row.n, row.raw()) == (None, {b"hello": b"\x00\xff"})


@rows_only
def test_a_quarantined_entry_is_booked_by_a_retry_once_it_can_be(ready: System) -> None:
    _brand_id, (campaign,) = brand_with_campaigns(ready)
    ready.client.record_spend(campaign, "1")
    ready.client.record_spend(campaign, "3")
    ready.client.record_spend(campaign, "1")
    with ready.db.begin() as conn:
        conn.execute(text("ALTER TABLE spend_log ADD CONSTRAINT no_threes CHECK (amount_micros <> 3000000)"))
    assert ready.persister.drain_all().quarantined == 1
    with ready.db.begin() as conn:
        (row,) = quarantine.rows(conn)
    with pytest.raises(BudgetError, match="no_threes"), ready.db.begin() as conn:
        ingest.retry(conn, quarantine.lock(conn, row.id), ready.persister.make_partitions)
    with ready.db.begin() as conn:
        conn.execute(text("ALTER TABLE spend_log DROP CONSTRAINT no_threes"))
    with ready.db.begin() as conn:
        assert ingest.retry(conn, quarantine.lock(conn, row.id), ready.persister.make_partitions) == 1
        quarantine.end(conn, row.id, "persisted", "test")
    assert rows(ready, "SELECT sum(amount_micros) FROM spend") == [(5_000_000,)]
    assert rows(ready, "SELECT spend_micros FROM campaign_day") == [(5_000_000,)]


@rows_only
def test_a_rebuild_counts_what_lies_in_quarantine(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready, daily=10_000_000)
    for amount in ("1", "3", "1"):
        ready.client.record_spend(campaign, amount)
    with ready.db.begin() as conn:
        conn.execute(text("ALTER TABLE spend_log ADD CONSTRAINT no_threes CHECK (amount_micros <> 3000000)"))
    ready.persister.drain_all()
    ready.rebuilder.rebuild([shard_of(brand_id)])
    assert ready.client.record_spend(campaign, "1").daily_spend == Decimal(6)
