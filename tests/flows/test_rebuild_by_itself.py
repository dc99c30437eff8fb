"""A Redis that lost its marks is whole again within seconds, without anybody's help, and says what nobody can know."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from decimal import Decimal

import pytest
from sqlalchemy import text

from engine import jobs
from engine.client.sync import Spend
from engine.domain.ids import shard_of
from engine.ledger import runs
from engine.live.keys import keys_of_brand
from engine.wiring import System
from tests.flows.test_persist import brand_with_campaigns, rows
from tests.flows.test_verify import failed
from tests.patience import in_time


@pytest.fixture
def persisting(ready: System) -> Iterator[System]:
    """The system with a persist job at work, as a worker runs it."""
    worker = threading.Thread(target=jobs._persist, args=(runs.Run(), ready))
    worker.start()
    yield ready
    jobs.STOPPING.set()
    worker.join()
    jobs.STOPPING.clear()


def until(what: str, holds: object, seconds: float) -> float:
    started = time.monotonic()
    while not holds():  # type: ignore[operator]
        assert in_time(time.monotonic() - started, seconds), f"{what}: not within {seconds} s"
        time.sleep(0.05)
    return time.monotonic() - started


def test_a_missing_mark_is_rebuilt_within_five_seconds_by_the_persist_job(persisting: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(persisting, daily=10_000_000)
    persisting.client.record_spend(campaign, "4")
    until("persisted", lambda: rows(persisting, "SELECT count(*) FROM spend") == [(1,)], 10)
    shard = shard_of(brand_id)
    n = persisting.live.read_shard(shard).n
    persisting.live.unmark(persisting.instance, shard, "test")
    until("one shard", lambda: persisting.live.read_shard(shard).ready, 5)
    assert persisting.client.record_spend(campaign, "1").daily_spend == Decimal(5)
    persisting.hot_redis.flushall()
    begun = lambda: rows(persisting, "SELECT count(*) FROM job_run WHERE job = 'rebuild'")[0][0] >= 2  # noqa: E731
    until("the rebuild of all begins", begun, 5)
    until("all shards", lambda: all(state.ready for state in persisting.live.read_shards()), 15)
    until(
        "told",
        lambda: (
            rows(persisting, "SELECT count(*) FROM job_run WHERE job = 'rebuild' AND outcome = 'running'") == [(0,)]
        ),
        15,
    )
    ((detail,),) = rows(persisting, "SELECT detail FROM job_run WHERE job = 'rebuild' ORDER BY id DESC LIMIT 1")
    assert "journals lost, nobody knows: shard" in detail
    assert n > 0


@pytest.mark.long
def test_a_key_that_nobody_touches_is_found_lost_by_the_sweep_and_its_shard_rebuilt(persisting: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(persisting, daily=10_000_000)
    held = persisting.client.reserve(campaign, "4", 600)
    until("persisted", lambda: rows(persisting, "SELECT state FROM hold") == [("open",)], 10)
    shard, keys = shard_of(brand_id), keys_of_brand(brand_id)
    for key in (keys.registry, keys.holds(brand_id)[0]):
        for _ in range(3):
            before = persisting.live.read_shard(shard).generation
            persisting.hot_redis.delete(key)
            persisting.hot_redis.set(key, "something else")
            run = runs.Run()
            jobs._sweep(run, persisting)
            until("rebuilt", lambda g=before: persisting.live.read_shard(shard).generation > g, 10)  # type: ignore[misc]
            # Its last look at the shard would find the next key lost before the sweep does.
            until(
                "over",
                lambda: not rows(persisting, "SELECT 1 FROM job_run WHERE job = 'rebuild' AND outcome = 'running'"),
                10,
            )
            if run.outcome == "failed":
                break
            # Persist, which looks every ten seconds, was there first.
        assert run.outcome == "failed"
        assert "keys gone or of a wrong type in shard 1" in run.detail
        jobs._sweep(run := runs.Run(), persisting)
        assert (run.outcome, run.detail) == ("done", "0 holds of 0 brands expired")
    assert persisting.client.settle(held.hold_id, "4").outcome == "settled"


@pytest.mark.parametrize("harm", ["deleted", "another type", "a field gone"])
def test_a_campaign_that_nobody_spends_for_is_found_lost_by_the_check(
    ready: System, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    brand_id, (_, campaign) = brand_with_campaigns(ready, 2, daily=10_000_000)
    key = keys_of_brand(brand_id).campaign(campaign)
    if harm == "a field gone":
        ready.hot_redis.hdel(key, "schedule")
    else:
        ready.hot_redis.delete(key)
    if harm == "another type":
        ready.hot_redis.set(key, "something else")
    assert ready.status.refresh_all() == 0
    assert "keys gone or of a wrong type in shard 1" in caplog.text
    assert ready.live.read_shard(shard_of(brand_id)).why == f"lost {key}"
    ready.rebuilder.rebuild_missing()
    assert ready.client.record_spend(campaign, "1").outcome == "recorded"
    assert failed(ready) == {}


def test_a_check_takes_no_shard_out_of_use_for_a_campaign_that_is_not_published_yet(ready: System) -> None:
    brand_id, _ = brand_with_campaigns(ready)
    before = ready.live.read_shard(shard_of(brand_id)).generation
    ready.catalog.create_campaign(brand_id, "later", None, None, "anna")
    ready.status.refresh_all()
    state = ready.live.read_shard(shard_of(brand_id))
    assert (state.ready, state.generation) == (True, before)


def test_a_lost_journal_is_reported_with_the_last_number_that_postgresql_has(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready)
    ready.client.record_spend(campaign, "1")
    ready.persister.drain_all()
    n = ready.live.read_shard(shard_of(brand_id)).n
    ready.client.record_spend(campaign, "2")
    ready.hot_redis.flushall()
    (rebuilt,) = [r for r in ready.rebuilder.rebuild_missing() if r.shard == shard_of(brand_id)]
    assert rebuilt.unknown == ((n + 1, None),)
    assert f"nobody knows n {n + 1} and after" in str(rebuilt)
    assert failed(ready) == {}


@pytest.mark.long
def test_a_thousand_brands_with_two_campaigns_each_are_ready_again_in_under_ten_seconds(ready: System) -> None:
    with ready.db.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO brand (name, next_ordinal, published_version) SELECT 'b' || i, 3, 1 FROM generate_series(1, 1000) AS i"
            )
        )
        conn.execute(
            text(
                "INSERT INTO campaign (id, brand_id, ordinal, name, published_version)"
                " SELECT b.id * 65536 + o, b.id, o, 'c' || o, 1 FROM brand AS b, generate_series(1, 2) AS o"
            )
        )
        ids = [row.id for row in conn.execute(text("SELECT id FROM brand ORDER BY id"))]
    ready.hot_redis.flushall()
    ready.rebuilder.rebuild_missing()
    spends = [Spend(brand_id * 65536 + o, "0.5", f"e{brand_id}-{o}") for brand_id in ids for o in (1, 2)]
    for start in range(0, len(spends), 200):
        ready.client.record_spends(spends[start : start + 200])
    ready.persister.drain_all()
    ready.status.refresh_all()
    ready.hot_redis.flushall()
    started = time.monotonic()
    assert len(ready.rebuilder.rebuild_missing()) == 64
    assert in_time(time.monotonic() - started, 5)
    assert ready.client.record_spend(ids[-1] * 65536 + 2, "1").daily_spend == Decimal(2)
    assert ready.client.record_spend(ids[0] * 65536 + 1, "0.5", event_id=f"e{ids[0]}-1").outcome == "duplicate"
    assert failed(ready) == {}
