"""Fault 13 where people and machines begin: logins, saves, the starts of worker and scheduler, and jobs, each beside a server that was stopped."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine import jobs
from engine.errors import ServerHangs
from engine.views.health import HEARTBEAT_KEY
from engine.wiring import JOBS_S, System
from tests.faults.test_fault_13_hangs import NAMED, Web, campaign, frozen, own, server_of
from tests.patience import beside_well, in_time
from tests.processes.conftest import Own, Process, brand_of, until

__all__ = ["campaign", "own"]

LIMIT_S = 3.0
ENDS_S = 9.5
"""SIGTERM to the end: the call under way and the last word to RQ take 3 s each, and a busy machine more. After ten seconds whoever stops it kills it."""
PASSWORD = "tests-only-password"


@pytest.fixture(scope="module")
def guarded(own: Own, campaign: int) -> Web:
    """The page with a password."""
    return Web(own, BUDGET_ADMIN_PASSWORD=PASSWORD)


@pytest.fixture(scope="module")
def open_web(own: Own, campaign: int) -> Web:
    return Web(own)


@pytest.fixture
def plain_start(own: Own) -> float:
    """How long a process of ours takes to be up and say a line, while nothing hangs: what Python has to import is no wait."""
    began = time.monotonic()
    version = own.processes.start("worker", "--queue", "nonsense")
    until(lambda: not version.alive)
    return time.monotonic() - began


@pytest.mark.parametrize("which", ["hot", "jobs", "postgres"])
def test_a_login_beside_a_frozen_server_is_answered_in_time_and_names_it_where_it_is_needed(
    which: str, own: Own, guarded: Web
) -> None:
    form = guarded.form("/login")
    well_s = guarded.post("/login", form, actor="Ada", password=PASSWORD).took_s
    with frozen(server_of(own, which)):
        page = guarded.get("/login")
        wrong = guarded.post("/login", form, actor="Ada", password="not-the-password")
        right = guarded.post("/login", form, actor="Ada", password=PASSWORD)
    assert page.status == 200
    # PostgreSQL counts the wrong passwords, so beside it nothing is tried.
    assert wrong.status == (503 if which == "postgres" else 401)
    assert right.status == (503 if which == "postgres" else 302), right
    assert which != "postgres" or NAMED[which] in right.text
    assert beside_well(max(answer.took_s for answer in (page, wrong, right)), LIMIT_S, well_s)


@pytest.mark.parametrize("which", ["hot", "jobs", "postgres"])
def test_a_budget_that_is_saved_beside_a_frozen_server_is_kept_or_refused_in_time_and_the_page_says_which(
    which: str, own: Own, open_web: Web, campaign: int
) -> None:
    brand = campaign >> 16
    form, before = open_web.form(f"/brands/{brand}/edit"), own.system.catalog.brand(brand)
    well_s = open_web.get("/status").took_s
    wanted = {"hot": 21, "jobs": 22, "postgres": 23}[which]
    with frozen(server_of(own, which)):
        answer = open_web.post(f"/brands/{brand}/edit", form, daily_budget=str(wanted))
        told = open_web.get("/status") if which == "hot" else answer
    assert beside_well(answer.took_s, LIMIT_S, well_s), answer
    after = own.system.catalog.brand(brand).daily_budget_micros
    if which == "postgres":
        assert (answer.status, after) == (503, before.daily_budget_micros)
        assert NAMED[which] in answer.text
        return
    assert (answer.status, after) == (302, wanted * 1_000_000)
    assert which == "jobs" or NAMED[which] in told.text
    until(lambda: own.system.publisher.publish_pending() is not None and _limit(own, brand) == after)


@pytest.mark.parametrize("which", ["hot", "jobs", "postgres"])
def test_a_campaign_made_and_edited_beside_a_frozen_server_is_kept_whole_or_refused_in_time(
    which: str, own: Own, open_web: Web
) -> None:
    brand, (campaign,) = brand_of(own.system, f"Boreal beside {which}", 1, daily=10_000_000)
    made, before = f"Made beside {which}", own.system.catalog.campaign(campaign)
    fresh, edit = f"/brands/{brand}/campaigns/new", f"/campaigns/{campaign}/edit"
    forms = {where: open_web.form(where) for where in (fresh, edit)}
    well_s = open_web.get("/status").took_s
    with frozen(server_of(own, which)):
        answers = [
            open_web.post(fresh, forms[fresh], name=made, mode="always", daily_budget="3"),
            open_web.post(edit, forms[edit], name=f"Edited beside {which}", mode="always", daily_budget="9"),
        ]
    assert beside_well(max(answer.took_s for answer in answers), LIMIT_S, well_s), answers
    found = {each.name: each for each in own.system.catalog.campaigns(brand)}
    after = own.system.catalog.campaign(campaign)
    if which == "postgres":
        assert [answer.status for answer in answers] == [503, 503]
        assert all(NAMED[which] in answer.text for answer in answers)
        assert made not in found
        assert after == before
        return
    assert [answer.status for answer in answers] == [302, 302], answers
    assert (found[made].limits.daily, after.name, after.limits.daily) == (
        3_000_000,
        f"Edited beside {which}",
        9_000_000,
    )
    until(lambda: own.system.publisher.publish_pending() is not None and _published(own, found[made].id))
    assert own.system.client.try_spend(found[made].id, "4").outcome == "refused"
    assert own.system.client.try_spend(found[made].id, "0.01").outcome == "accepted"


def _published(own: Own, campaign_id: int) -> bool:
    return own.system.catalog.campaign(campaign_id).published_version is not None


def _limit(own: Own, brand: int) -> int | None:
    live = own.system.live.read_brand(brand, 0)
    return None if live is None else live.daily_limit


STARTS = (("jobs", "worker --queue jobs"), ("jobs", "worker --queue persist"), ("jobs", "scheduler"), ("postgres", "worker --queue jobs"))  # fmt: skip


@pytest.mark.long
def test_worker_and_scheduler_that_start_beside_a_frozen_server_name_it_in_one_line_and_stop_when_they_are_told_to(
    own: Own, plain_start: float
) -> None:
    for which in ("jobs", "postgres"):
        with frozen(server_of(own, which)):
            began = time.monotonic()
            started = [own.processes.start(*words.split()) for at, words in STARTS if at == which]
            # They import side by side. A job gives PostgreSQL its own patience of 5 s, and then asks once more.
            limit = (LIMIT_S if which == "jobs" else 12) + len(started) * plain_start + 2
            for each in started:
                until(
                    lambda each=each: "hangs" in each.said,
                    limit - (time.monotonic() - began),
                    own.processes.said,
                )
            time.sleep(2)
            for each in started:
                assert each.alive
                assert len(_lines(each)) == 1, each.said
                assert str(server_of(own, which).port) in each.said
            assert max(each.stop() for each in started) < ENDS_S


@pytest.mark.long
def test_worker_and_scheduler_at_work_name_a_jobs_redis_that_freezes_go_on_after_it_and_stop_while_it_is_frozen(
    own: Own,
) -> None:
    worker, scheduler = own.processes.start("worker", "--queue", "verify"), own.processes.start("scheduler")
    until(lambda: own.system.jobs_redis.exists(HEARTBEAT_KEY) and "job ended" in worker.said, why=own.processes.said)
    with frozen(own.jobs):
        took = until(lambda: "hangs" in worker.said and "hangs" in scheduler.said, why=own.processes.said)
    # The scheduler looks every 2 s, and each gives Redis 3 s.
    assert in_time(took, 2 + LIMIT_S + 3)
    until(lambda: "goes on" in worker.said and "goes on" in scheduler.said, why=own.processes.said)
    with frozen(own.jobs):
        assert max(each.stop() for each in (worker, scheduler)) < ENDS_S


def test_a_replay_beside_a_frozen_redis_names_it_in_one_line_and_goes_on_when_it_answers_again(
    own: Own, campaign: int, plain_start: float, tmp_path: Path
) -> None:
    spends = tmp_path / "spends.csv"
    spends.write_text("at,event_id,brand,campaign,amount_micros\n,late,Aurora,c0,10\n")
    with frozen(own.hot):
        replay = own.processes.start("replay", str(spends))
        until(lambda: "Redis hangs" in replay.said, LIMIT_S + 2 * plain_start + 6, own.processes.said)
        assert replay.alive
        assert len(_lines(replay)) == 1
    until(lambda: not replay.alive)
    assert "1 recorded" in replay.said


def _lines(process: Process) -> list[str]:
    return [line for line in process.remarks if re.search("hang", line)]


@pytest.mark.long
def test_each_job_that_meets_a_frozen_redis_ends_within_its_patience_and_names_it(
    own: Own, campaign: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("check", "publish", "close_day", "sweep", "verify")
    each = threading.local()
    monkeypatch.setattr(jobs, "services", lambda: each.system)
    # With nothing to bring, publish asks no Redis; and it must not be brought by another before.
    changed = threading.Event()

    def work(name: str) -> tuple[str, float]:
        each.system = System(own.system.settings)
        try:
            assert each.system.catalog.brands() and each.system.live.now_ms()
            met.wait()
            changed.wait()
            began = time.monotonic()
            with pytest.raises(Exception, match="hangs") as told:
                jobs.FUNCTIONS[name]()
            return str(told.value), time.monotonic() - began
        finally:
            each.system.close()

    met = threading.Barrier(len(names) + 1)
    with ThreadPoolExecutor(len(names)) as together:
        working = [together.submit(work, name) for name in names]
        met.wait()
        with frozen(own.hot):
            own.system.catalog.update_brand(campaign >> 16, "test", daily_budget_micros=31_000_000)
            changed.set()
            found = dict(zip(names, (one.result() for one in working), strict=True))
    for name, (said, took) in found.items():
        assert str(own.hot.port) in said, (name, said)
        assert in_time(took, JOBS_S + LIMIT_S), (name, took)
    until(lambda: _well(own))


def _well(own: Own) -> bool:
    try:
        return bool(own.system.live.now_ms())
    except ServerHangs:
        return False
