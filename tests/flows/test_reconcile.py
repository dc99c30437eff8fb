"""Reconcile repairs what somebody else did to a counter, by a logged difference, once, and leaves alone what is not the counter's fault."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import text

from engine.domain.periods import day_of, month_of
from engine.flows.upkeep.sweep import sweep_expired
from engine.flows.verify import reconcile
from engine.live.keys import keys_of_brand
from engine.live.repair import adjust
from engine.views.alarms import money_alarms
from engine.wiring import System
from tests.flows.conftest import at
from tests.flows.test_persist import brand_with_campaigns, rows
from tests.flows.test_verify import NOON, failed


def tamper(system: System, micros: int) -> None:
    now = system.live.now_ms()
    for name in (f"d:{day_of(now)}", f"m:{month_of(now)}"):
        system.hot_redis.hincrby(keys_of_brand(1).brand(1), name, micros)


def test_each_difference_is_added_once_and_kept_as_a_correction(ready: System) -> None:
    _, (one,) = brand_with_campaigns(ready, daily=10_000_000)
    ready.client.record_spend(one, "2")
    tamper(ready, 500_000)
    assert failed(ready)["V1"] == 500_000
    first = ready.reconciler.reconcile()
    assert [repair.difference.apart for repair in first.repairs] == [500_000, 500_000]
    assert ready.reconciler.reconcile().repairs == []
    ready.persister.drain_all()
    kept = rows(ready, "SELECT brand_id, campaign_id, difference_micros FROM counter_correction")
    assert kept == [(1, None, -500_000)] * 2
    assert failed(ready) == {}
    ready.hot_redis.flushall()
    ready.rebuilder.rebuild_missing()
    assert failed(ready) == {}


def test_a_dry_run_says_what_it_would_add_and_adds_nothing(ready: System) -> None:
    brand_with_campaigns(ready)
    tamper(ready, -3)
    done = ready.reconciler.reconcile(dry_run=True)
    assert "would add +3" in str(done.repairs[0])
    assert failed(ready)["V1"] == 3


def test_a_reconcile_killed_between_two_corrections_and_run_again_adds_each_once(
    ready: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    brand_with_campaigns(ready)
    tamper(ready, 7)
    made: list[str] = []

    def killed_after_one(*args: object, **kwargs: object) -> object:
        made.append("one")
        done = adjust(*args, **kwargs)  # type: ignore[arg-type]
        if len(made) == 1:
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(reconcile, "adjust", killed_after_one)
    with pytest.raises(KeyboardInterrupt):
        ready.reconciler.reconcile()
    ready.reconciler.reconcile()
    assert failed(ready) == {}
    ready.persister.drain_all()
    assert rows(ready, "SELECT count(*), sum(difference_micros) FROM counter_correction") == [(2, -14)]


def test_a_difference_judged_before_another_correction_is_not_added(ready: System) -> None:
    brand_with_campaigns(ready)
    tamper(ready, 7)
    key, name = keys_of_brand(1).brand(1), f"d:{day_of(ready.live.now_ms())}"
    n = ready.live.read_shard(1).n
    first = adjust(ready.live, ready.instance, 1, key, name, -7, "a", n)
    assert first is not None and (first.value, first.again) == (0, False)
    again = adjust(ready.live, ready.instance, 1, key, name, -7, "a", n)
    assert again is not None and (again.value, again.again) == (0, True)
    assert adjust(ready.live, ready.instance, 1, key, name, -7, "b", n) is None
    assert ready.hot_redis.hget(key, name) == b"0"


def test_counters_are_repaired_while_spends_go_on(ready: System) -> None:
    _, (one, two) = brand_with_campaigns(ready, 2)
    stop = threading.Event()

    def spend() -> None:
        while not stop.is_set():
            ready.client.record_spend(one, "0.01")
            ready.client.record_spend(two, "0.02")

    thread = threading.Thread(target=spend)
    thread.start()
    try:
        tamper(ready, 12_345)
        assert len(ready.reconciler.reconcile().repairs) == 2
        ready.persister.drain_all()
        assert ready.reconciler.reconcile().repairs == []
    finally:
        stop.set()
        thread.join()
    assert failed(ready) == {}


def test_rows_that_vanished_from_the_log_are_not_taken_off_the_counter(ready: System) -> None:
    _, (one,) = brand_with_campaigns(ready)
    ready.client.record_spend(one, "2")
    ready.persister.drain_all()
    with ready.db.begin() as conn:
        conn.execute(text("DELETE FROM spend_log"))
    done = ready.reconciler.reconcile()
    assert (done.repairs, len(done.left)) == ([], 4)
    assert "the counter may be right" in done.left[0]


def test_a_gap_in_the_journal_is_named_and_nothing_is_repaired(ready: System) -> None:
    _, (one,) = brand_with_campaigns(ready)
    for _ in range(2):
        ready.client.record_spend(one, "2")
    ready.hot_redis.xdel(keys_of_brand(1).journal, ready.journal.read(1, "-", 10)[-1][0])
    done = ready.reconciler.reconcile()
    assert done.repairs == []
    assert "its history does not fit" in done.left[0]


def test_a_wrong_sum_of_holds_is_left_to_a_rebuild_of_its_shard(ready: System) -> None:
    _, (one,) = brand_with_campaigns(ready, daily=10_000_000)
    ready.client.reserve(one, "2", 600)
    ready.hot_redis.hincrby(keys_of_brand(1).brand(1), "held", 5)
    (left,) = ready.reconciler.reconcile().left
    assert "2000005 micros held, its 1 holds are 2000000 (+5)" in left
    assert "rebuild --shard 1" in left
    ready.rebuilder.rebuild([1])
    assert failed(ready) == {}


def test_the_sweep_ends_every_expired_hold_of_brands_that_nobody_calls_for(clock: System) -> None:
    at(clock, NOON)
    _, (one,) = brand_with_campaigns(clock, daily=1_000_000_000)
    for _ in range(250):
        clock.client.reserve(one, "1", 60)
    kept = clock.client.reserve(one, "5", 600)
    clock.persister.drain_all()
    at(clock, NOON + 60_000)
    swept = sweep_expired(clock.db, clock.live, clock.inspector)
    assert (swept.brands, swept.holds) == (1, 250)
    assert clock.hot_redis.hget(keys_of_brand(1).brand(1), "held") == b"5000000"
    clock.persister.drain_all()
    assert rows(clock, "SELECT state, count(*) FROM hold GROUP BY 1 ORDER BY 1") == [("expired", 250), ("open", 1)]
    assert sweep_expired(clock.db, clock.live, clock.inspector).holds == 0
    assert clock.client.release(kept.hold_id).outcome == "released"


def test_the_page_alarms_a_failed_verify_drift_and_the_quarantine_and_stays_ready(
    ready: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine import jobs

    monkeypatch.setattr(jobs, "LOOK_AGAIN_S", 0.01)
    _, (one,) = brand_with_campaigns(ready)
    told = {alarm[0]: alarm[2:] for alarm in money_alarms(ready.db, ready.live.now_ms())}
    assert (told["verify"][0], told["quarantine"][0], told["drift"][0]) == ("wait", "ok", "ok")
    ready.client.record_spend(one, "3")
    with ready.db.begin() as conn:
        conn.execute(text("ALTER TABLE spend_log ADD CONSTRAINT no_threes CHECK (amount_micros <> 3000000)"))
    ready.persister.drain_all()
    tamper(ready, 9)
    jobs.services.cache_clear()
    try:
        jobs_services, jobs.services = jobs.services, lambda: ready  # type: ignore[assignment]
        detail = jobs.verify()
        assert jobs.sweep() == "0 holds of 0 brands expired"
    finally:
        jobs.services = jobs_services
    assert detail.startswith("FAIL V1 9 micros: brand 1 day")
    told = {alarm[0]: alarm[2:] for alarm in money_alarms(ready.db, ready.live.now_ms())}
    assert [told[name][0] for name in ("verify", "quarantine", "drift")] == ["down"] * 3
    assert "budget-engine reconcile" in told["drift"][1]
    assert "1 entry waits (3.000000)" in told["quarantine"][1]
    assert all(part.state != "down" or not part.serves for part in ready.overview.health().parts if part.key in told)
    ready.reconciler.reconcile()
    ready.persister.drain_all()
    assert failed(ready) == {"V5": 3_000_000}


def test_the_verify_job_looks_again_before_it_alarms(ready: System, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine import jobs

    _, (one,) = brand_with_campaigns(ready)
    ready.client.record_spend(one, "3")
    tamper(ready, 9)
    looks = []
    look = ready.verifier.verify

    def mended_after_the_first(**more: Any) -> Any:
        looks.append(look(**more))
        if len(looks) == 1:
            tamper(ready, -9)
        return looks[-1]

    monkeypatch.setattr(jobs, "LOOK_AGAIN_S", 0.01)
    monkeypatch.setattr(jobs, "services", lambda: ready)
    monkeypatch.setattr(ready.verifier, "verify", mended_after_the_first)
    assert jobs.verify().startswith("PASS")
    assert len(looks) == 2
    assert any(check.result == "FAIL" for check in looks[0])
