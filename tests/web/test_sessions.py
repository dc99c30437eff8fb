"""What a login is worth: a logout and twelve hours end every copy of its cookie, and without PostgreSQL it opens for reading what was open already."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, text

from engine.errors import ServerAway
from engine.ledger import sessions as table
from engine.wiring import System
from tests.databases import run_sql
from tests.web.conftest import HERE, PASSWORD, Visitor, brand_with, spend_now
from web import create_app
from web.sessions import GOES_ON_S, Sessions


@contextmanager
def postgresql_away(system: System, postgres: Engine) -> Iterator[None]:
    """The database of the test takes no connection, and those that it had are cut."""
    name = urlsplit(system.settings.database_url).path.strip("/").partition("?")[0]
    run_sql(postgres, f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
    run_sql(postgres, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    try:
        yield
    finally:
        run_sql(postgres, f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")


@pytest.fixture
def mia(guarded: Callable[[], Visitor]) -> Visitor:
    """A visitor who is logged in."""
    visitor = guarded()
    visitor.post("/login", actor="Mia", password=PASSWORD)
    assert visitor.get("/")[0] == 200
    return visitor


def copied(visitor: Visitor, app: Flask | None = None) -> Visitor:
    """A thief with a copy of the cookie, at the same process of the page or at another one."""
    cookie = visitor.client.get_cookie("budget_engine")
    assert cookie is not None
    client = (app or visitor.client.application).test_client()
    client.set_cookie("budget_engine", cookie.value)
    return Visitor(client)


def form_token(visitor: Visitor) -> str:
    """What the forms of a page carry."""
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', visitor.get("/")[1])
    assert found is not None
    return found[1]


def own_clock(visitor: Visitor) -> list[float]:
    """Gives the process of a visitor a clock that the test moves."""
    now = [1000.0]
    system = visitor.client.application.extensions["budget_engine"]
    visitor.client.application.extensions["sessions"] = Sessions(lambda: system.db, lambda: now[0])
    return now


def test_a_copied_cookie_opens_nothing_after_the_logout_in_this_process_and_in_another(
    ready: System, mia: Visitor
) -> None:
    other = create_app(ready)
    other.secret_key = mia.client.application.secret_key
    thieves = [copied(mia), copied(mia, other)]
    assert [thief.get("/")[0] for thief in thieves] == [200, 200], (
        "a copy is as good as the cookie while it is in force"
    )
    mia.post("/logout", "/")
    assert [thief.get("/")[0] for thief in thieves] == [302, 302]
    assert [thief.get("/changes")[0] for thief in thieves] == [302, 302]


def test_after_twelve_hours_a_login_ends_though_its_tab_was_open_all_the_time(ready: System, mia: Visitor) -> None:
    with ready.db.begin() as conn:
        conn.execute(text("UPDATE user_session SET begun_at = begun_at - interval '11 hours 59 minutes',"
                          " ends_at = ends_at - interval '11 hours 59 minutes'"))  # fmt: skip
    for _ in range(3):
        assert mia.get("/live")[0] == 200
    with ready.db.begin() as conn:
        conn.execute(text("UPDATE user_session SET begun_at = begun_at - interval '1 minute',"
                          " ends_at = ends_at - interval '1 minute'"))  # fmt: skip
    assert mia.get("/live")[0] == 302
    assert mia.get("/")[0] == 302


def test_the_table_holds_nothing_that_logs_in(ready: System, mia: Visitor) -> None:
    with ready.db.connect() as conn:
        (row,) = conn.execute(text("SELECT * FROM user_session")).mappings()
    client: FlaskClient = mia.client
    with client.session_transaction(base_url=HERE) as cookie:
        token = cookie["token"]
    assert token not in [str(value) for value in row.values()]
    assert row["token_hash"] == table.hash_of(token)
    assert (row["actor"], row["address"], row["ended_at"]) == ("Mia", "127.0.0.1", None)
    assert (row["ends_at"] - row["begun_at"]).total_seconds() == 12 * 3600
    mia.post("/logout", "/")
    with ready.db.connect() as conn:
        assert conn.execute(text("SELECT ended_why FROM user_session")).scalar_one() == "logout"


def test_a_cookie_of_before_that_names_nobody_in_the_table_opens_nothing(mia: Visitor) -> None:
    with mia.client.session_transaction(base_url=HERE) as cookie:
        cookie["token"] = "made up"
        cookie["actor"] = "Mia"
    assert mia.get("/")[0] == 302


def test_with_postgresql_away_who_was_looking_goes_on_looking_and_changes_nothing(
    ready: System, mia: Visitor, postgres: Engine
) -> None:
    brand_id, (campaign,) = brand_with(ready, daily=10_000_000)
    spend_now(ready, campaign, "4")
    assert mia.get("/status")[0] == 200
    now = own_clock(mia)
    assert mia.get("/status")[0] == 200
    token = form_token(mia)
    with postgresql_away(ready, postgres):
        for _ in range(5):
            now[0] += GOES_ON_S - 1
            status, page = mia.get("/live")
            assert status == 200 and "PostgreSQL" in page and "4.00" in page
        sent = mia.client.post(
            f"/brands/{brand_id}/edit",
            base_url=HERE,
            headers={"Origin": HERE, "X-CSRFToken": token},
            data={"name": "Stolen", "daily_budget": "9000000"},
        )
        assert sent.status_code == 503
    assert ready.catalog.brands()[0].name == "Aurora"
    assert mia.get("/")[0] == 200


def test_with_postgresql_away_a_login_that_was_not_used_for_a_minute_shows_why_it_is_not_believed(
    ready: System, mia: Visitor, postgres: Engine
) -> None:
    now = own_clock(mia)
    assert mia.get("/")[0] == 200
    with postgresql_away(ready, postgres):
        now[0] += GOES_ON_S + 1
        status, page = mia.get("/")
        assert status == 503 and "PostgreSQL is away" in page and "keeps the logins" in page
    assert mia.get("/")[0] == 200


def test_with_postgresql_away_twelve_hours_end_a_login_too(ready: System, mia: Visitor, postgres: Engine) -> None:
    now = own_clock(mia)
    assert mia.get("/")[0] == 200
    with postgresql_away(ready, postgres):
        for _ in range(12 * 60 + 2):
            now[0] += 60
            last = mia.client.application.extensions["sessions"]
            with mia.client.session_transaction(base_url=HERE) as cookie:
                found = last._without_postgresql(table.hash_of(cookie["token"]), True, _away())
            if found is None:
                break
        assert found is None and now[0] - 1000 == pytest.approx(12 * 3600, abs=61)


def test_with_postgresql_away_a_logout_ends_the_copies_here_at_once_and_elsewhere_when_it_is_back(
    ready: System, mia: Visitor, postgres: Engine
) -> None:
    thief, lea = copied(mia), Visitor(mia.client.application.test_client())
    lea.post("/login", actor="Lea", password=PASSWORD)
    assert thief.get("/live")[0] == 200
    token = form_token(mia)
    with postgresql_away(ready, postgres):
        answer = mia.client.post("/logout", base_url=HERE, headers={"Origin": HERE, "X-CSRFToken": token})
        assert answer.status_code == 302
        assert thief.get("/live")[0] == 302
    assert thief.get("/live")[0] == 302
    assert lea.get("/live")[0] == 200
    with ready.db.connect() as conn:
        assert conn.execute(text("SELECT actor FROM user_session WHERE ended_at IS NOT NULL")).scalars().all() == [
            "Mia"
        ]


def test_with_postgresql_away_the_login_page_says_why_nobody_can_log_in(
    ready: System, guarded: Callable[[], Visitor], postgres: Engine
) -> None:
    visitor = guarded()
    with postgresql_away(ready, postgres):
        status, page = visitor.post("/login", actor="Mia", password=PASSWORD)
        assert status == 503 and "PostgreSQL is away, and keeps the logins" in page
        assert visitor.get("/healthz")[0] == 200


def _away() -> ServerAway:
    return ServerAway("PostgreSQL", "nowhere", "start it")
