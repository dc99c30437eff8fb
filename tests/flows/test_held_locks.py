"""Somebody in our database keeps advisory locks of ours: each costs its own part only, and doctor names who."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from sqlalchemy import text

from engine.domain.ids import SHARDS
from engine.flows.catalog import status
from engine.flows.catalog.check import check_all
from engine.flows.persist.persister import DrainStats
from engine.flows.rebuild.rebuilder import NotAllRebuilt
from engine.jobs import persist_loop
from engine.ledger import locks, spend_log
from engine.ledger.database import make_engine
from engine.ledger.locks import LOCKED_OUT, Lock, LockHeld, key_of
from engine.views.doctor.waits import look_at_held
from engine.wiring import System
from tests.flows.test_persist import brand_with_campaigns, rows
from tests.patience import PATIENCE_S


@contextmanager
def kept(system: System, *locks: tuple[Lock, int]) -> Iterator[int]:
    """Another program's session that keeps them, as anybody may who may connect; answers its process."""
    other = make_engine(system.settings.database_url + "?application_name=stranger")
    with other.connect() as conn:
        for kind, number in locks:
            conn.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key_of(kind, number)})
        yield conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
    other.dispose()


def paused(system: System, campaign: int) -> bool:
    return system.catalog.campaign(campaign).status == "paused"


def test_a_brand_that_somebody_keeps_locked_costs_its_own_status_and_persist_goes_on(
    ready: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "LOCKED_S", 0.1)
    locked, (one,) = brand_with_campaigns(ready, daily=1_000_000)
    _, (two,) = brand_with_campaigns(ready, daily=1_000_000, name="Other")
    loop, total = persist_loop(ready), DrainStats()
    with kept(ready, (Lock.BRAND, locked)) as pid:
        for campaign in (one, two):
            ready.client.record_spend(campaign, "1")
        began = time.monotonic()
        loop.run(lambda: paused(ready, two) or time.monotonic() - began > PATIENCE_S, total)
        assert (total.rows, paused(ready, one), paused(ready, two)) == (2, False, True)
        assert "keeps the lock BRAND of " + str(locked) in loop.alarm()
        assert "status" not in loop.troubles.seen, "the other brands' statuses do not rest with its own"
        with pytest.raises(LockHeld) as told:
            check_all(ready.publisher, ready.status)
        assert told.value.numbers == {locked}
        ready.client.record_spend(one, "1")
        began, before = time.monotonic(), total.rows
        loop.run(lambda: total.rows > before or time.monotonic() - began > PATIENCE_S, total)
        assert time.monotonic() - began < PATIENCE_S / 2
        (found,) = look_at_held(ready.db)
        assert (
            found.state == "fail"
            and f"process {pid} (stranger" in found.detail
            and f"BRAND of {locked}" in found.detail
        )
        changed = ready.manage.pause_campaign(one, "mia")
        assert not changed.published and changed.why_not.endswith("the change is kept")
        assert ready.client.status(one).reasons == ("manual", "daily_budget"), "it is in force"
    began = time.monotonic()
    loop.run(lambda: paused(ready, one) or time.monotonic() - began > 2 * PATIENCE_S, total)
    assert rows(ready, f"SELECT count(*) FROM status_change WHERE campaign_id = {one} AND status = 'paused'") == [(1,)]
    assert [found.state for found in look_at_held(ready.db)] == ["ok"]


def test_with_the_partitions_lock_kept_on_a_new_day_every_other_duty_of_persist_goes_on(
    ready: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spend_log, "take", partial(locks.take, wait_s=0.1))
    made = [brand_with_campaigns(ready, name=f"brand {i}") for i in range(8)]
    loop, total = persist_loop(ready), DrainStats()
    with kept(ready, (Lock.PARTITION, 0)):
        for _, (campaign,) in made:
            ready.client.record_spend(campaign, "1")
        brand, _ = made[0]
        ready.catalog.update_brand(brand, "mia", daily_budget_micros=5_000_000)
        began = time.monotonic()
        done = lambda: not ready.catalog.unpublished() or time.monotonic() - began > PATIENCE_S  # noqa: E731
        loop.run(done, total)
        assert (total.rows, ready.catalog.unpublished()) == (0, [])
        assert LOCKED_OUT in loop.alarm()
    began = time.monotonic()
    loop.run(lambda: total.rows == 8 or time.monotonic() - began > 2 * PATIENCE_S, total)
    assert total.rows == 8


def test_work_that_waits_for_no_lock_tells_that_a_stranger_keeps_it(ready: System) -> None:
    brand, _ = brand_with_campaigns(ready)
    ready.live.unmark(ready.instance, brand % SHARDS, "test")
    other = (brand + 1) % SHARDS
    ready.live.unmark(ready.instance, other, "test")
    with kept(ready, (Lock.REBUILD, brand % SHARDS)), pytest.raises(NotAllRebuilt) as told:
        ready.rebuilder.rebuild_missing()
    assert f"keeps the lock REBUILD of {brand % SHARDS}" in str(told.value)
    assert [one.shard for one in told.value.done] == [other], "the other shard is rebuilt"
    assert len(ready.rebuilder.rebuild_missing()) == 1


def test_doctor_names_every_lock_of_ours_that_a_stranger_keeps_and_none_that_we_hold_at_work(ready: System) -> None:
    highest = 2**37 - 1
    strange = [*((kind, 5) for kind in Lock), (Lock.BRAND, highest), *((Lock.REBUILD, s) for s in range(SHARDS))]
    with kept(ready, *dict.fromkeys(strange)) as pid, ready.db.begin() as ours:
        ours.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key_of(Lock.BRAND, 7)})
        found = list(look_at_held(ready.db))
        assert [finding.detail.split(" keeps the lock ")[1].split()[0] for finding in found] == [
            kind.name for kind in Lock
        ]
        assert all(f"pg_terminate_backend({pid})" in finding.todo for finding in found)
        assert f"of 5, {highest}: the statuses" in found[2].detail
