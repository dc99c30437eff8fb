"""What is believed of a proxy, and what is refused where nobody has to log in; and secrets that can be guessed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_network

import pytest
from flask import Flask, request

from engine.errors import InvalidSetting
from engine.settings import Settings
from engine.wiring import System
from tests.web.conftest import HERE, PASSWORD, Visitor
from web import create_app
from web.proxies import FORWARDED, Proxies
from web.serve import refuse_weak_secrets

PUBLIC = "https://budgets.example.com"
PROXY = "10.0.0.5"
LONG = "k" * 32


@pytest.fixture
def behind(ready: System) -> Iterator[Flask]:
    """The console behind a TLS proxy that is named."""
    plain = ready.settings
    trusted = (ip_network(PROXY), ip_network("10.1.0.0/24"))
    ready.settings = replace(plain, admin_password=PASSWORD, public_url=PUBLIC, trusted_proxies=trusted)
    app = create_app(ready)
    app.add_url_rule("/whoami", "health.whoami", lambda: f"{request.remote_addr} {request.scheme} {request.host}")
    app.view_functions["health.healthz"] = app.view_functions["health.whoami"]
    yield app
    ready.settings = plain


def seen(app: Flask, remote: str, host: str = "budgets.example.com", **headers: str) -> list[str]:
    """Address, scheme and host that the pages see."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = app.test_client().get(
        "/healthz", base_url=f"http://{host}", headers=sent, environ_base={"REMOTE_ADDR": remote}
    )
    return answer.get_data(as_text=True).split()


def test_a_named_proxy_is_believed_and_nobody_else(behind: Flask) -> None:
    chain = {"X_Forwarded_For": "6.6.6.6, 203.0.113.9, 10.1.0.7", "X_Forwarded_Proto": "https"}
    assert seen(behind, PROXY, **chain) == ["203.0.113.9", "https", "budgets.example.com"]
    assert seen(behind, f"::ffff:{PROXY}", **chain)[0] == "203.0.113.9"
    assert seen(behind, "198.51.100.7", "10.0.0.9:8000", **chain) == ["198.51.100.7", "http", "10.0.0.9:8000"]
    assert seen(behind, PROXY, X_Forwarded_For="nonsense")[0] == PROXY
    assert seen(behind, PROXY, X_Forwarded_For="203.0.113.9, nonsense")[0] == PROXY


def test_an_address_has_one_spelling_whatever_a_proxy_writes(behind: Flask) -> None:
    for written, found in (
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("fe80::1%eth0", "fe80::1"),
        ("fe80::1%<script>", "fe80::1"),
        ("2001:DB8:0::0001", "2001:db8::1"),
        ("203.0.113.9, ::ffff:10.1.0.7", "203.0.113.9"),
        ("203.0.113.9, 01.02.03.04", PROXY),
    ):
        assert seen(behind, PROXY, X_Forwarded_For=written)[0] == found, written


@pytest.mark.parametrize(
    ("sent", "scheme"),
    [
        ("http, https", "https"),
        ("HTTPS ,https", "https"),
        ("http", "http"),
        ("http,http", "http"),
        ("https,gopher", "http"),
    ],
)
def test_the_scheme_of_a_chain_of_proxies_is_https_where_one_of_them_was_reached_so(sent: str, scheme: str) -> None:
    app = Proxies(lambda environ, start: [environ["wsgi.url_scheme"].encode()], (ip_network(PROXY),), "")
    environ = {"REMOTE_ADDR": PROXY, "HTTP_X_FORWARDED_PROTO": sent, "wsgi.url_scheme": "http"}
    assert app(environ, lambda *_: None) == [scheme.encode()]


@pytest.mark.parametrize(
    "host",
    [
        "x" * 64,
        "a." * 127 + "com",
        "a b",
        "[::1",
        "evil\\@localhost",
        "localhost@evil",
        "a..b",
        "h:123456",
        "h/x",
        "\xff",
    ],
)
def test_a_host_that_is_none_is_refused_before_any_page(behind: Flask, host: str) -> None:
    for path in ("/login", "/", "/nowhere"):
        answer = behind.test_client().get(path, environ_overrides={"HTTP_HOST": host})
        assert (answer.status_code, answer.mimetype) == (400, "text/plain"), path


def test_a_named_proxy_that_rewrites_host_still_serves_the_public_address(behind: Flask) -> None:
    assert seen(behind, PROXY, "127.0.0.1:8000") == [PROXY, "https", "budgets.example.com"]


def test_behind_a_tls_proxy_cookies_are_secure_and_browsers_are_told_to_stay_with_https(behind: Flask) -> None:
    answer = behind.test_client().get("/login", base_url="http://budgets.example.com")
    assert "Secure" in answer.headers["Set-Cookie"]
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=")
    near = behind.test_client().get("/login", base_url="http://localhost")
    assert "Secure" not in near.headers["Set-Cookie"] and "Strict-Transport-Security" not in near.headers


