"""Login with an OpenID provider that runs as a process of its own: roles by groups, and what is not believed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from flask import Flask

from engine.domain.people import groups_of, parse_groups
from engine.errors import InvalidInput, InvalidSetting
from engine.ledger import logins, users
from engine.settings import Settings
from engine.wiring import System
from tests.patience import PATIENCE_S, in_time
from tests.web.conftest import HERE, Visitor, brand_with
from web import create_app

if find_spec("authlib") is None:
    if os.environ.get("BUDGET_REQUIRE_TOOLS") == "1":
        pytest.fail("Authlib is not installed, and BUDGET_REQUIRE_TOOLS=1 asks for it: make oidc", pytrace=False)
    pytest.skip("the extra `oidc` is not installed: make oidc", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[2]
GROUPS = "ads-admins=admin,buyers=operator:1,more=operator:2,readers=viewer"


@dataclass
class Provided:
    """The provider, and the page that logs in with it."""

    app: Flask
    issuer: str
    folder: Path

    def knows(self, **people: dict[str, Any]) -> None:
        """Whom the provider knows, with what it says of each."""
        (self.folder / "people.json").write_text(json.dumps(people))

    def sent(self, visitor: Visitor, login: str, then: str = "/login/oidc") -> str:
        """The address at which a browser comes back, after it was sent to the provider."""
        answer = visitor.client.get(then, base_url=HERE)
        assert answer.status_code == 302, answer.get_data(as_text=True)
        return returned(answer.headers["Location"], login)

    def enter(self, login: str, then: str = "/login/oidc") -> tuple[Visitor, int, str]:
        """A browser that logs in as somebody: its status and page."""
        visitor = Visitor(self.app.test_client())
        back = urlsplit(self.sent(visitor, login, then))
        answer = visitor.client.get(f"{back.path}?{back.query}", base_url=HERE, follow_redirects=True)
        return visitor, answer.status_code, answer.get_data(as_text=True)


class Stay(urllib.request.HTTPRedirectHandler):
    """Shows where a redirect leads, and does not go there."""

    def redirect_request(self, *_: Any) -> None:
        return None


def returned(url: str, login: str) -> str:
    """What the provider answers a browser in which this person is logged in there."""
    try:
        urllib.request.build_opener(Stay).open(f"{url}&{urlencode({'login_hint': login})}", timeout=PATIENCE_S)
    except urllib.error.HTTPError as answer:
        assert answer.code == 302, answer.read()
        return str(answer.headers["Location"])
    raise AssertionError("the provider did not send the browser back")


@pytest.fixture
def provided(ready: System, tmp_path: Path) -> Iterator[Provided]:
    (tmp_path / "people.json").write_text("{}")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.web.provider", str(tmp_path / "people.json"), f"{HERE}/login/oidc/back"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        issuer = process.stdout.readline().strip()
        assert issuer, "the provider did not start"
        plain = ready.settings
        ready.settings = replace(
            plain, oidc_issuer=issuer, oidc_client_id="budget-engine", oidc_client_secret="the secret of the page",
            oidc_groups=parse_groups(GROUPS),
        )  # fmt: skip
        yield Provided(create_app(ready), issuer, tmp_path)
        ready.settings = plain
    finally:
        process.kill()
        process.wait()


def test_a_buyer_logs_in_with_the_provider_and_has_the_role_and_brands_of_his_groups(
    ready: System, provided: Provided
) -> None:
    brand_with(ready)
    brand_with(ready, "Boreal")
    provided.knows(lea={"preferred_username": "Lea Kurz", "groups": ["buyers", "canteen"]})
    page = provided.app.test_client().get("/login", base_url=HERE).get_data(as_text=True)
    assert "Log in with your organisation" in page
    visitor, status, page = provided.enter("lea", "/login/oidc?next=/changes")
    assert status == 200 and "Who changed what" in page and "Lea Kurz" in page
    assert visitor.get("/brands/1/edit")[0] == 200 and visitor.get("/brands/2/edit")[0] == 404
    (lea,) = users.all_users(ready.db)
    assert (lea.name, lea.role, lea.brands, lea.has_password) == ("Lea Kurz", "operator", (1,), False)
    assert [(e.name, e.outcome) for e in logins.events(ready.db, 5)] == [("Lea Kurz", "in")]
    assert Visitor(provided.app.test_client()).post("/login", actor="Lea Kurz", password="")[0] == 401


def test_other_groups_count_from_the_next_login_and_the_trail_has_the_change(ready: System, provided: Provided) -> None:
    brand_with(ready)
    brand_with(ready, "Boreal")
    provided.knows(lea={"email": "lea@example.com", "groups": ["readers", "buyers", "more"]})
    provided.enter("lea")
    assert users.all_users(ready.db)[0].brands == (1, 2)
    provided.knows(lea={"email": "lea@example.com", "groups": ["ads-admins"]})
    visitor, status, _ = provided.enter("lea")
    assert status == 200 and visitor.get("/people")[0] == 200
    assert len(users.all_users(ready.db)) == 1
    trail = [(c.field, c.old, c.new, c.actor) for c in ready.overview.catalog_changes() if c.field == "role"]
    assert trail == [("role", "operator", "admin", "oidc")]


def test_whoever_has_no_group_is_disabled_or_has_anothers_name_does_not_come_in(
    ready: System, provided: Provided
) -> None:
    provided.knows(
        nemo={"name": "Nemo", "groups": ["canteen"]}, lea={"name": "Lea", "groups": ["readers"]},
        eve={"name": "LEA", "groups": ["ads-admins"]}, root={"name": "engine", "groups": ["readers"]}, odd={"groups": "ads-admins", "name": "Odd"},
    )  # fmt: skip
    _, status, page = provided.enter("nemo")
    assert status == 403 and "none of your groups has a role" in page
    assert logins.events(ready.db, 1)[0].outcome == "no role"
    _, status, page = provided.enter("odd")
    assert status == 403, "a text is no list of groups"
    lea, status, _ = provided.enter("lea")
    assert status == 200
    _, status, page = provided.enter("eve")
    assert status == 403 and "is taken by another user" in page
    _, status, page = provided.enter("root")
    assert status == 403 and "signs its own changes" in page
    users.set_disabled(ready.db, "test", users.named(ready.db, "Lea").id, True)
    assert lea.get("/")[0] == 302
    provided.knows(lea={"name": "Lea", "groups": ["ads-admins"]})
    _, status, page = provided.enter("lea")
    assert status == 403 and "this user is disabled" in page
    assert users.named(ready.db, "Lea").role == "viewer", "nobody is raised while he is shut out"
    assert [user.name for user in users.all_users(ready.db)] == ["Lea"]


def test_who_lost_his_groups_is_out_everywhere_once_he_tries_again(ready: System, provided: Provided) -> None:
    provided.knows(lea={"name": "Lea", "groups": ["ads-admins"]}, eve={"name": "Eve", "groups": ["readers"]})
    lea, _, _ = provided.enter("lea")
    eve, _, _ = provided.enter("eve")
    assert lea.get("/people")[0] == 200
    provided.knows(lea={"name": "Lea\0\u202e" + "a" * 99, "groups": []})
    assert provided.enter("lea")[1] == 403
    assert lea.get("/people")[0] == 302 and eve.get("/")[0] == 200
    newest = logins.events(ready.db, 1)[0]
    assert (newest.outcome, newest.user_id) == ("no role", users.named(ready.db, "Lea").id)
    assert newest.name == "Lea" + "a" * 61


def test_two_first_logins_at_once_make_one_user(ready: System, provided: Provided) -> None:
    start = threading.Barrier(4)

    def enter(number: int) -> str:
        start.wait(PATIENCE_S)
        return ready.people.log_in_from_provider("issuer lea", f"Lea {number % 2}", ("viewer", None), "here").outcome

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(enter, range(4))) == ["in"] * 4
    assert len(users.all_users(ready.db)) == 1


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "of another login"},
        {"iss": "https://login.evil.example"},
        {"aud": ["another-client"]},
        {"aud": ["budget-engine", "another-client"], "azp": "another-client"},
        {"exp": 1_000_000_000},
        {"sub": "lea\0"},
        {"sub": "x" * 2000},
    ],
    ids=["nonce", "issuer", "client", "two clients", "old", "NUL", "long"],
)
def test_what_is_signed_for_another_login_client_or_time_gets_nobody_in(
    ready: System, provided: Provided, claims: dict[str, Any]
) -> None:
    provided.knows(lea={"name": "Lea", "groups": ["ads-admins"], **claims})
    visitor, status, _ = provided.enter("lea")
    assert status in (403, 503) and visitor.get("/")[0] == 302
    assert users.all_users(ready.db) == []


def test_a_browser_is_sent_with_state_nonce_and_the_digest_of_a_secret(provided: Provided) -> None:
    seen = []
    for _ in range(2):
        answer = provided.app.test_client().get("/login/oidc", base_url=HERE)
        sent = {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}
        assert sent["code_challenge_method"] == "S256" and sent["response_type"] == "code"
        assert sent["redirect_uri"] == f"{HERE}/login/oidc/back"
        seen += [sent["state"], sent["nonce"], sent["code_challenge"]]
    assert len(set(seen)) == 6 and all(len(each) >= 43 for each in seen)


def test_a_code_is_good_once_in_the_browser_that_began_and_with_its_state(provided: Provided) -> None:
    provided.knows(lea={"name": "Lea", "groups": ["readers"]}, eve={"name": "Eve", "groups": ["ads-admins"]})
    visitor, thief = Visitor(provided.app.test_client()), Visitor(provided.app.test_client())
    back = urlsplit(provided.sent(visitor, "lea"))
    assert thief.get(f"{back.path}?{back.query}")[0] == 400, "another browser"
    assert visitor.get(f"{back.path}?code=x&state=made-up")[0] == 400
    assert visitor.get(f"{back.path}?{back.query}")[0] == 400, "what was kept is gone"
    mine = urlsplit(provided.sent(visitor, "lea"))
    assert visitor.get(f"{mine.path}?{mine.query}")[0] == 302
    assert visitor.get(f"{mine.path}?{mine.query}")[0] == 400, "a second time"
    # Eve's code under Lea's state: signed for another nonce, and its verifier is Eve's.
    fresh = Visitor(provided.app.test_client())
    hers = parse_qs(urlsplit(provided.sent(thief, "eve")).query)
    state = parse_qs(urlsplit(provided.sent(fresh, "lea")).query)["state"][0]
    status, page = fresh.get(f"{mine.path}?{urlencode({'code': hers['code'][0], 'state': state})}")
    assert status == 503 and "cannot be believed" in page and fresh.get("/")[0] == 302


@pytest.mark.parametrize(("setting", "value"), [("oidc_client_secret", "another"), ("oidc_client_id", "somebody-else")])
def test_a_wrong_client_gets_nobody_in(ready: System, provided: Provided, setting: str, value: str) -> None:
    provided.knows(lea={"name": "Lea", "groups": ["readers"]})
    right = Visitor(provided.app.test_client())
    back = urlsplit(provided.sent(right, "lea"))
    ready.settings = replace(ready.settings, **{setting: value})
    wrong = create_app(ready).test_client()
    cookie = right.client.get_cookie("budget_engine")
    assert cookie is not None
    wrong.set_cookie("budget_engine", cookie.value)
    answer = wrong.get(f"{back.path}?{back.query}", base_url=HERE)
    assert answer.status_code == 503 and wrong.get("/", base_url=HERE).status_code == 302


def test_a_provider_that_hangs_costs_three_seconds_and_no_other_page(provided: Provided) -> None:
    (provided.folder / "hang").touch()
    visitor = Visitor(provided.app.test_client())
    began = time.monotonic()
    status, page = visitor.get("/login/oidc")
    assert status == 503 and "the provider is away" in page
    took = time.monotonic() - began
    assert took > 2.5 and in_time(took, 5)
    assert visitor.get("/login")[0] == 200 and visitor.get("/healthz")[0] == 200


def test_next_leads_to_this_site_only_after_a_login_there_too(provided: Provided) -> None:
    provided.knows(lea={"name": "Lea", "groups": ["readers"]})
    visitor = Visitor(provided.app.test_client())
    back = urlsplit(provided.sent(visitor, "lea", "/login/oidc?next=https://evil.example/"))
    answer = visitor.client.get(f"{back.path}?{back.query}", base_url=HERE)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "=admin",
        "a=boss",
        "a=operator:",
        "a=operator:x",
        "a=admin:1",
        "a=operator:1+",
        "a=operator:-1",
        "a=viewer,a=admin",
    ],
)
def test_groups_that_do_not_read_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_groups(text)
    with pytest.raises(InvalidSetting, match="write it like BUDGET_OIDC_GROUPS="):
        Settings.load({"BUDGET_OIDC_GROUPS": text}, None)


def test_the_highest_role_counts_with_the_brands_of_all_groups_that_have_it() -> None:
    granted = parse_groups("a=operator:1,b=operator:2+3,c=operator,d=viewer,e=admin")
    assert groups_of(["a", "b", "d"], granted) == ("operator", frozenset({1, 2, 3}))
    assert groups_of(["a", "c"], granted) == ("operator", None)
    assert groups_of(["d", "e"], granted) == ("admin", None)
    assert groups_of(["x"], granted) is None


def test_without_the_extra_the_page_does_not_start_and_one_line_says_what_to_install() -> None:
    given = {
        "BUDGET_OIDC_ISSUER": "https://login.example.com", "BUDGET_OIDC_CLIENT_ID": "x",
        "BUDGET_OIDC_CLIENT_SECRET": "y", "BUDGET_OIDC_GROUPS": "a=admin", "BUDGET_WEB_PORT": "18999",
        "REDIS_URL": "redis://127.0.0.1:1/0", "JOBS_REDIS_URL": "redis://127.0.0.1:1/1",
        "DATABASE_URL": "postgresql://x:x@127.0.0.1:1/x",
    }  # fmt: skip
    for missing in ("authlib", "joserfc", "requests"):
        code = f"import sys; sys.modules['{missing}'] = None; from engine.__main__ import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, "web"],
            env={**os.environ, **given}, cwd=ROOT, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert line.endswith(f"{missing}, which is not installed: pip install 'budget-engine[oidc]'")


@pytest.mark.parametrize(
    "issuer", ["http://login.example.com", "login.example.com", "https://", "https://a.example/?x=1", "https://[x", "https://a@b.example"]
)  # fmt: skip
def test_an_issuer_that_anybody_between_could_speak_for_is_refused(issuer: str) -> None:
    with pytest.raises(InvalidSetting, match="BUDGET_OIDC_ISSUER"):
        Settings.load({"BUDGET_OIDC_ISSUER": issuer}, None)


def test_settings_of_a_provider_are_set_together(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"BUDGET_OIDC_ISSUER": "https://login.example.com/realms/ads", "BUDGET_OIDC_CLIENT_ID": "x"}
    with pytest.raises(InvalidSetting, match="set all four, or none"):
        Settings.load(given, None)
    whole = Settings.load({**given, "BUDGET_OIDC_CLIENT_SECRET": "y", "BUDGET_OIDC_GROUPS": "a=operator:2+1"}, None)
    assert whole.needs_login and whole.as_environment()["BUDGET_OIDC_GROUPS"] == "a=operator:1+2"
