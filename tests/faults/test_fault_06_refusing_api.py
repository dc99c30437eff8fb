"""Fault 6 over HTTP: a Redis that refuses, or a server that is down, is a 503 that names what to repeat, and no server. The log has it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask_openapi.openapi import OpenAPI

from api import problems, spending
from api.app import TIMEOUT_MS, create_api
from engine.domain.seldom import Seldom
from engine.ledger import tokens
from tests.api.conftest import Caller, Loop, Told
from tests.faults.refusals import EACH, REFUSALS
from tests.processes.conftest import Own, back, brand_of, own_servers, until, verified

READS = ("/brands", "/campaigns", "/activity", "/alerts", "/operations")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    """One set of servers for all of these: each is well again after its test."""
    for made in own_servers(tmp_path_factory.mktemp("logs")):
        made.system.rebuilder.rebuild(range(64))
        yield made


@pytest.fixture(scope="module")
def app(own: Own) -> Iterator[OpenAPI]:
    made = create_api(own.system)
    yield made
    made.extensions[spending.CLIENT].close()


@pytest.fixture(scope="module")
def loop(own: Own, app: OpenAPI) -> Iterator[Loop]:
    made = Loop(own.system, app, TIMEOUT_MS)
    yield made
    made.close()


def posts(campaign: int, prefix: str) -> dict[str, tuple[str, dict[str, Any], str | None]]:
    """Each call that counts, with a key where it has one."""
    one = {"campaign_id": campaign, "amount": "1"}
    return {
        "key": ("/spend", one, f"{prefix}-key"),
        "plain": ("/spend", one, None),
        "event": ("/spend", {**one, "event_id": f"{prefix}-event"}, None),
        "try": ("/spend", {**one, "mode": "try"}, None),
        "batch": ("/spends", {"spends": [one, one]}, f"{prefix}-batch"),
        "plain batch": ("/spends", {"spends": [one, one]}, None),
        "hold": ("/holds", {**one, "ttl": 60, "hold_id": f"{prefix}-new"}, None),
        "settle": (f"/holds/{prefix}-settle/settle", one, None),
        "release": (f"/holds/{prefix}-release/release", {"campaign_id": campaign}, None),
        "refund": ("/refunds", {**one, "event_id": f"{prefix}-refund"}, None),
    }


def says_no_server(told: Told, own: Own) -> bool:
    text = str(told.document) + str(told.headers)
    ports = (own.hot.port, own.jobs.port, own.postgres.port)
    return not any(word in text for word in ("127.0.0.1", "localhost", "_URL", *map(str, ports)))


@pytest.mark.parametrize("way", ["thread", "event loop"])
@pytest.mark.parametrize("word", EACH)
def test_fault_06_a_503_over_http_names_what_to_repeat_and_no_server_and_the_repeat_counts_once(
    word: str,
    way: str,
    own: Own,
    app: OpenAPI,
    loop: Loop,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(problems, "_NOTED", Seldom())  # the other way has said it already
    brand, (campaign,) = brand_of(own.system, f"{word} {way}", campaigns=1)
    secret = tokens.create(own.system.db, "test", f"{word} {way}", ["spend", "read"], None).secret
    prefix = f"{word}-{way}".replace(" ", "-").lower()
    Caller(app.test_client(), secret).post("/spend", {"campaign_id": campaign, "amount": "5", "event_id": f"{prefix}-refund"})  # fmt: skip

    def ask(path: str, body: Any, key: str | None) -> Told:
        client = loop if way == "event loop" else app.test_client()
        return Caller(client, secret).post(path, body, **({} if key is None else {"Idempotency-Key": key}))

    for name in ("settle", "release"):
        assert ask("/holds", {"campaign_id": campaign, "amount": "2", "ttl": 3600, "hold_id": f"{prefix}-{name}"}, None).status == 200  # fmt: skip
    calls = posts(campaign, prefix)
    caplog.set_level(logging.WARNING)
    with REFUSALS[word](own.hot), ThreadPoolExecutor(len(calls)) as together:
        found = dict(zip(calls, together.map(lambda call: ask(*call), calls.values()), strict=True))
    for name, told in found.items():
        assert (told.status, told.headers["Retry-After"]) == (503, "1"), (name, told)
        assert told.document["request_id"], (name, told)
        assert says_no_server(told, own) and word not in told.document["detail"], (name, told)
    assert f"127.0.0.1:{own.hot.port}" in caplog.text
    for name, (path, body, key) in calls.items():
        spend = path in ("/spend", "/spends")
        for _ in range(2):
            again = ask(path, body, found[name].document["request_id"] if spend else key)
            assert again.status == 200, (name, again)
    seen = own.system.live.read_brand(brand, 0)
    assert seen is not None and seen.daily_spend == (5 + 4 + 4 + 1 - 1) * 1_000_000
    own.system.persister.drain_all()
    assert verified(own.system) == []


@pytest.mark.parametrize("way", ["thread", "event loop"])
def test_many_spends_that_one_refusal_meets_write_one_line(
    way: str,
    own: Own,
    app: OpenAPI,
    loop: Loop,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(problems, "_NOTED", Seldom())
    _, (campaign,) = brand_of(own.system, f"many {way}", campaigns=1)
    secret = tokens.create(own.system.db, "test", f"many {way}", ["spend"], None).secret
    body = {"campaign_id": campaign, "amount": "1"}

    def ask(number: int) -> int:
        caller = Caller(loop if way == "event loop" else app.test_client(), secret)
        return caller.post(
            "/spend", body, **({"Idempotency-Key": f"key-{way[0]}-{number}"} if number % 2 else {})
        ).status

    caplog.set_level(logging.WARNING)
    with REFUSALS["READONLY"](own.hot), ThreadPoolExecutor(10) as together:
        assert set(together.map(ask, range(30))) == {503}
    lines = [record.getMessage() for record in caplog.records if record.name == "api"]
    assert 1 <= len(lines) <= 3, lines


@pytest.mark.parametrize("which", ["hot", "postgres"])
def test_who_asks_over_http_does_not_learn_where_a_server_is_that_is_down(which: str, own: Own, app: OpenAPI) -> None:
    _, (campaign,) = brand_of(own.system, f"down {which}", campaigns=1)
    secret = tokens.create(own.system.db, "test", f"down {which}", ["spend", "read", "write", "admin"], None).secret
    caller = Caller(app.test_client(), secret)
    server = {"hot": own.hot, "postgres": own.postgres}[which]
    assert caller.get("/brands").status == 200
    server.stop()
    try:
        for told in (
            *(caller.get(path) for path in READS),
            caller.get(f"/campaigns/{campaign}"),
            caller.post("/brands", {"name": f"never {which}"}),
            caller.post(f"/campaigns/{campaign}/pause", {}),
            caller.post("/spend", {"campaign_id": campaign, "amount": "1"}),
        ):
            assert says_no_server(told, own), told
            assert told.status in (200, 201, 202, 503), told
        readyz = app.test_client().get("/readyz")
        assert says_no_server(Told(readyz.status_code, readyz.text, dict(readyz.headers)), own)
    finally:
        back(server)
    until(lambda: caller.get("/brands").status == 200)
