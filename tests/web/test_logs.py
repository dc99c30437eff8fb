"""Logs: one JSON object a line, one id from a page to what followed from it, and never a password."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from flask import Flask
from rq import Queue, SimpleWorker

from engine import jobs, logs
from engine.ledger import reports
from engine.local.printer import Printer
from engine.wiring import System
from tests.web.conftest import HERE, brand_with

_TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What this process logs, as it would to a file."""
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    stream = io.StringIO()
    logs.configure(stream)
    yield stream
    root.handlers[:] = before
    for name in ("engine", "web"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    structlog.contextvars.clear_contextvars()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_one_id_leads_from_the_form_over_the_catalogs_trail_to_every_line(
    ready: System, app: Flask, written: io.StringIO
) -> None:
    brand, (campaign,) = brand_with(ready)
    client = app.test_client()
    page = f"/campaigns/{campaign}/edit"
    token = _TOKEN.search(client.get(page, base_url=HERE).get_data(as_text=True))
    assert token is not None
    answer = client.post(
        f"/campaigns/{campaign}/pause",
        base_url=HERE,
        data={"csrf_token": token[1]},
        headers={"Origin": HERE, "X-Request-Id": "from-the-proxy-1"},
    )
    assert answer.headers["X-Request-Id"] == "from-the-proxy-1"
    assert [(c.field, c.note) for c in reports.catalog_changes(ready.db, 1)] == [
        ("enabled", "request from-the-proxy-1")
    ]
    followed = [line for line in lines(written) if line.get("request_id") == "from-the-proxy-1"]
    assert [line["event"] for line in followed] == ["published", "status changed", "request"]
    assert (followed[0]["brand"], followed[1]["campaign"], followed[1]["reasons"]) == (brand, campaign, ["manual"])


def test_a_request_without_a_usable_id_is_given_one(app: Flask) -> None:
    client = app.test_client()
    given: tuple[dict[str, str], ...] = ({}, {"X-Request-Id": "a b{}"})
    made = {client.get("/healthz", base_url=HERE, headers=headers).headers["X-Request-Id"] for headers in given}
    assert len(made) == 2
    assert all(re.fullmatch("[0-9a-f]{16}", one) for one in made)


def test_a_job_logs_under_the_id_that_rq_shows(
    ready: System, monkeypatch: pytest.MonkeyPatch, written: io.StringIO
) -> None:
    monkeypatch.setattr(jobs, "services", lambda: ready)
    queue = Queue("jobs", connection=ready.jobs_redis)
    queue.enqueue_call(jobs.publish, job_id="publish-20261123T120000")
    SimpleWorker([queue], connection=ready.jobs_redis).work(burst=True, logging_level="WARNING")
    (ended,) = [line for line in lines(written) if line["event"] == "job ended"]
    assert (ended["job"], ended["job_id"], ended["outcome"]) == ("publish", "publish-20261123T120000", "done")


def test_a_spend_that_is_set_aside_is_logged_with_the_callers_own_id(ready: System, written: io.StringIO) -> None:
    _, (campaign,) = brand_with(ready)
    ready.persister.drain_all()
    ready.client.record_spend(campaign, "1", request_id="bidder-7")
    shard = (campaign >> 16) % 64
    key = f"budget:{{{shard}}}:journal"
    found: Any = ready.hot_redis.xrevrange(key, count=1)
    last, fields = found[0]
    ready.hot_redis.xdel(key, last)
    ready.hot_redis.xadd(key, {**fields, b"f": b"9"}, id=last.split(b"-")[0] + b"-9")
    ready.persister.drain_all()
    (aside,) = [line for line in lines(written) if line["event"].startswith("journal entry set aside")]
    assert (aside["request_id"], aside["shard"], aside["level"]) == ("bidder-7", shard, "error")


def test_no_password_reaches_a_line_and_a_traceback_stays_in_one(written: io.StringIO) -> None:
    try:
        raise ValueError("postgresql://budget:s3cret@db/budget")
    except ValueError:
        logging.getLogger("engine.x").exception("cannot reach redis://:s3cret@hot:6379/0 with password=s3cret")
    (line,) = lines(written)
    assert "s3cret" not in written.getvalue()
    assert line["event"] == "cannot reach redis://:***@hot:6379/0 with password=***"
    assert "Traceback" in line["exception"]


def test_on_a_terminal_lines_are_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(logs.STYLE, "text")
    root, before, stream = logging.getLogger(), logging.getLogger().handlers[:], io.StringIO()
    try:
        logs.configure(stream)
        with logs.bound(job="check"):
            logging.getLogger("engine.jobs").warning("said")
            logging.getLogger("engine.jobs").info("not said")
    finally:
        root.handlers[:] = before
    assert re.fullmatch(r"\d\d:\d\d:\d\dZ WARNING said job=check\n", stream.getvalue())


HIDDEN = {
    "a line break": "\n",
    "a carriage return": "\r",
    "a terminal's command": "\x1b[2J",
    "NUL": "\0",
    "a backspace": "\b",
    "delete": "\x7f",
    "a C1 line break": "\x85",
    "Unicode's line end": "\u2028",
    "Unicode's paragraph end": "\u2029",
    "text from right to left": "\u202e",
    "an isolate": "\u2066",
    "a zero-width space": "\u200b",
    "a byte order mark": "\ufeff",
    "a tag": "\U000e0041",
    "half a pair": "\ud800",
}


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize("what", HIDDEN)
def test_a_sign_that_cannot_be_seen_stands_in_no_log_line(
    what: str, style: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = HIDDEN[what]
    name = f"Acme{sign}12:00:00Z ERROR all budgets are open"
    stream = told(
        style,
        monkeypatch,
        lambda log: log.warning("renamed %s", name, extra={"actor": name, "names": [name, {name: name}]}),
    )
    assert stream.count("\n") == 1, "one record is one line"
    assert sign not in stream.rstrip("\n")
    assert stream.count("Acme") == 5


@pytest.mark.parametrize("style", ["text", "json"])
def test_an_error_s_message_cannot_pass_for_another_line_of_the_log(
    style: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(log: logging.Logger) -> None:
        try:
            raise ValueError("x\n12:00:00Z WARNING anna raised a budget\r12:00:00Z WARNING twice")
        except ValueError:
            log.exception("failed")

    said = told(style, monkeypatch, fail)
    first, *rest = said.splitlines()
    assert re.match(r"\d\d:\d\d:\d\dZ ERROR failed" if style == "text" else r"\{", first)
    assert all(line.startswith("  | ") for line in rest), "whatever an error says stands behind a bar"


def test_a_value_cannot_pass_for_a_field_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    said = told("text", monkeypatch, lambda log: log.warning("x", extra={"actor": "bob status=200", "empty": ""}))
    assert said.endswith(' WARNING x actor="bob status=200" empty=""\n')


def test_the_supervisors_terminal_obeys_no_command_of_a_child() -> None:
    out = io.StringIO()
    Printer(out, {}).line("web", "Acme\x1b[2J\u202e gone\tby\n")
    assert out.getvalue() == "web      | Acme\\x1b[2J\\u202e gone\tby\n"


def told(style: str, monkeypatch: pytest.MonkeyPatch, say: Callable[[logging.Logger], None]) -> str:
    """What a record looks like in a style."""
    monkeypatch.setenv(logs.STYLE, style)
    root, before, stream = logging.getLogger(), logging.getLogger().handlers[:], io.StringIO()
    try:
        logs.configure(stream)
        say(logging.getLogger("engine.x"))
    finally:
        root.handlers[:] = before
        for name in ("engine", "web"):
            logging.getLogger(name).setLevel(logging.NOTSET)
    return stream.getvalue()
