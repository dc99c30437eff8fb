"""Who may come in: loopback only without a password, a login with one, and nobody from another site's page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from flask import Flask

from engine.wiring import System
from tests.web.conftest import HERE, PASSWORD, Visitor, brand_with
from web import create_app
from web.guard import is_loopback, local_path
from web.serve import address_for


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "192.168.1.5", "localhost.evil.example", "0.0.0.0"],
)
def test_without_a_password_other_host_names_are_refused(app: Flask, host: str) -> None:
    for path in ("/", "/live", "/rq/", "/readyz"):
        assert app.test_client().get(path, base_url=f"http://{host}").status_code == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000"])
def test_without_a_password_loopback_names_come_in(app: Flask, host: str) -> None:
    assert app.test_client().get("/", base_url=f"http://{host}").status_code == 200


def test_without_a_password_other_machines_are_refused(app: Flask) -> None:
    assert app.test_client().get("/", base_url=HERE, environ_base={"REMOTE_ADDR": "10.0.0.9"}).status_code == 403


def test_without_a_password_it_listens_on_loopback_whatever_was_asked(ready: System) -> None:
    open_house = replace(ready.settings, web_host="0.0.0.0")
    assert address_for(open_house) == "127.0.0.1"
    assert address_for(replace(open_house, admin_password="x")) == "0.0.0.0"
    assert is_loopback("::1")


@pytest.mark.parametrize(
    "path", ["/", "/live", "/changes", "/brands/new", "/brands/1/spend", "/rq/", "/rq/0/data/queues.json"]
)
def test_with_a_password_every_page_asks_for_it(guarded: Callable[[], Visitor], path: str) -> None:
    answer = guarded().client.get(path, base_url=HERE)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/login")


def test_health_needs_no_login(guarded: Callable[[], Visitor]) -> None:
    assert guarded().get("/healthz")[0] == 200
    status, text = guarded().get("/readyz")
    assert status == 503
    assert '"scheduler":"down"' in text.replace(" ", "")
    assert '"postgresql":"ok"' in text.replace(" ", "")


def test_a_login_signs_the_changes_and_ends_with_logout(ready: System, guarded: Callable[[], Visitor]) -> None:
    visitor = guarded()
    status, page = visitor.post("/login?next=/changes", "/login", actor=" Mia Brandt ", password=PASSWORD)
    assert status == 200
    assert "Who changed what" in page
    visitor.post("/brands/new", name="Aurora", daily_budget="none", monthly_budget="none")
    assert [line.actor for line in ready.overview.catalog_changes()] == ["Mia Brandt"]
    assert visitor.get("/rq/")[0] == 200
    visitor.post("/logout", "/")
    assert visitor.get("/")[0] == 302


def test_a_wrong_password_and_a_wrong_name_are_told_beside_their_fields(guarded: Callable[[], Visitor]) -> None:
    status, page = guarded().post("/login", actor="Mia", password="guess")
    assert status == 401
    assert "The name or the password is wrong." in page
    assert 'value="Mia"' in page
    assert "holds" in guarded().post("/login", actor="Mi\ta", password=PASSWORD)[1]


def test_a_new_password_ends_every_session(ready: System, guarded: Callable[[], Visitor]) -> None:
    visitor = guarded()
    visitor.post("/login", actor="Mia", password=PASSWORD)
    assert visitor.get("/")[0] == 200
    ready.settings = replace(ready.settings, admin_password="another")
    cookie = visitor.client.get_cookie("budget_engine")
    assert cookie is not None
    client = create_app(ready).test_client()
    client.set_cookie("budget_engine", cookie.value)
    assert client.get("/", base_url=HERE).status_code == 302


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/changes", True),
        ("/?q=a%2Fb", True),
        ("//evil.example", False),
        ("https://evil.example", False),
        ("/\\evil.example", False),
        ("/\tevil", False),
        ("", False),
    ],
)
def test_next_leads_to_this_site_only(path: str, kept: bool) -> None:
    assert local_path(path) == (path if kept else None)


def test_pages_carry_a_strict_policy_and_cookies_are_kept_from_scripts(app: Flask) -> None:
    answer = app.test_client().get("/", base_url=HERE)
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "script-src 'self'" in policy
    assert "default-src 'none'" in policy
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie
    assert "Secure" in app.test_client().get("/", base_url="https://localhost").headers["Set-Cookie"]
    page = answer.get_data(as_text=True)
    assert " style=" not in page
    assert "<style" not in page
    assert " onclick" not in page


def test_the_job_pages_change_nothing_for_another_site(app: Flask, ready: System) -> None:
    client = app.test_client()
    assert client.get("/rq/", base_url=HERE).status_code == 200
    assert client.get("/rq/requeue/jobs", base_url=HERE).status_code == 405
    assert client.get("/rq/7/view", base_url=HERE).status_code == 404
    for path in ("/rq/requeue/jobs", "/rq/queue/jobs/failed/empty", "/rq/queue/jobs/compact"):
        assert client.post(path, base_url=HERE).status_code == 403
        assert client.post(path, base_url=HERE, headers={"Origin": "http://evil.example"}).status_code == 403
        assert client.post(path, base_url=HERE, headers={"Origin": HERE}).status_code in (200, 409)


def test_one_redis_for_both_is_warned_of_on_every_page(ready: System) -> None:
    ready.settings = replace(ready.settings, jobs_redis_url=ready.settings.redis_url)
    visitor = Visitor(create_app(ready).test_client())
    brand_id, _ = brand_with(ready)
    for path in ("/", "/changes", "/brands/new", f"/brands/{brand_id}/edit", "/nowhere"):
        assert "share one Redis" in visitor.get(path)[1]
    assert "share one Redis" in visitor.get("/rq/")[1]


@pytest.mark.parametrize(
    "name",
    [
        "cli:root",
        "CLI:root",
        "cli\uff1aroot",
        "engine",
        "Engine",
        "persist",
        "close_day",
        "rebuild",
        "ｖｅｒｉｆｙ",
        "web (no  login)",
        "sso:mia",
    ],
)
def test_nobody_logs_in_under_the_name_that_the_engine_signs_with(guarded: Callable[[], Visitor], name: str) -> None:
    visitor = guarded()
    status, page = visitor.post("/login", actor=name, password=PASSWORD)
    assert status == 200 and "is how the engine signs its own changes" in page
    assert visitor.get("/changes")[0] == 302, "not logged in"


@pytest.mark.parametrize("sign", ["\u202e", "\u200b", "\u2066", "\ufeff", "\u00ad"])
def test_nobody_logs_in_under_a_name_with_a_sign_that_cannot_be_seen(guarded: Callable[[], Visitor], sign: str) -> None:
    visitor = guarded()
    status, page = visitor.post("/login", actor=f"Mi{sign}a", password=PASSWORD)
    assert status == 200 and "cannot be seen" in page and sign not in page.split("cannot be seen")[1][:40]
    assert visitor.get("/changes")[0] == 302
