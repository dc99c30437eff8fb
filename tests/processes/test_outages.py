"""Servers that go away under load and come back: everything recovers by itself, nothing acknowledged is lost, nothing is counted twice."""

from __future__ import annotations

import time

import pytest
import redis
from sqlalchemy import text

from engine.client.sync import BudgetClient
from engine.domain.ids import shard_of
from engine.doorbell import enqueue_now
from engine.errors import Unavailable
from engine.job_table import BY_NAME
from engine.wiring import System
from tests.patience import in_time
from tests.processes.conftest import (
    Load,
    Own,
    Processes,
    back,
    brand_of,
    count,
    kill_redis,
    lost_and_doubled,
    ready,
    rows,
    until,
    verified,
)


def loaded(own: Own) -> list[int]:
    until(lambda: ready(own.system), why=own.processes.said)
    return [c for i in range(4) for c in brand_of(own.system, f"brand {i}")[1]]


def test_postgresql_stopped_under_load_the_spends_go_on_and_are_written_down_after(own: Own) -> None:
    worker = own.processes.start("worker", "--queue", "persist")
    jobs = own.processes.start("worker", "--queue", "jobs")
    campaigns = loaded(own)
    with Load(own.environment["REDIS_URL"], campaigns) as load:
        until(lambda: count(own.system) > 100)
        own.postgres.stop()
        before = len(load.acknowledged)
        until(lambda: len(load.acknowledged) > before + 200, why=own.processes.said)
        until(lambda: "persist waits: PostgreSQL" in worker.said)
        back(own.postgres)
        own.system.db.dispose()
        until(lambda: "goes on" in worker.said, why=own.processes.said)
        before = count(own.system)
        until(lambda: count(own.system) > before + 100, why=own.processes.said)
        load.stop()
    until(lambda: count(own.system) >= load.spends, why=own.processes.said)
    assert load.unavailable == 0
    assert lost_and_doubled(own.system, load) == (set(), [])
    assert verified(own.system) == []
    for process in (worker, jobs):
        assert "Traceback" not in process.said, process.said
    assert len(worker.remarks) < 20, worker.said


@pytest.mark.long
def test_a_worker_started_before_postgresql_waits_and_one_stopped_while_it_is_away_ends_soon(own: Own) -> None:
    until_ready = own.processes.start("worker", "--queue", "persist")
    campaigns = loaded(own)
    own.postgres.stop()
    until(lambda: "persist waits: PostgreSQL" in until_ready.said)
    assert in_time(until_ready.stop(), 3)
    assert "Traceback" not in until_ready.said, until_ready.said
    worker = own.processes.start("worker", "--queue", "persist")
    until(lambda: "PostgreSQL cannot be reached" in worker.said, why=own.processes.said)
    own.system.client.record_spend(campaigns[0], "1")
    back(own.postgres)
    own.system.db.dispose()
    assert in_time(until(lambda: count(own.system) == 1, why=own.processes.said), 2)
    assert "Traceback" not in worker.said


@pytest.mark.parametrize("how", [pytest.param("stopped", marks=pytest.mark.long), "killed"])
def test_redis_stopped_and_restarted_under_load(own: Own, how: str) -> None:
    worker = own.processes.start("worker", "--queue", "persist")
    campaigns = loaded(own)
    client = BudgetClient.from_url(own.environment["REDIS_URL"], timeout_ms=250)
    with Load(own.environment["REDIS_URL"], campaigns) as load:
        until(lambda: count(own.system) > 100)
        if how == "stopped":
            own.hot.stop()
        else:
            kill_redis(own)
        started = time.monotonic()
        with pytest.raises(Unavailable) as away:
            client.record_spend(campaigns[0], "0.001", request_id="mine")
        assert in_time(time.monotonic() - started, 0.4)
        assert away.value.request_id == "mine"
        brand = own.system.catalog.create_brand("made while Redis is away", None, None, None, "anna")
        until(lambda: "persist waits: Redis" in worker.said, why=own.processes.said)
        back(own.hot)
        returned = time.monotonic()
        until(lambda: own.system.catalog.unpublished() == [], why=own.processes.said)
        assert in_time(time.monotonic() - returned, 3), "published within about two seconds of its return"
        assert own.system.catalog.brand(brand.id).published_version == 1
        before = len(load.acknowledged)
        until(lambda: len(load.acknowledged) > before + 50, why=own.processes.said)
        assert client.record_spend(campaigns[0], "0.001", request_id="mine").outcome == "recorded"
        load.stop()
    assert in_time(load.slowest_s, 1)
    until(lambda: count(own.system) >= load.spends + 1, why=own.processes.said)
    lost, doubled = lost_and_doubled(own.system, load)
    assert doubled == []
    assert lost == set()
    assert verified(own.system) == []
    assert "Traceback" not in worker.said
    assert len(worker.remarks) < 20, worker.said
    client.close()


