"""The pages of people: an admin makes and shuts out users, ends sessions and reads the login log; each person has a page of his own."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from flask import Flask
from playwright.sync_api import Page

from engine.domain import passwords
from engine.domain.people import Role
from engine.ledger import logins, sessions, tokens, users
from engine.ledger.users import User
from engine.wiring import System
from tests.patience import in_time
from tests.web.conftest import HERE, PASSWORD, Visitor, brand_with
from tests.web.test_throttle import with_clock
from web import create_app

SECRET = "a passphrase of hers"
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def person(ready: System) -> Callable[..., User]:
    """Makes users, who all have one password."""
    digest = passwords.digest_of(SECRET)

    def made(name: str, role: Role = "operator", brands: list[int] | None = None) -> User:
        return users.create(ready.db, "test", name, role, brands, digest)

    return made


@pytest.fixture
def shared(ready: System) -> Iterator[Flask]:
    """The page with BUDGET_ADMIN_PASSWORD."""
    plain = ready.settings
    ready.settings = replace(plain, admin_password=PASSWORD)
    yield create_app(ready)
    ready.settings = plain


@pytest.fixture
def admin(ready: System, shared: Flask, person: Callable[..., User]) -> Visitor:
    person("Ada", "admin")
    return entered(ready, shared, "Ada")


def entered(system: System, app: Flask, name: str) -> Visitor:
    """A browser in which a user is logged in."""
    client = app.test_client()
    with client.session_transaction(base_url=HERE) as cookie:
        cookie["token"] = sessions.begin(system.db, name, "192.0.2.7", users.named(system.db, name).id)
    return Visitor(client)


def test_an_admin_makes_an_operator_of_one_brand_who_logs_in_and_sees_no_other(
    ready: System, shared: Flask, admin: Visitor
) -> None:
    aurora, _ = brand_with(ready)
    boreal, _ = brand_with(ready, "Boreal")
    status, page = admin.post(
        "/people/new", name="Lea", password=SECRET, role="operator", scope="some", brands=f"{aurora} Aurora\n"
    )
    assert status == 200 and "User Lea created." in page and "Aurora" in page
    lea = Visitor(shared.test_client())
    status, page = lea.post("/login", actor="Lea", password=SECRET)
    assert status == 200 and "Aurora" in page and "Boreal" not in page
    assert lea.get(f"/brands/{boreal}/edit")[0] == 404 and lea.get("/people")[0] == 403
    made = [(c.field, c.new, c.actor) for c in ready.overview.catalog_changes() if c.entity == "user"]
    assert made[0] == ("created", "Lea", "Ada")
    assert "Lea" in admin.get("/changes")[1] and "user" not in lea.get("/changes")[1].split("<tbody>")[-1]


def test_brands_are_named_by_id_external_id_or_name_and_what_is_none_is_told_beside_the_field(
    ready: System, admin: Visitor
) -> None:
    aurora, _ = brand_with(ready)
    boreal, _ = brand_with(ready, "Boreal")
    cedar = ready.manage.create_brand("Cedar", None, None, "cedar", "test").row
    fields = {"name": "Lea", "password": SECRET, "role": "viewer", "scope": "some"}
    status, page = admin.post("/people/new", **fields, brands="4711\nNobody\next:none")
    assert status == 422 and page.count("There is no brand") == 3
    status, page = admin.post("/people/new", **fields, brands="")
    assert status == 422 and "at least one brand" in page
    assert users.all_users(ready.db)[0].name == "Ada" and len(users.all_users(ready.db)) == 1
    admin.post("/people/new", **fields, brands=f"{aurora}\nBoreal\next:cedar")
    assert users.named(ready.db, "Lea").brands == (aurora, boreal, cedar.id)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"role": "boss", "scope": "all"}, "is none of viewer, operator, admin"),
        ({"role": "viewer"}, "Sees is missing"),
        ({"role": "viewer", "scope": "most"}, "is neither all nor some"),
        ({"role": "admin", "scope": "some", "brands": "1"}, "an admin sees every brand"),
        ({"role": "viewer", "scope": "all", "password": "short"}, "has 5 characters"),
        ({"role": "viewer", "scope": "all", "name": "engine"}, "how the engine signs"),
        ({"role": "viewer", "scope": "all", "name": "L\u202eea"}, "cannot be seen"),
        ({"role": "viewer", "scope": "all", "name": "ada"}, "is taken by another user"),
        ({}, "Role is missing"),
    ],
)
def test_wrong_fields_of_a_user_are_named_and_nobody_is_made(
    ready: System, admin: Visitor, fields: dict[str, str], why: str
) -> None:
    brand_with(ready)
    status, page = admin.post("/people/new", **{"name": "Lea", "password": SECRET, **fields})
    assert status == 422 and why in page and SECRET not in page
    assert [user.name for user in users.all_users(ready.db)] == ["Ada"]


def test_an_admin_changes_role_and_password_ends_a_session_and_shuts_somebody_out(
    ready: System, shared: Flask, admin: Visitor, person: Callable[..., User]
) -> None:
    lea = person("Lea", "viewer")
    hers, second = entered(ready, shared, "Lea"), entered(ready, shared, "Lea")
    page = admin.get(f"/people/{lea.id}")[1]
    assert 'value="viewer"' in page
    admin.post(f"/people/{lea.id}", role="operator", scope="all", brands="")
    assert users.one(ready.db, lea.id).role == "operator" and hers.get("/brands/new")[0] == 200
    newest = sessions.in_force(ready.db, users.credential(ready.db, "Lea").person)[0]  # type: ignore[union-attr]
    assert "The session is ended." in admin.post(f"/people/sessions/{newest.id}/end", "/people")[1]
    assert (hers.get("/")[0], second.get("/")[0]) == (200, 302)
    assert admin.post(f"/people/sessions/{newest.id}/end", "/people")[0] == 404
    status, page = admin.post(f"/people/{lea.id}/password", f"/people/{lea.id}", password="short")
    assert status == 422 and "has 5 characters" in page
    page = admin.post(f"/people/{lea.id}/password", f"/people/{lea.id}", password="another one for her")[1]
    assert "1 session ended." in page and hers.get("/")[0] == 302
    assert ready.people.has_password(lea.id, "another one for her")
    hers = entered(ready, shared, "Lea")
    assert "Lea is disabled." in admin.post(f"/people/{lea.id}/disable", f"/people/{lea.id}")[1]
    assert hers.get("/")[0] == 302
    assert "may log in again" in admin.post(f"/people/{lea.id}/enable", f"/people/{lea.id}")[1]
    assert {c.actor for c in ready.overview.catalog_changes() if c.entity == "user" and c.field != "created"} == {"Ada"}


def test_an_admin_neither_shuts_himself_out_nor_takes_his_own_role(ready: System, admin: Visitor) -> None:
    me = users.named(ready.db, "Ada")
    assert admin.post(f"/people/{me.id}/disable", "/people")[0] == 409
    status, page = admin.post(f"/people/{me.id}", role="viewer", scope="all", brands="")
    assert status == 422 and "you cannot change your own" in page.lower()
    assert admin.get("/people")[0] == 200


def test_the_first_user_of_an_open_page_is_an_admin_and_the_page_then_needs_a_login(ready: System) -> None:
    visitor = Visitor(create_app(ready).test_client())
    fields = {"name": "Ada", "password": SECRET, "scope": "all"}
    status, page = visitor.post("/people/new", **fields, role="viewer")
    assert status == 422 and "the first user must be an admin" in page
    visitor.post("/people/new", **fields, role="admin")
    fresh = Visitor(create_app(ready).test_client())
    assert fresh.get("/people")[0] == 302
    assert fresh.post("/login?next=/people", "/login?next=/people", actor="Ada", password=SECRET)[0] == 200


def test_the_people_page_tells_of_the_shared_password_and_who_came_by_it(shared: Flask, ready: System) -> None:
    visitor = Visitor(shared.test_client())
    visitor.post("/login", actor="Mia", password=PASSWORD)
    page = visitor.get("/people")[1]
    assert "BUDGET_ADMIN_PASSWORD is set, so whoever knows it is an admin" in page
    assert "by BUDGET_ADMIN_PASSWORD" in page
    own = visitor.get("/me")[1]
    assert "You logged in with BUDGET_ADMIN_PASSWORD" in own and "Present password" not in own
    assert visitor.post("/me/password", "/me", current="x", password="y", again="y")[0] == 409


def test_the_login_log_has_who_from_where_when_and_how_and_pages_through(
    ready: System, shared: Flask, admin: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.people.A_PAGE", 3)
    for number in range(5):
        logins.log(ready.db, f"{SCRIPT} {number}", "203.0.113.9", "wrong", None)
    page = admin.get("/people/logins")[1]
    assert (
        "203.0.113.9" in page and "wrong name or password" in page and SCRIPT not in page and "&lt;script&gt;" in page
    )
    assert page.count("<tr>") == 4 and "Show older ones" in page
    older = page.split("before=")[1].split('"')[0]
    assert admin.get(f"/people/logins?before={older}")[1].count("<tr>") == 3
    assert admin.get("/people/logins?before=x")[0] == 400


def test_a_person_changes_his_password_with_the_present_one_and_his_other_sessions_end(
    ready: System, shared: Flask, person: Callable[..., User]
) -> None:
    lea = person("Lea", "viewer")
    here, there = entered(ready, shared, "Lea"), entered(ready, shared, "Lea")
    new = "another one of hers"
    for current, again, why in (
        (SECRET, "different", "type it twice alike"),
        ("guess", new, "not your present password"),
    ):
        status, page = here.post("/me/password", "/me", current=current, password=new, again=again)
        assert status == 422 and why in page
    status, page = here.post("/me/password", "/me", current=SECRET, password="short", again="short")
    assert status == 422 and "has 5 characters" in page
    status, page = here.post("/me/password", "/me", current=SECRET, password=new, again=new)
    assert status == 200 and "1 other session ended." in page
    assert (here.get("/")[0], there.get("/")[0]) == (200, 302)
    assert ready.people.has_password(lea.id, new)


def test_guesses_at_the_present_password_in_an_open_browser_are_slow_too(
    ready: System, shared: Flask, person: Callable[..., User]
) -> None:
    person("Lea", "viewer")
    here = entered(ready, shared, "Lea")
    with_clock(here)
    pages = [here.post("/me/password", "/me", current="guess", password=SECRET, again=SECRET)[1] for _ in range(7)]
    assert any("oo many wrong passwords" in page for page in pages)


def test_a_person_ends_his_own_sessions_and_nobody_elses(
    ready: System, shared: Flask, person: Callable[..., User]
) -> None:
    person("Lea", "viewer")
    person("Mia", "viewer")
    here, there, mia = (entered(ready, shared, name) for name in ("Lea", "Lea", "Mia"))
    of = {s.actor: s.id for s in reversed(sessions.in_force(ready.db))}  # the newest of each
    assert here.post(f"/me/sessions/{of['Mia']}/end", "/me")[0] == 404
    assert here.post(f"/me/sessions/{of['Lea']}/end", "/me")[0] == 200
    assert (here.get("/me")[0], there.get("/me")[0], mia.get("/me")[0]) == (200, 302, 200)


def test_a_name_that_is_a_script_is_text_on_every_page(
    ready: System, shared: Flask, person: Callable[..., User]
) -> None:
    ada = person(SCRIPT, "admin")
    visitor = entered(ready, shared, SCRIPT)
    visitor.post("/brands/new", name="Aurora", daily_budget="none", monthly_budget="none")
    for path in ("/", "/changes", "/people", f"/people/{ada.id}", "/people/logins", "/me", "/people/new"):
        status, page = visitor.get(path)
        assert status == 200 and SCRIPT not in page and "&lt;script&gt;alert(1)" in page, path


def test_a_page_of_people_says_within_three_seconds_that_postgresql_is_locked(
    ready: System, shared: Flask, admin: Visitor
) -> None:
    # The page's own patience with locks, which a job does not have.
    ready.patience = ready.patience._replace(options=" -c lock_timeout=1500")
    ready.db.dispose()
    del ready.__dict__["db"]
    assert admin.get("/people")[0] == 200
    other = ready.db.connect()
    try:
        other.exec_driver_sql("BEGIN; LOCK TABLE app_user IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        status, page = admin.get("/people")
        assert status == 503 and "PostgreSQL is too slow" in page
        assert admin.get("/healthz")[0] == 200
        assert in_time(time.monotonic() - began, 3)
    finally:
        other.close()


def test_in_a_browser_an_admin_makes_a_user_who_logs_in_with_a_phone_in_the_dark(
    opened: Callable[..., Page], app: Flask, ready: System
) -> None:
    brand_with(ready)
    page = opened("/people/new")
    page.fill("[name=name]", "Ada Admin")
    page.fill("[name=password]", SECRET)
    page.check("[name=role][value=admin]")
    page.check("[name=scope][value=all]")
    page.click("main button[type=submit]")
    page.wait_for_url(lambda url: not url.endswith("/new"))
    phone = opened("/login", viewport={"width": 390, "height": 844}, color_scheme="dark", java_script_enabled=False)
    if "Log in" not in phone.content():  # the page looks for its first user every two seconds
        phone.wait_for_timeout(2100)
        phone.goto("/login")
    phone.fill("[name=actor]", "Ada Admin")
    phone.fill("[name=password]", SECRET)
    phone.click("main button[type=submit]")
    phone.wait_for_selector(".who button")
    phone.goto("/people")
    assert "Ada Admin" in phone.inner_text("main")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    phone.goto("/me")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390


def test_an_admin_sees_each_programs_token_and_revokes_it(ready: System, admin: Visitor) -> None:
    made = tokens.create(ready.db, "test", SCRIPT, ["spend"], None)
    page = admin.get("/people")[1]
    assert "&lt;script&gt;alert(1)" in page and SCRIPT not in page and made.secret not in page
    status, page = admin.post(f"/people/tokens/{made.token.id}/revoke", "/people")
    assert status == 200 and "is revoked" in page
    assert tokens.find(ready.db, made.secret) is None
    assert admin.post("/people/tokens/77/revoke", "/people")[0] == 404


def test_a_token_that_an_admin_makes_is_shown_in_one_answer_and_never_again(ready: System, admin: Visitor) -> None:
    new = "/people/tokens/new"
    for fields in ({}, {"name": "bidder"}, {"name": "bidder", "scopes": "all", "scope": "all"}, {"name": SCRIPT, "scopes": "spend", "scope": "none"}):  # fmt: skip
        status, page = admin.post(new, **fields)
        assert status == 422 and SCRIPT not in page and "be_live_" not in page
    assert tokens.all_tokens(ready.db) == []
    brand, _ = brand_with(ready)
    status, page = admin.post(new, name="bidder", scopes=["read", "spend"], scope="some", brands=str(brand))
    found = re.search(r"<code>(be_live_[^<]+)</code>", page)
    assert status == 200 and found is not None
    made = tokens.find(ready.db, found[1])
    assert made is not None and (made.scopes, made.brands) == (("spend", "read"), (brand,))
    assert found[1] not in admin.get("/people")[1] and found[1] not in admin.get(new)[1]
