"""The page of the system: one sentence, each invariant in words, jobs that an admin runs now, and a diagnosis without a password."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from rq import Queue

from engine.flows.verify.findings import Check, summary
from engine.ledger import runs
from engine.views.invariants import WORDS, invariants
from engine.wiring import System
from tests.web.conftest import Visitor
from tests.web.test_brand_page import row, words
from web import create_app
from web.formats import commands


def test_each_invariant_is_told_in_words_with_the_money_that_is_unaccounted_for() -> None:
    wrong, right = Check("V1", "conservation"), Check("V2", "hierarchy")
    wrong.find("brand 1: 2.00 in Redis; PASS is no word here", "brand 1", 500_000, 1)
    found = {one.id: one for one in invariants(summary([wrong, right]))}
    assert (found["V1"].state, found["V1"].micros) == ("down", 500_000)
    assert found["V1"].finding == "brand 1: 2.00 in Redis; PASS is no word here"
    assert found["V2"].state == "ok" and found["V4"].state == "none"
    assert list(found) == sorted(WORDS, key=lambda name: int(name[1:]))


def test_what_a_message_quotes_is_a_command_and_never_markup() -> None:
    assert commands("run `<b>` & <i>") == "run <code>&lt;b&gt;</code> &amp; &lt;i&gt;"


def test_the_sentence_names_what_is_down_and_the_page_what_verify_found(ready: System, visitor: Visitor) -> None:
    with runs.run(ready.db, "verify") as run:
        run.detail = "FAIL V1 500000 micros: brand 1 is off; PASS V2 V4"
    status, page = visitor.get("/system")
    assert status == 200
    head = words(re.findall(r'<p class="sentence.*?</p>', page, re.DOTALL)[0])
    assert "Worker" in head and "Scheduler" in head and head.endswith("."), (
        "no worker and no scheduler run in this test"
    )
    assert "start <code>budget-engine worker</code>; spend" in page, "a command reads as one"
    assert row(page, "V1").endswith("fails , 0.50") and "brand 1 is off" in row(page, "V1")
    assert row(page, "V2").endswith("holds")
    assert "s ago" in row(page, "part-postgresql")
    assert "Empty" in words(re.findall(r'<section[^>]*id="quarantine".*?</section>', page, re.DOTALL)[0])
    assert re.search(r"\d+ %", words(re.findall(r'<section[^>]*id="memory".*?</section>', page, re.DOTALL)[0]))


def test_run_now_enqueues_a_job_once_and_no_function_of_a_strangers_choice(ready: System, visitor: Visitor) -> None:
    queue = Queue("jobs", connection=ready.jobs_redis)
    queue.empty()
    assert "check is in the queue." in visitor.post("/system/jobs/check/run", page="/system")[1]
    assert "waits in the queue already" in visitor.post("/system/jobs/check/run", page="/system")[1]
    assert [job.func_name for job in queue.jobs] == ["engine.jobs.check"]
    status, page = visitor.post("/system/jobs/os.system/run", page="/system")
    assert status == 404 and "There is no job" in page
    assert len(queue.jobs) == 1
    queue.empty()


@pytest.fixture
def without_redis(ready: System) -> Iterator[Visitor]:
    lost = System(replace(ready.settings, redis_url="redis://:hush@127.0.0.1:1/0"))
    yield Visitor(create_app(lost).test_client())
    lost.close()


def test_the_diagnosis_is_plain_text_that_names_a_server_that_is_away_and_no_password(
    without_redis: Visitor, guarded: Callable[[], Visitor]
) -> None:
    answer = without_redis.client.get("/system.txt", base_url="http://localhost")
    text = answer.get_data(as_text=True)
    assert answer.mimetype == "text/plain" and answer.status_code == 200
    assert "Redis is down" in text.splitlines()[0] or "Redis" in text.splitlines()[0]
    assert "127.0.0.1:1" in text and "hush" not in text and "Traceback" not in text
    assert "Memory of Redis: not known now" in text
    assert guarded().client.get("/system.txt", base_url="http://localhost").status_code == 302