@pytest.mark.long
@pytest.mark.parametrize("times", [1, 2])
def test_rqs_redis_stopped_and_restarted_worker_and_scheduler_wait_and_go_on(own: Own, times: int) -> None:
    worker = own.processes.start("worker", "--queue", "persist")
    jobs = own.processes.start("worker", "--queue", "jobs")
    scheduler = own.processes.start("scheduler")
    campaigns = loaded(own)
    plain = redis.Redis.from_url(own.environment["JOBS_REDIS_URL"])
    until(
        lambda: (
            plain.exists("budget:scheduler:heartbeat")
            and rows(own.system, "SELECT 1 FROM job_run WHERE job = 'close_month' AND outcome = 'done'")
        )
    )
    for _ in range(times):
        own.jobs.stop()
        until(lambda: "scheduler waits for the jobs Redis" in scheduler.said, why=own.processes.said)
        until(lambda: "worker jobs waits for the jobs Redis" in jobs.said, why=own.processes.said)
        before = count(own.system)
        own.system.client.record_spend(campaigns[0], "1")
        until(lambda before=before: count(own.system) == before + 1)  # type: ignore[misc]  # persist needs no RQ to go on
        back(own.jobs)
        plain.delete("budget:scheduler:heartbeat")
        took = until(lambda: plain.exists("budget:scheduler:heartbeat"), why=own.processes.said)
        assert in_time(took, 12), "at most the lock that the last pass left, 12 s"
        last = rows(own.system, "SELECT max(id) FROM job_run WHERE job = 'check'")
        until(lambda: enqueue_now(plain, BY_NAME["check"]))
        until(
            lambda last=last: (
                rows(own.system, "SELECT max(id) FROM job_run WHERE job = 'check' AND outcome = 'done'") > last
            ),
            why=own.processes.said,
        )  # type: ignore[misc]
    for process in (worker, jobs, scheduler):
        assert process.alive
        assert "Traceback" not in process.said, process.said
        assert len(process.remarks) < 20, process.said
        assert in_time(process.stop(), 3)
        assert process.process.returncode == 0
    plain.close()


@pytest.mark.parametrize(
    "args",
    [
        ("worker", "--queue", "persist"),
        pytest.param(("worker", "--queue", "jobs"), marks=pytest.mark.long),
        ("scheduler",),
    ],
)
def test_what_waits_for_rqs_redis_ends_at_a_signal(processes: Processes, system: System, args: tuple[str, ...]) -> None:
    processes.environment = {**processes.environment, "JOBS_REDIS_URL": "redis://127.0.0.1:1/0"}
    waiting = processes.start(*args)
    until(lambda: "waits for the jobs Redis" in waiting.said, why=processes.said)
    assert in_time(waiting.stop(), 2)
    assert (waiting.process.returncode, "Traceback" in waiting.said) == (0, False)


@pytest.mark.long
def test_a_worker_in_the_middle_of_a_job_ends_at_a_signal_while_rqs_redis_is_away(own: Own) -> None:
    worker = own.processes.start("worker", "--queue", "persist")
    loaded(own)
    own.jobs.stop()
    assert in_time(worker.stop(), 3)
    assert "Traceback" not in worker.said, worker.said
    assert rows(own.system, "SELECT 1 FROM job_run WHERE outcome = 'running'") == []


@pytest.mark.long
def test_redis_wiped_under_load_is_rebuilt_by_itself_within_five_seconds(
    system: System, processes: Processes, hot_url: str
) -> None:
    worker = processes.start("worker", "--queue", "persist")
    until(lambda: ready(system), why=processes.said)
    brands = [brand_of(system, f"brand {i}") for i in range(20)]
    with Load(hot_url, [c for _, campaigns in brands for c in campaigns]) as load:
        for _ in range(3):
            before = len(load.acknowledged)
            until(lambda before=before: len(load.acknowledged) > before + 100, why=processes.said)  # type: ignore[misc]
            persisted = {request for (request,) in rows(system, "SELECT DISTINCT request_id FROM spend_log")}
            system.hot_redis.flushall()
            took = until(lambda: ready(system), why=processes.said)
            assert in_time(took, 5), f"rebuilt after {took:.1f} s"
            kept = {request for (request,) in rows(system, "SELECT DISTINCT request_id FROM spend_log")}
            assert persisted <= kept
        load.stop()
    until(
        lambda: (
            sum(system.live.read_shard(s).n for s in range(64))
            == sum(n for (n,) in rows(system, "SELECT n FROM journal_cursor"))
        )
    )
    lost, doubled = lost_and_doubled(system, load)
    assert doubled == []
    assert not lost & persisted
    assert verified(system) == []
    assert "Traceback" not in worker.said, worker.said
    assert rows(system, "SELECT count(*) >= 3 FROM job_run WHERE job = 'rebuild' AND outcome = 'done'") == [(True,)]


