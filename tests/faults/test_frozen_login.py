"""A person is logged in, and PostgreSQL, which has the users and sessions, takes connections and says nothing (SIGSTOP)."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from engine.domain.passwords import digest_of
from engine.ledger import sessions, users
from tests.faults.test_fault_13_hangs import LIMIT_S, Answer, Form, Web, frozen
from tests.patience import beside_well
from tests.processes.conftest import Own, brand_of, own_servers, until
from web import create_app

SECRET = "a passphrase of hers"


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    yield from own_servers(tmp_path_factory.mktemp("logs"))


def cookie_of(own: Own, user_id: int) -> str:
    """What a browser keeps in which this user is logged in."""
    client = create_app(own.system).test_client()
    with client.session_transaction() as session:
        session["token"] = sessions.begin(own.system.db, "Mia", "127.0.0.1", user_id)
    found = client.get_cookie("budget_engine")
    assert found is not None
    return f"budget_engine={found.value}"


def test_beside_a_frozen_postgresql_a_person_reads_on_changes_nothing_and_every_answer_comes_within_three_seconds(
    own: Own,
) -> None:
    own.system.rebuilder.rebuild(range(64))
    _, (campaign, *_) = brand_of(own.system, "Aurora", 1, daily=10_000_000)
    mia = users.create(own.system.db, "test", "Mia", "admin", None, digest_of(SECRET))
    kept = cookie_of(own, mia.id)
    web = Web(own)

    def look(path: str) -> Answer:
        return web._ask("GET", path, None, {"Cookie": kept})

    until(lambda: look("/live").status == 200)
    began = time.monotonic()
    digest_of(SECRET)  # the dearest part of a login
    login_s = time.monotonic() - began
    login = web.form("/login")
    page = look("/")
    well_s = max(page.took_s, login_s)
    assert "Aurora" in page.text and "Mia" in page.text
    token = page.text.split('name="csrf_token" value="')[1].split('"')[0]
    with frozen(own.postgres):
        answers = {path: look(path) for path in ("/live", "/people", "/me", "/login", "/healthz", "/readyz", "/live")}
        answers["pause"] = web.post(f"/campaigns/{campaign}/pause", Form(kept, {"csrf_token": token}))
        answers["log in"] = web.post("/login", login, actor="Mia", password=SECRET)
        answers["a stranger"] = web.get("/")
    assert {
        what: round(one.took_s, 2) for what, one in answers.items() if not beside_well(one.took_s, LIMIT_S, well_s)
    } == {}
    assert {what: one.status for what, one in answers.items()} == {
        "/live": 200, "/people": 503, "/me": 503, "/login": 302, "/healthz": 200, "/readyz": 503, "pause": 503, "log in": 503, "a stranger": 302,
    }  # fmt: skip
    assert "PostgreSQL hangs, and keeps the logins" in answers["log in"].text
    assert own.system.catalog.campaign(campaign).enabled
    until(lambda: look("/people").status == 200)
