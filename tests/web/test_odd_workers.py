"""Whoever may write to the jobs Redis can write a worker that is none: it hides no worker of ours from metrics, health, doctor and the page."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis
from rq import Worker

from engine.cli.checks import _jobs
from engine.live.transport.plain import impatient_redis
from engine.views.board import ANSWER_S
from engine.views.health import _jobs_side
from engine.views.workers import workers_of
from engine.wiring import System
from tests.web.conftest import HERE
from tests.web.test_metrics import healthy, scrape, value
from web import create_app
from web.job_answers import SteadyWorker
from web.queues import _client

BIRTH = "2026-11-23T00:00:00.000000Z"


def field(name: str, text: object) -> Callable[[redis.Redis], object]:
    def plant(jobs: redis.Redis) -> None:
        jobs.sadd("rq:workers", "rq:worker:odd")
        jobs.hset("rq:worker:odd", mapping={"queues": "jobs", "birth": BIRTH, name: text})  # type: ignore[dict-item]

    return plant


def of_another_type(jobs: redis.Redis) -> None:
    jobs.sadd("rq:workers", "rq:worker:text")
    jobs.set("rq:worker:text", "x")


ODD: dict[str, Callable[[redis.Redis], object]] = {
    "a name of bytes": lambda jobs: jobs.sadd("rq:workers", b"\xff\xfe"),
    "no worker's name": lambda jobs: jobs.sadd("rq:workers", "nonsense"),
    "a worker that is not there": lambda jobs: jobs.sadd("rq:workers", "rq:worker:gone"),
    "a worker that is no hash": of_another_type,
    "a birth that is no date": field("birth", "yesterday"),
    "a heartbeat that is no date": field("last_heartbeat", "99999-01-01"),
    "queues of bytes": field("queues", b"\xff,\xfe"),
    "a process id of letters": field("pid", "abc"),
    "a count of letters": field("successful_job_count", "abc"),
    "a working time of letters": field("total_working_time", "abc"),
    "a count of nan": field("failed_job_count", "nan"),
}


@pytest.mark.parametrize("odd", ODD)
def test_a_worker_that_no_worker_wrote_hides_none_of_ours(odd: str, ready: System) -> None:
    healthy(ready)
    ODD[odd](ready.jobs_redis)
    samples = scrape(ready)
    for queue in ("persist", "jobs", "verify"):
        assert value(samples, "queue_workers", queue=queue) >= 1
    assert value(samples, "part_up", part="jobs_redis") == 1
    parts, answers = _jobs_side(ready.jobs_redis, 0)
    assert answers and parts[1].detail.count("running")
    found = {finding.name: finding.state for finding in _jobs(ready.jobs_redis)}
    assert [found[f"worker {queue}"] for queue in ("persist", "jobs", "verify")] == ["ok"] * 3
    client = create_app(ready).test_client()
    workers = client.get("/rq/0/data/workers.json", base_url=HERE)
    assert workers.status_code == 200 and "test" in [each["name"] for each in workers.get_json()["workers"]]


@pytest.mark.parametrize("kind", [None, SteadyWorker])
def test_a_look_at_the_workers_leaves_its_client_as_impatient_as_it_was(
    kind: type[Worker] | None, ready: System
) -> None:
    healthy(ready)
    client = impatient_redis(ready.settings.jobs_redis_url, ANSWER_S)
    kept = dict(client.connection_pool.connection_kwargs)
    assert [worker.name for worker in workers_of(client, kind)] == ["test"]
    assert client.connection_pool.connection_kwargs == kept
    assert kept["socket_timeout"] == ANSWER_S


def test_no_client_of_the_page_or_of_doctor_waits_longer_after_it_looked_at_the_jobs(ready: System) -> None:
    healthy(ready)
    clients = [ready.jobs_look, _client(ready.settings.jobs_redis_url)]
    before = [client.connection_pool.connection_kwargs["socket_timeout"] for client in clients]
    page = create_app(ready).test_client()
    for path in ("/", "/metrics", "/readyz", "/rq/", "/rq/0/data/workers.json", "/rq/0/data/queues.json"):
        page.get(path, base_url=HERE)
    list(_jobs(ready.jobs_look))
    assert (
        [client.connection_pool.connection_kwargs["socket_timeout"] for client in clients] == before == [ANSWER_S] * 2
    )
