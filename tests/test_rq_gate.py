"""Whoever can write to the jobs Redis runs no code of his own: not in the worker, not in the scheduler, not in the page."""

from __future__ import annotations

import json
import logging
import os
import pickle
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import redis
from flask import Flask
from rq import Queue
from rq.job import Job

from engine import jobs
from engine.doorbell import HealingScheduler, StoppableWorker, enqueue_now
from engine.rq_gate import ALLOWED, UNREAD
from engine.wiring import System
from tests.web.conftest import HERE, app  # noqa: F401  # a fixture of the page

CREATED = "2026-11-28T00:00:00.000000Z"


class Payload:
    """Unpickling it makes a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.proof),)


def call(name: str, args: list[Any], instance: Any = None) -> bytes:
    return json.dumps([name, instance, args, {}]).encode()


def planted(connection: redis.Redis, job_id: str, data: bytes, **fields: Any) -> None:
    """A job that an attacker wrote, next in the queue."""
    connection.hset(
        f"rq:job:{job_id}",
        mapping={"data": data, "created_at": CREATED, "origin": "jobs", "status": "queued", "timeout": 30, **fields},
    )
    connection.sadd("rq:queues", "rq:queue:jobs")
    connection.rpush("rq:queue:jobs", job_id)


def work_off(connection: redis.Redis) -> None:
    StoppableWorker(["jobs"], connection=connection, name="gate").work(burst=True, logging_level="WARNING")


HOSTILE = {
    "a function of the system": lambda proof: {"data": call("os.mkdir", [str(proof)])},
    "a builtin": lambda proof: {"data": call("exec", [f"import os; os.mkdir({str(proof)!r})"])},
    "one of ours that is no job": lambda proof: {"data": call("engine.settings.root", [])},
    "a method of an instance": lambda proof: {"data": call("format", [], instance="{0.__class__}")},
    "a name that is a list": lambda proof: {"data": json.dumps([["os.mkdir"], None, [str(proof)], {}]).encode()},
    "four letters": lambda proof: {"data": b'"abcd"'},
    "an object of four keys": lambda proof: {"data": b'{"os.mkdir": 1, "b": 2, "c": 3, "d": 4}'},
    "nesting without end": lambda proof: {"data": b"[" * 100_000},
    "a pickled call": lambda proof: {"data": pickle.dumps(Payload(proof))},
    "a pickled call of ours": lambda proof: {"data": pickle.dumps(("engine.jobs.publish", None, (), {}))},
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_planted_job_is_refused_and_logged_and_the_next_job_of_ours_runs(
    what: str,
    tmp_path: Path,
    jobs_redis: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    proof, ran = tmp_path / "proof", list[str]()
    monkeypatch.setitem(ALLOWED, "engine.jobs.publish", lambda: ran.append("publish"))
    planted(jobs_redis, "planted", **HOSTILE[what](proof))
    planted(jobs_redis, "publish-after-it", call("engine.jobs.publish", []))
    with caplog.at_level(logging.ERROR):
        work_off(jobs_redis)
    assert not proof.exists()
    assert ran == ["publish"], "the planted one did not end the loop"
    said = [line.getMessage() for line in caplog.records]
    assert len(said) == 1 and said[0].startswith("planted failed: ") and "nothing was run" in said[0], said


@pytest.mark.parametrize("which", ["success", "failure", "stopped"])
def test_a_callback_that_is_not_ours_is_never_called(
    which: str, tmp_path: Path, jobs_redis: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trap.py").write_text(
        f"import os\nos.mkdir({str(tmp_path / 'proof')!r})\n\ndef spring(*a):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    def publish() -> None:
        if which == "failure":
            raise ValueError("as the attacker hopes")

    monkeypatch.setitem(ALLOWED, "engine.jobs.publish", publish)
    planted(jobs_redis, "planted", call("engine.jobs.publish", []), **{f"{which}_callback_name": "trap.spring"})
    work_off(jobs_redis)
    assert not (tmp_path / "proof").exists(), "not even its module was imported"


def test_an_address_in_a_job_is_not_called(
    jobs_redis: redis.Redis, monkeypatch: pytest.MonkeyPatch, servers: Any
) -> None:
    """The address is that of the jobs Redis itself, which counts its connections."""
    monkeypatch.setitem(ALLOWED, "engine.jobs.publish", lambda: None)
    address = f"http://127.0.0.1:{jobs_redis.connection_pool.connection_kwargs['port']}/"
    hook = [{"url": address, "job_status": "finished", "method": "GET", "headers": None, "timeout": 2}]
    planted(jobs_redis, "planted", call("engine.jobs.publish", []), webhooks=json.dumps(hook))
    assert Job.fetch("planted", connection=jobs_redis).webhooks, "RQ reads it"
    work_off(jobs_redis)
    before = jobs_redis.info("stats")["total_connections_received"]
    assert Job.fetch("planted", connection=jobs_redis).send_webhooks("finished") is None
    assert jobs_redis.info("stats")["total_connections_received"] == before


def test_the_scheduler_writes_a_planted_line_of_its_schedule_anew_and_unpickles_nothing(
    tmp_path: Path, jobs_redis: redis.Redis
) -> None:
    proof = tmp_path / "proof"
    scheduler = HealingScheduler("jobs", interval=2, connection=jobs_redis)
    scheduler.enqueue_jobs()
    for name, data in (
        ("check", pickle.dumps(Payload(proof))),
        ("publish", call("os.mkdir", [str(proof)])),
        ("sweep", b"x"),
    ):
        jobs_redis.hset(f"rq:job:schedule-{name}", mapping={"data": data, "meta": pickle.dumps(Payload(proof))})
    scheduler.enqueue_jobs()
    for name in ("check", "publish", "sweep"):
        assert Job.fetch(f"schedule-{name}", connection=jobs_redis).func_name == f"engine.jobs.{name}"
    assert not proof.exists()


def test_the_page_shows_planted_jobs_without_running_them(
    tmp_path: Path,
    ready: System,
    app: Flask,  # noqa: F811
) -> None:
    proof, jobs_redis = tmp_path / "proof", ready.jobs_redis
    evil = pickle.dumps(Payload(proof))
    planted(jobs_redis, "planted", evil, meta=evil, result=evil, description="planted")
    planted(jobs_redis, "finished", call("engine.jobs.publish", []))
    jobs_redis.xadd(
        "rq:results:finished", {"type": 1, "created_at": CREATED, "return_value": b64encode(evil), "worker_name": "w"}
    )
    jobs_redis.hset(
        "rq:worker:w",
        mapping={
            "birth": CREATED,
            "last_heartbeat": CREATED,
            "queues": "jobs",
            "state": "busy",
            "current_job": "planted",
        },
    )
    jobs_redis.sadd("rq:workers", "rq:worker:w")
    client = app.test_client()
    answers = {
        path: client.get(path, base_url=HERE)
        for path in (
            "/rq/0/view/job/planted",
            "/rq/0/data/job/planted.json",
            "/rq/0/data/job/finished.json",
            "/rq/0/data/jobs/jobs/queued/8/asc/1.json",
            "/rq/0/data/workers.json",
        )
    }
    assert not proof.exists()
    assert answers["/rq/0/data/job/finished.json"].get_json()["result"] == UNREAD
    assert len(answers["/rq/0/data/jobs/jobs/queued/8/asc/1.json"].get_json()["jobs"]) == 2
    client.post("/rq/job/planted/requeue", base_url=HERE, headers={"Origin": HERE})
    client.post("/rq/job/planted/delete", base_url=HERE, headers={"Origin": HERE})
    assert not proof.exists()


def test_every_job_that_is_rung_passes_the_gate(jobs_redis: redis.Redis) -> None:
    from engine.job_table import JOBS

    for ring in JOBS:
        assert enqueue_now(jobs_redis, ring)
    for name in ("persist", "jobs"):
        for job in Queue(name, connection=jobs_redis).jobs:
            assert job.func is jobs.FUNCTIONS[str(job.func_name).rsplit(".", 1)[1]]
            assert jobs_redis.hget(job.key, "data") is not None


@pytest.mark.parametrize("fails", [False, True])
def test_a_planted_job_that_wants_to_run_again_and_again_runs_once(
    fails: bool, jobs_redis: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = list[str]()

    def publish() -> None:
        ran.append("publish")
        if fails and len(ran) < 5:
            raise ValueError("as the attacker hopes")

    monkeypatch.setitem(ALLOWED, "engine.jobs.publish", publish)
    again = {"repeats_left": 4, "repeat_intervals": "[0]", "retries_left": 4, "number_of_retries": 0}
    planted(jobs_redis, "planted", call("engine.jobs.publish", []), **again)
    work_off(jobs_redis)
    assert ran == ["publish"]


UNREADABLE: dict[str, dict[str, Any]] = {
    **{f"{field} x": {field: b"x"} for field in ("created_at", "enqueued_at", "timeout", "result_ttl", "status")},
    **{f"{field} bytes": {field: b"\xff\xfe"} for field in ("origin", "description", "worker_name", "group_id")},
    "a number of 400 digits": {"failure_ttl": b"9" * 400, "timeout": b"9" * 40},
    "a timeout that no timer takes": {"timeout": b"9" * 20},
    "a day that is none": {"last_heartbeat": b"2026-13-45T99:99:99.000000Z"},
    "a list that is none": {"dependency_ids": b"{"},
    "a list of a number": {"dependency_ids": b"-1"},
    "a callback's time": {"success_callback_timeout": b"nan"},
}


def test_jobs_with_fields_that_do_not_read_are_set_aside_and_the_worker_goes_on_to_ours(
    jobs_redis: redis.Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ran = list[str]()
    monkeypatch.setitem(ALLOWED, "engine.jobs.publish", lambda: ran.append("publish"))
    monkeypatch.setitem(ALLOWED, "engine.jobs.check", lambda: ran.append("check"))
    for i, fields in enumerate(UNREADABLE.values()):
        planted(jobs_redis, f"planted-{i}", call("engine.jobs.check", []), **fields)
    jobs_redis.set("rq:job:text", "no hash")
    jobs_redis.rpush("rq:queue:jobs", "text", b"\xff\xfe")
    planted(jobs_redis, "publish-after-them", call("engine.jobs.publish", []))
    with caplog.at_level(logging.ERROR):
        work_off(jobs_redis)
    assert "publish" in ran, "one worker took all of them, and its loop never ended"
    assert jobs_redis.keys("rq:queue:*:intermediate") == [], "nothing is begun again for ever"
    said = [line.getMessage() for line in caplog.records if line.name.startswith("engine.")]
    assert all("\n" not in line for line in said)
    assert sum("it is no job that can be read" in line for line in said) >= len(UNREADABLE) - 2


LISTS: dict[str, tuple[str, Any]] = {
    "workers of the queue": ("sadd", b"\xff\xfe"),
    "jobs that run": ("zadd", {b"\xff\xfe": 1, "no:such:job": 1}),
    "jobs that wait for others": ("zadd", {b"\xff\xfe": 1}),
    "groups": ("sadd", b"\xff\xfe"),
}
KEY_OF = {
    "workers of the queue": "rq:workers:jobs",
    "jobs that run": "rq:wip:jobs",
    "jobs that wait for others": "rq:deferred:jobs",
    "groups": "rq:groups",
}


@pytest.mark.parametrize("which", LISTS)
def test_a_foreign_entry_in_rqs_own_lists_keeps_no_worker_from_our_jobs(
    which: str, jobs_redis: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = list[str]()
    monkeypatch.setitem(ALLOWED, "engine.jobs.publish", lambda: ran.append("publish"))
    verb, value = LISTS[which]
    getattr(jobs_redis, verb)(KEY_OF[which], value)
    planted(jobs_redis, "publish", call("engine.jobs.publish", []))
    work_off(jobs_redis)
    assert ran == ["publish"]
