"""Webhooks: a message is written with its alert, signed, sent until it arrives, and never led to an address that is not meant."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from standardwebhooks import Webhook, WebhookVerificationError

from engine import jobs
from engine.domain.webhooks import GIVE_UP, check_url, is_public, rest_after
from engine.errors import Conflict, InvalidInput
from engine.flows.alerts import sending
from engine.flows.alerts.sending import Sender, signed
from engine.ledger import alerts, webhooks
from engine.wiring import System
from tests.flows.test_alerts import brand, decide, spend
from tests.patience import PATIENCE_S, in_time
from tests.ports import free_port
from tests.processes.conftest import until

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def receiving(file: Path, secret: str, port: int = 0, *, die: bool = False) -> Iterator[int]:
    """A receiver in a process of its own, killed at the end; gives its port."""
    command = [sys.executable, "-m", "tests.flows.receiver", str(port), str(file), secret, *(["die"] if die else [])]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def due_now(system: System) -> None:
    with system.db.begin() as conn:
        conn.execute(text("UPDATE webhook_delivery SET next_at = now() WHERE state = 'waiting'"))


def send(system: System, *, private: bool = True) -> str:
    return str(Sender(system.db, private).send_due(lambda: False))


def states(system: System) -> list[tuple[str, str, int]]:
    return [(d.message_id, d.state, d.tries) for d in reversed(webhooks.log(system.db, 100))]


def test_a_receiver_that_is_killed_and_comes_back_counts_each_message_once_by_its_id(
    ready: System, tmp_path: Path
) -> None:
    file, port = tmp_path / "counted", free_port()
    made = webhooks.create(ready.db, "anna", "Duty", f"http://127.0.0.1:{port}/hook")
    _, campaign = brand(ready, "Aurora")
    spend(ready, campaign, "96")
    decide(ready)
    with receiving(file, made.secret, port, die=True):
        assert send(ready) == "0 messages delivered, 2 to be tried again, 0 given up"
    due_now(ready)
    assert send(ready) == "0 messages delivered, 2 to be tried again, 0 given up", "nobody is there"
    due_now(ready)
    with receiving(file, made.secret, port):
        assert send(ready) == "2 messages delivered, 0 to be tried again, 0 given up"
        due_now(ready)
        assert send(ready) == "0 messages delivered, 0 to be tried again, 0 given up"
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert {what for _, what in lines} == {"alert.opened"}, "each was verified"
    ids = [id_ for id_, _ in lines]
    assert len(ids) > len(set(ids)) == 2, "what was counted before the kill came again, under the same id"
    assert [(state, tries) for _, state, tries in states(ready)] == [("delivered", 3)] * 2
    assert sorted(set(ids)) == sorted(message for message, *_ in states(ready))


def test_a_message_is_written_with_its_alert_or_neither_is(ready: System, monkeypatch: pytest.MonkeyPatch) -> None:
    webhooks.create(ready.db, "anna", "Duty", "https://hooks.example.com/x", "critical")
    _, campaign = brand(ready, "Aurora")
    spend(ready, campaign, "100")

    def breaks(*_: object) -> int:
        raise KeyError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(webhooks, "write", breaks)
        assert decide(ready).failed
    assert alerts.history(ready.db, None, 9) == []
    decide(ready)
    assert [d.event_id for d in webhooks.log(ready.db, 9)] == [
        e.id for e in alerts.history(ready.db, None, 9) if e.level == 100
    ]


def test_what_is_muted_below_the_severity_or_of_a_disabled_receiver_is_not_written(ready: System) -> None:
    made = webhooks.create(ready.db, "anna", "Duty", "https://hooks.example.com/x").webhook
    _, campaign = brand(ready, "Aurora")
    spend(ready, campaign, "55")
    decide(ready)
    assert states(ready) == [], "half of a budget is a note"
    alerts.mute(ready.db, alerts.list_open(ready.db, None, 1)[0].id, 1, "anna")
    spend(ready, campaign, "30")
    decide(ready)
    assert states(ready) == [], "muted"
    alerts.unmute(ready.db, alerts.list_open(ready.db, None, 1)[0].id, "anna")
    spend(ready, campaign, "11")
    decide(ready)
    assert [state for _, state, _ in states(ready)] == ["waiting"]
    webhooks.set_disabled(ready.db, "anna", made.id, True)
    assert [state for _, state, _ in states(ready)] == ["failed"]
    spend(ready, campaign, "11")
    decide(ready)
    assert len(states(ready)) == 1
    with pytest.raises(Conflict, match="is disabled"):
        webhooks.add_test(ready.db, "anna", made.id)


def test_a_recovered_alert_is_told_and_the_end_of_a_day_is_not(ready: System) -> None:
    webhooks.create(ready.db, "anna", "Duty", "https://hooks.example.com/x")
    id_, campaign = brand(ready, "Aurora")
    spend(ready, campaign, "81")
    decide(ready)
    ready.manage.update_brand(id_, "anna", daily_budget_micros=None)
    decide(ready)
    with ready.db.connect() as conn:
        bodies = conn.execute(text("SELECT body FROM webhook_delivery ORDER BY id")).scalars()
        found = [json.loads(body) for body in bodies]
    assert [each["type"] for each in found] == ["alert.opened", "alert.ended"]
    assert found[1]["data"]["end_reason"] == "raised"
    assert (found[0]["data"]["spent"], found[0]["data"]["budget"]) == ("81.000000", "100.000000")


def test_while_a_secret_rotates_a_message_has_both_signatures_and_after_that_the_new_one_alone(ready: System) -> None:
    made = webhooks.create(ready.db, "anna", "Duty", "https://hooks.example.com/x")
    newer = webhooks.rotate(ready.db, "anna", made.webhook.id)
    webhooks.add_test(ready.db, "anna", made.webhook.id)
    (due,) = webhooks.claim(ready.db, 9)
    headers = signed(due, datetime.now(UTC))
    for secret in (made.secret, newer.secret):
        assert Webhook(secret).verify(due.body, headers)["type"] == "webhook.test"
    with ready.db.begin() as conn:
        conn.execute(text("UPDATE webhook SET old_until = now() - interval '1 second'"))
    due_now(ready)
    (due,) = webhooks.claim(ready.db, 9)
    headers = signed(due, datetime.now(UTC))
    Webhook(newer.secret).verify(due.body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(made.secret).verify(due.body, headers)
    trail = [(c.field, c.old, c.new) for c in ready.overview.catalog_changes(9, None, None) if c.entity == "webhook"]
    assert made.secret not in str(trail) and newer.secret not in str(trail)


PRIVATE = (
    "127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.9.9", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
    "::1", "::", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1",
    "::127.0.0.1", "::10.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b:1::7f00:1", "fec0::1", "100:0:0:1::1", "200::1", "4000::1", "5f00::1",
)  # fmt: skip


def test_only_addresses_of_the_internet_are_public() -> None:
    assert [each for each in PRIVATE if is_public(each)] == []
    assert is_public("93.184.215.14") and is_public("2606:2800:21f:cb07:6820:80da:af6b:8b2c")
    assert is_public("64:ff9b::5db8:d70e"), "the Internet of IPv4 from a network of IPv6 alone"


def test_no_connection_is_made_to_an_address_of_this_machine_or_network_unless_that_is_meant(ready: System) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)
        port = listening.getsockname()[1]
        for host in ("127.0.0.1", "localhost", "127.1", "2130706433", "[::ffff:127.0.0.1]"):
            webhooks.create(ready.db, "anna", host, f"http://{host}:{port}/")
        for each in webhooks.all_webhooks(ready.db):
            webhooks.add_test(ready.db, "anna", each.id)
        assert send(ready, private=False).startswith("0 messages delivered, 5 to be tried again")
        with pytest.raises(TimeoutError):
            listening.accept()
    answers = [line.answer or "" for line in webhooks.log(ready.db, 9)]
    assert all("which is no public address: set BUDGET_WEBHOOK_PRIVATE=1" in each for each in answers), answers


def test_a_name_is_resolved_once_and_every_address_of_it_is_checked(
    ready: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = webhooks.create(ready.db, "anna", "Duty", "http://hooks.example.com/x").webhook
    webhooks.add_test(ready.db, "anna", made.id)
    asked = []

    def resolve(host: str, *_: object, **__: object) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 80)) for each in ("93.184.215.14", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    due = webhooks.claim(ready.db, 9)
    import asyncio

    (answer,) = asyncio.run(Sender(ready.db, False)._send_all(due))
    assert asked == ["hooks.example.com"]
    assert answer.status is None and answer.text.startswith("hooks.example.com is at 10.0.0.1, which is no public")


def test_a_name_server_that_hangs_costs_its_own_message_its_time_and_no_other_one(
    ready: System, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    slow = webhooks.create(ready.db, "anna", "Slow", "http://hooks.example.com/x").webhook
    webhooks.add_test(ready.db, "anna", slow.id)
    quick = webhooks.create(ready.db, "anna", "Quick", "http://127.0.0.1:1/hook").webhook
    webhooks.add_test(ready.db, "anna", quick.id)
    monkeypatch.setattr(sending, "WHOLE_S", 0.5)
    answers, resolve = threading.Event(), socket.getaddrinfo

    def hangs(host: str, *of: Any, **more: Any) -> Any:
        if host == "hooks.example.com":
            assert answers.wait(PATIENCE_S)
        return resolve("127.0.0.1", *of, **more)

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    sender = Sender(ready.db, True)
    run = threading.Thread(target=sender.send_due, args=(lambda: False,))
    run.start()
    try:
        until(lambda: all(one.tries and one.answer for one in webhooks.log(ready.db, 9)))
    finally:
        answers.set()
        run.join()
    told = {one.name: one.answer for one in webhooks.log(ready.db, 9)}
    assert told["Slow"] == "no answer within 0 s" and "Connect" in (told["Quick"] or "")


class Odd(BaseHTTPRequestHandler):
    """A receiver that redirects, talks without end, drips its headers, or is gone, by its path."""

    asked: list[str] = []

    def do_POST(self) -> None:
        self.asked.append(self.path)
        if self.path == "/redirect":
            self.send_response(307)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
        elif self.path == "/gone":
            self.send_response(410)
            self.end_headers()
        elif self.path == "/talks":
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(100_000):
                    self.wfile.write(b"x" * 65536)
            except OSError:
                pass
        else:
            try:
                while True:
                    self.wfile.write(b"H")
                    time.sleep(0.05)
            except OSError:
                pass

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def odd() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    server.daemon_threads = True
    Odd.asked.clear()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_an_odd_receiver_costs_its_time_alone_and_leads_nowhere(
    ready: System, odd: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "WHOLE_S", 2.0)  # those that answer are through by then on a busy machine too
    for path in ("redirect", "talks", "drips", "gone"):
        made = webhooks.create(ready.db, "anna", path, f"{odd}/{path}").webhook
        webhooks.add_test(ready.db, "anna", made.id)
    began = time.monotonic()
    assert send(ready) == "1 messages delivered, 2 to be tried again, 1 given up"
    assert in_time(time.monotonic() - began, 2)
    assert sorted(Odd.asked) == ["/drips", "/gone", "/redirect", "/talks"]
    log = {line.name: line for line in webhooks.log(ready.db, 9)}
    assert log["redirect"].status == 307 and "not followed" in (log["redirect"].answer or "")
    assert log["drips"].answer == "no answer within 2 s"
    assert len(log["talks"].answer or "") == 500
    assert [w.name for w in webhooks.all_webhooks(ready.db) if w.disabled_at] == ["gone"]


def test_a_message_that_does_not_arrive_rests_longer_each_time_and_is_given_up_after_a_day(ready: System) -> None:
    rests = [rest_after(tries).total_seconds() for tries in range(1, 13)]
    assert rests == [60, 120, 240, 480, 960, 1920, 3840, 7680, 14400, 14400, 14400, 14400]
    made = webhooks.create(ready.db, "anna", "Duty", f"http://127.0.0.1:{free_port()}/").webhook
    webhooks.add_test(ready.db, "anna", made.id)
    send(ready)
    (line,) = webhooks.log(ready.db, 9)
    assert line.next_at is not None and line.last_at is not None
    assert timedelta(seconds=55) < line.next_at - line.last_at < timedelta(seconds=75)
    with ready.db.begin() as conn:
        conn.execute(text("UPDATE webhook_delivery SET created_at = now() - :span, next_at = now()"), {"span": GIVE_UP})
    assert send(ready) == "0 messages delivered, 0 to be tried again, 1 given up"


def test_two_processes_send_no_message_twice_at_once_and_one_receiver_leaves_room_for_others(ready: System) -> None:
    first, second = (webhooks.create(ready.db, "anna", name, "https://hooks.example.com/").webhook for name in "ab")
    for _ in range(6):
        webhooks.add_test(ready.db, "anna", first.id)
    webhooks.add_test(ready.db, "anna", second.id)
    claimed = [webhooks.claim(ready.db, 9) for _ in range(3)]
    assert [len(each) for each in claimed] == [5, 2, 0]
    assert {due.webhook_id for due in claimed[0]} == {first.id, second.id}
    late = claimed[0][0]
    webhooks.note(ready.db, late._replace(tries=9), None, "from long ago")
    assert all(line.answer is None for line in webhooks.log(ready.db, 9)), "only who sent it last says that it failed"


def test_the_job_sends_what_is_due(ready: System, odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "services", lambda: ready)
    made = webhooks.create(ready.db, "anna", "gone", f"{odd}/gone").webhook
    webhooks.add_test(ready.db, "anna", made.id)
    assert jobs.webhooks() == "0 messages delivered, 1 to be tried again, 0 given up", (
        "addresses of this machine are not sent to"
    )
    assert Odd.asked == []


@pytest.mark.parametrize(
    "url",
    ["", "ftp://x.example/", "https://", "http://u:p@x.example/", "https://x.example/#a", "https://x .example/", "javascript:1", "https://x.example:0/", "https://[::1", "/path", "https://\u0445.example/"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="^url"):
        check_url(url)