def test_one_shard_that_cannot_be_persisted_stops_no_other_and_raises_an_alarm(
    system: System, processes: Processes
) -> None:
    worker = processes.start("worker", "--queue", "persist")
    until(lambda: ready(system), why=processes.said)
    _, (bad, _) = brand_of(system, "bad")
    _, (good, _) = brand_of(system, "good")
    until(lambda: not rows(system, "SELECT 1 FROM campaign WHERE status = 'paused'"))
    shard = shard_of(bad >> 16)
    with system.db.begin() as conn:
        conn.execute(text(f"ALTER TABLE journal_cursor ADD CONSTRAINT broken CHECK (shard <> {shard}) NOT VALID"))
    system.client.record_spend(bad, "1")
    until(lambda: f"persist: {shard}:" in worker.said, why=processes.said)
    system.client.record_spend(good, "1")
    assert in_time(until(lambda: count(system) == 1, why=processes.said), 2)
    assert in_time(worker.stop(), 3)
    ((outcome, detail),) = rows(
        system, "SELECT outcome, detail FROM job_run WHERE job = 'persist' ORDER BY id DESC LIMIT 1"
    )
    assert outcome == "failed" and f"shard {shard}: " in detail
    assert worker.said.count(f"persist: {shard}:") < 3


@pytest.mark.long
def test_a_rebuild_beside_one_that_a_worker_runs_and_callers_that_race_both(
    system: System, processes: Processes, hot_url: str
) -> None:
    """Several processes ask for the last money while Redis is wiped and rebuilt by three at once."""
    for _ in range(2):
        processes.start("worker", "--queue", "persist")
    until(lambda: ready(system), why=processes.said)
    brand, campaigns = brand_of(system, "last dollar", 2, daily=120_000_000)
    code = (
        "import pathlib, sys, time\nfrom engine import BudgetClient\n"
        "client = BudgetClient.from_url(sys.argv[1], timeout_ms=20_000)\n"
        "race, mine, outcome = pathlib.Path(sys.argv[2]), 0, ''\n"
        "while outcome != 'refused':\n"
        "    racing = race.exists()\n"
        "    outcome = client.try_spend(int(sys.argv[3 + mine % 2]), '0.01').outcome\n"
        "    mine += outcome == 'accepted'\n"
        "    time.sleep(0 if racing else 0.05)  # at most 0.60 a second of all three: the money lasts over both wipes\n"
        "print('accepted', mine)\n"
    )
    path, race = processes._folder / "caller.py", processes._folder / "race"
    path.write_text(code)
    callers = [processes.start(str(path), hot_url, str(race), *map(str, campaigns)) for _ in range(3)]
    for _ in range(2):
        before = count(system)
        until(lambda before=before: count(system) > before + 100, why=processes.said)  # type: ignore[misc]
        system.hot_redis.flushall()
        by_hand = [processes.start("rebuild") for _ in range(2)]
        until(lambda by_hand=by_hand: not any(each.alive for each in by_hand), why=processes.said)  # type: ignore[misc]
        assert all("Traceback" not in each.said for each in by_hand), processes.said()
        until(lambda: ready(system), why=processes.said)
    assert all(each.alive for each in callers), "there is money left to race for"
    race.touch()
    forced = processes.start("rebuild", "--all")
    until(lambda: not forced.alive, why=processes.said)
    until(lambda: not any(each.alive for each in callers), why=processes.said)
    until(lambda: ready(system), why=processes.said)
    shard = shard_of(brand)
    until(
        lambda: (
            rows(system, "SELECT n FROM journal_cursor WHERE shard = :s", s=shard)
            == [(system.live.read_shard(shard).n,)]
        )
    )
    live = system.live.read_brand(brand, 2)
    assert live is not None
    ((logged,),) = rows(system, "SELECT sum(amount_micros) FROM spend_log")
    assert live.daily_spend == logged <= 120_000_000
    assert verified(system) == []
    assert all(each.process.returncode == 0 for each in callers), processes.said()
