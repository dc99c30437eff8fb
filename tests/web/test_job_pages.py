"""Whoever may write to the jobs Redis writes no script into the operator's page, and no odd job, worker or queue hides the others.

Everything is planted as such a writer would: raw, past RQ.
"""

from __future__ import annotations

import json
import time
import zlib
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import pytest
import redis
from flask import Flask
from playwright.sync_api import Page, expect

from engine.wiring import System
from tests.web.conftest import HERE
from web.seen import LONGEST

CREATED: Final = "2026-11-28T00:00:00.000000Z"
HOSTILE: Final = {
    "a script": "<script>window.ran = 1; alert(1)</script>",
    "an image that fails": "<img src=x onerror='window.ran = 1; alert(1)'>",
    "an end of an attribute": "\"'><svg onload='window.ran = 1; alert(1)'></svg>",
    "the end of a template": "</script><script>window.ran = 1</script><%= window.ran = 1 %>{{ 7*7 }}",
    "a link of a script": "javascript:window.ran=1",
}
UNSEEN: Final = "a\x00b\x1b[31mc\u202ed\u2066e\u200bf\ufeffg\u2028h"
SHOWN: Final = r"a\x00b\x1b[31mc\u202ed\u2066e\u200bf\ufeffg\u2028h"
BRAVE: Final = "def-attack_1"
"""The id of the job: RQ takes letters, digits, dashes and underscores only."""


@dataclass(frozen=True)
class Planted:
    """Where the planted text is to be found."""

    queue: str

    def paths(self) -> list[str]:
        lists = [f"/rq/0/view/jobs/{quote(self.queue, safe='')}/{state}/8/asc/1" for state in ("queued", "failed", "finished")]  # fmt: skip
        return ["/rq/", "/rq/0/view/workers", "/rq/0/view/jobs", *lists, f"/rq/0/view/job/{BRAVE}"]

    def data(self) -> list[str]:
        lists = [f"/rq/0/data/jobs/{quote(self.queue, safe='')}/{state}/8/asc/1.json" for state in ("queued", "failed", "finished")]  # fmt: skip
        return ["/rq/0/data/queues.json", "/rq/0/data/workers.json", *lists, f"/rq/0/data/job/{BRAVE}.json"]


def plant(jobs: redis.Redis, text: str, queue: str) -> Planted:
    """The text in every field of a job, its result, a worker, a queue and the lists of their ids."""
    call = json.dumps([text, None, [text], {text[:50]: text}])
    jobs.hset(
        f"rq:job:{BRAVE}",
        mapping={
            "data": call, "created_at": CREATED, "ended_at": CREATED, "enqueued_at": CREATED, "started_at": CREATED, "origin": queue,
            "status": "failed", "timeout": 30, "description": text, "meta": json.dumps({text: [text, {"deep": text}]}), "result": json.dumps(text),
            "exc_info": zlib.compress(text.encode()), "worker_name": text, "group_id": text, "success_callback_name": text,
            "dependency_ids": json.dumps([text, "other"]),
        },
    )  # fmt: skip
    error = b64encode(zlib.compress(text.encode())).decode()
    value = b64encode(json.dumps({text: [text]}).encode()).decode()
    jobs.xadd(f"rq:results:{BRAVE}", {"type": 2, "exc_string": error, "return_value": value, "worker_name": text})
    jobs.sadd("rq:queues", f"rq:queue:{queue}", "rq:queue:default", b"rq:queue:\xff\xfe", "no queue at all")
    for waiting in (queue, "default"):
        jobs.rpush(f"rq:queue:{waiting}", BRAVE, text, f"odd:{text}")
    for registry in ("rq:failed", "rq:finished"):
        jobs.zadd(f"{registry}:{queue}", {BRAVE: time.time() + 600, text: time.time() + 601})
    worker = f"rq:worker:{text[:2000]}"
    jobs.hset(
        worker,
        mapping={"birth": CREATED, "last_heartbeat": CREATED, "queues": f"{queue},{text}", "state": text, "version": text, "python_version": text, "hostname": text},
    )  # fmt: skip
    jobs.sadd("rq:workers", worker, "rq:worker:gone-mad")
    jobs.hset("rq:worker:gone-mad", mapping={"birth": text, "last_heartbeat": "yesterday", "pid": "many"})
    started = time.time()
    jobs.hset(f"rq:execution:{BRAVE}:e1", mapping={"job_id": BRAVE, "created_at": started, "last_heartbeat": started, "worker_name": text})  # fmt: skip
    jobs.sadd(f"{worker}:executions", f"{BRAVE}:e1")
    return Planted(queue)


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_text_in_every_field_of_a_job_runs_no_script_and_is_shown_as_text(
    what: str, ready: System, opened: Callable[..., Page]
) -> None:
    text = HOSTILE[what]
    planted = plant(ready.jobs_redis, text, text.replace("/", "|"))  # no address has room for a slash within a name
    page = opened("/rq/")
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    seen = 0
    for path in planted.paths():
        with page.expect_response("**/data/**") as told:
            page.goto(path)
        assert told.value.status == 200, path
        expect(page.locator("[data-kind]")).not_to_contain_text("Loading")
        assert page.evaluate("window.ran") is None, path
        assert page.locator("main img, main svg, main script:not([src])").count() == 0, path
        assert page.locator("a[href^='javascript']").count() == 0, path
        seen += page.inner_text("main").count(text)
    assert seen >= 8, "it stands there to be read"
    assert dialogs == []