def test_a_login_through_the_proxy_works_and_is_counted_for_the_clients_own_address(
    ready: System, behind: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    client = behind.test_client()
    sent = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "https",
        "Origin": PUBLIC,
        "Referer": PUBLIC + "/login",
    }
    through = {"REMOTE_ADDR": PROXY}
    page = client.get("/login", base_url=PUBLIC, headers=sent, environ_base=through).get_data(as_text=True)
    token = page.split('name="csrf_token"')[1].split('value="')[1].split('"')[0]
    fields = {"csrf_token": token, "actor": "Mia", "password": "guess"}
    answer = client.post("/login", base_url=PUBLIC, headers=sent, environ_base=through, data=fields)
    assert answer.status_code == 401
    (refused,) = (record for record in caplog.records if record.getMessage() == "login refused")
    assert refused.__dict__["address"] == "203.0.113.9"
    fields["password"] = PASSWORD
    answer = client.post("/login", base_url=PUBLIC, headers=sent, environ_base=through, data=fields)
    assert answer.status_code == 302
    cookies = answer.headers.getlist("Set-Cookie")
    assert len(cookies) == 2 and all("Secure" in cookie and "HttpOnly" in cookie for cookie in cookies)


@pytest.mark.parametrize("header", [*FORWARDED, "X-Forwarded-Anything", "x-original-anything"])
def test_without_a_password_what_a_proxy_forwards_is_refused(app: Flask, header: str) -> None:
    for path in ("/", "/live", "/brands/new", "/rq/", "/metrics"):
        assert app.test_client().get(path, base_url=HERE, headers={header: "203.0.113.9"}).status_code == 403


def test_without_a_password_a_proxy_that_rewrites_host_lets_no_outsiders_page_change_a_budget(
    ready: System, app: Flask
) -> None:
    visitor = Visitor(app.test_client())
    token = visitor.get("/brands/new")[1].split('name="csrf_token"')[1].split('value="')[1].split('"')[0]
    outside = {"Origin": PUBLIC, "Referer": f"{PUBLIC}/brands/new", "Sec-Fetch-Site": "same-origin"}
    fields = {"csrf_token": token, "name": "Stolen", "daily_budget": "9000000", "monthly_budget": "none"}
    sent = visitor.client.post("/brands/new", base_url=HERE, headers=outside, data=fields)
    assert sent.status_code == 403
    assert not ready.catalog.brands()
    for nowhere in ("http://[", "null", "//", ""):
        outside["Origin"] = nowhere
        assert visitor.client.post("/brands/new", base_url=HERE, headers=outside, data=fields).status_code == 403
    assert not ready.catalog.brands()
    own = {"Origin": HERE, "Sec-Fetch-Site": "same-origin"}
    assert visitor.client.post("/brands/new", base_url=HERE, headers=own, data=fields).status_code == 302


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"admin_password": "x", "secret_key": LONG}, "BUDGET_ADMIN_PASSWORD has 1 characters"),
        ({"admin_password": "elevenchars", "secret_key": LONG}, "BUDGET_ADMIN_PASSWORD has 11 characters"),
        ({"admin_password": "twelve chars", "secret_key": "k" * 31}, "SECRET_KEY has 31 bytes"),
    ],
)
@pytest.mark.parametrize("reached", [{"web_host": "0.0.0.0"}, {"public_url": PUBLIC}])
def test_where_others_reach_the_page_a_weak_secret_is_refused_at_start(
    ready: System, given: dict[str, str], named: str, reached: dict[str, str]
) -> None:
    beyond: Settings = replace(ready.settings, **{**given, **reached})  # type: ignore[arg-type]
    with pytest.raises(InvalidSetting, match=f"^{named}.*write it like"):
        refuse_weak_secrets(beyond)
    refuse_weak_secrets(replace(beyond, admin_password="twelve chars", secret_key=LONG))
    refuse_weak_secrets(replace(beyond, web_host="127.0.0.1", public_url=""))


def test_a_page_with_a_public_address_and_no_password_is_refused_at_start(ready: System) -> None:
    with pytest.raises(InvalidSetting, match="^BUDGET_PUBLIC_URL is set, and BUDGET_ADMIN_PASSWORD is not"):
        refuse_weak_secrets(replace(ready.settings, public_url=PUBLIC))


def test_with_a_password_a_proxy_that_is_not_named_changes_nothing(guarded: Callable[[], Visitor]) -> None:
    answer = guarded().client.get("/login", base_url=HERE, headers={"X-Forwarded-Proto": "https"})
    assert answer.status_code == 200 and "Strict-Transport-Security" not in answer.headers