def test_signs_that_cannot_be_seen_are_written_as_escapes_on_every_job_page(
    app: Flask, ready: System, opened: Callable[..., Page]
) -> None:
    planted = plant(ready.jobs_redis, UNSEEN, f"q{UNSEEN}")
    client = app.test_client()
    for path in planted.paths() + planted.data():
        answer = client.get(path, base_url=HERE)
        assert answer.status_code == 200, path
        told = json.dumps(answer.get_json(), ensure_ascii=False) if answer.is_json else answer.get_data(as_text=True)
        assert not set(UNSEEN) - set("abcdefgh[31m") & set(told), path
    page = opened(f"/rq/0/view/job/{BRAVE}")
    expect(page.locator("#job")).to_contain_text(SHOWN)
    page.goto("/rq/0/view/workers")
    expect(page.locator("#workers")).to_contain_text(SHOWN)


def test_a_text_of_a_megabyte_is_cut_to_its_beginning_and_its_end(app: Flask, ready: System) -> None:
    planted = plant(ready.jobs_redis, "BEGIN" + "x" * 1_000_000 + "END", "jobs")
    client = app.test_client()
    for path in planted.data() + planted.paths():
        answer = client.get(path, base_url=HERE)
        assert answer.status_code == 200, path
        assert len(answer.get_data()) < 20 * LONGEST, path
    job = client.get(f"/rq/0/data/job/{BRAVE}.json", base_url=HERE).get_json()
    for field in ("description", "exc_info"):
        assert job[field].startswith("BEGINxxx") and job[field].endswith("xxxEND"), field
        assert "characters are left out here" in job[field]


def test_one_job_that_cannot_be_read_does_not_hide_the_others(app: Flask, ready: System) -> None:
    jobs = ready.jobs_redis
    plant(jobs, "plain", "jobs")
    odd = {"data": "[]", "origin": "jobs", "description": "odd", "status": "queued"}
    for name, fields in {
        "date": {"created_at": "yesterday"}, "number": {"result_ttl": "many"}, "state": {"status": "<b>"}, "bytes": {"description": b"\xff\xfe"},
        "needs": {"dependency_ids": "{"}, "key": {b"\xff": "x"},
    }.items():  # fmt: skip
        jobs.hset(f"rq:job:{name}", mapping={**odd, **fields})
        jobs.rpush("rq:queue:jobs", name)
    jobs.set("rq:job:string", "no hash")
    jobs.rpush("rq:queue:jobs", "string", "a id of blanks")
    client = app.test_client()
    listed = client.get("/rq/0/data/jobs/jobs/queued/50/asc/1.json", base_url=HERE).get_json()["jobs"]
    unread = {job["id"]: job["unread"] for job in listed if "unread" in job}
    assert {"date", "number", "state", "bytes", "needs", "key", "string", "a id of blanks"} <= set(unread)
    assert BRAVE in {job["id"] for job in listed} - set(unread)
    for name in unread:
        answer = client.get(f"/rq/0/data/job/{name}.json", base_url=HERE)
        assert answer.status_code == 200 and answer.get_json()["unread"], name
        assert client.get(f"/rq/0/view/job/{name}", base_url=HERE).status_code == 200
    workers = client.get("/rq/0/data/workers.json", base_url=HERE).get_json()["workers"]
    assert [worker["name"] for worker in workers] == ["plain"], "and not the one that cannot be read"


def test_the_job_pages_have_the_strict_policy_of_every_page_and_none_of_rq_dashboards_scripts(
    app: Flask, ready: System
) -> None:
    planted = plant(ready.jobs_redis, HOSTILE["a script"], "jobs")
    client = app.test_client()
    ours = client.get("/", base_url=HERE).headers["Content-Security-Policy"]
    for path in planted.paths() + planted.data() + ["/rq/0/view/job/none"]:
        answer = client.get(path, base_url=HERE)
        assert answer.headers["Content-Security-Policy"] == ours, path
        page = answer.get_data(as_text=True)
        if not answer.is_json:
            assert "<script>" not in page and " style=" not in page and " onclick" not in page, path
    assert "unsafe" not in ours
    for script in ("jquery-3.5.1.min.js", "underscore-umd-min.js", "bootstrap.bundle.min.js"):
        assert client.get(f"/rq/static/js/{script}", base_url=HERE).status_code == 404


def test_a_job_that_cannot_be_read_is_deleted_from_every_list_alone_and_with_all(app: Flask, ready: System) -> None:
    jobs = ready.jobs_redis
    jobs.sadd("rq:queues", "rq:queue:jobs")
    for name in ("date", "odd one", "third"):
        jobs.hset(f"rq:job:{name}", mapping={"data": "[]", "origin": "jobs", "created_at": "yesterday"})
        jobs.rpush("rq:queue:jobs", name)
        jobs.zadd("rq:failed:jobs", {name: time.time() + 600})
    client = app.test_client()
    for name in ("date", "odd one"):
        assert client.post(f"/rq/job/{name}/delete", base_url=HERE, headers={"Origin": HERE}).status_code == 200
        assert not jobs.exists(f"rq:job:{name}")
    assert jobs.lrange("rq:queue:jobs", 0, -1) == jobs.zrange("rq:failed:jobs", 0, -1) == [b"third"]
    assert client.post("/rq/queue/jobs/failed/empty", base_url=HERE, headers={"Origin": HERE}).status_code == 200
    assert not jobs.exists("rq:job:third", "rq:failed:jobs", "rq:queue:jobs")


@pytest.mark.parametrize(
    "path",
    [
        "/rq/0/view/jobs/jobs/nowhere/8/asc/1", "/rq/0/view/jobs/jobs/queued/8/sideways/1", "/rq/0/view/jobs/jobs/queued/100000/asc/1",
        "/rq/0/view/jobs/jobs/queued/8/asc/0", "/rq/0/data/jobs/jobs/queued/x/asc/1.json", "/rq/0/data/jobs/jobs/queued/0/asc/1.json",
        f"/rq/0/data/jobs/jobs/queued/8/asc/{10**30}.json", "/rq/0/view/job/none", "/rq/0/data/job/none.json", "/rq/queue/jobs/nowhere/empty",
    ],
)  # fmt: skip
def test_an_address_that_makes_no_sense_is_not_found_and_no_traceback(app: Flask, path: str) -> None:
    client = app.test_client()
    ask = client.post if path.endswith("/empty") else client.get
    assert ask(path, base_url=HERE, headers={"Origin": HERE}).status_code == 404


def test_looking_at_a_list_takes_no_job_out_of_it(app: Flask, ready: System) -> None:
    ready.jobs_redis.sadd("rq:queues", "rq:queue:jobs")
    ready.jobs_redis.rpush("rq:queue:jobs", "was-never-written")
    assert app.test_client().get("/rq/0/data/jobs/jobs/queued/8/asc/1.json", base_url=HERE).get_json()["jobs"] == []
    assert ready.jobs_redis.lrange("rq:queue:jobs", 0, -1) == [b"was-never-written"]


def test_a_failed_job_is_requeued_and_deleted_from_its_page_after_a_question(
    ready: System, opened: Callable[..., Page]
) -> None:
    jobs = ready.jobs_redis
    jobs.hset(
        f"rq:job:{BRAVE}",
        mapping={"data": json.dumps(["engine.jobs.check", None, [], {}]), "created_at": CREATED, "origin": "jobs", "status": "failed", "description": "engine.jobs.check()"},
    )  # fmt: skip
    jobs.sadd("rq:queues", "rq:queue:jobs")
    jobs.zadd("rq:failed:jobs", {BRAVE: time.time() + 600})
    page = opened("/rq/0/view/jobs/jobs/failed/8/asc/1")
    page.click(f"text={BRAVE}")
    with page.expect_response("**/requeue"):
        page.click("button:has-text('Requeue')")
    assert jobs.lrange("rq:queue:jobs", 0, -1) == [BRAVE.encode()]
    page.goto("/rq/0/view/jobs/jobs/queued/8/asc/1")
    page.click("td button:has-text('Delete')")
    page.click("dialog button:has-text('No')")
    assert jobs.exists(f"rq:job:{BRAVE}")
    page.click("td button:has-text('Delete')")
    page.click("dialog button:has-text('Yes')")
    expect(page.locator("#jobs")).to_contain_text("No jobs.")
    assert not jobs.exists(f"rq:job:{BRAVE}")
