"""Users of the console: their passwords, their sessions, and what ends them, over the real app and real servers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from flask import Flask

from engine.domain import passwords
from engine.domain.people import Role
from engine.errors import Conflict, InvalidInput, InvalidName, NotFound, Overloaded
from engine.ledger import logins, sessions, users
from engine.ledger.users import User
from engine.wiring import System
from tests.web.conftest import HERE, PASSWORD, Visitor, brand_with
from web import create_app
from web.need import LOOK_S, LoginNeed

SECRET = "a passphrase of hers"


@pytest.fixture
def person(ready: System) -> Callable[..., User]:
    """Makes users, who all have one password."""
    digest = passwords.digest_of(SECRET)

    def made(name: str, role: Role = "operator", brands: list[int] | None = None) -> User:
        return users.create(ready.db, "test", name, role, brands, digest)

    return made


@pytest.fixture
def processes(ready: System) -> Iterator[Callable[..., Flask]]:
    """Makes processes of the page that share a key, as containers do."""
    plain = ready.settings

    def made(**settings: object) -> Flask:
        ready.settings = replace(plain, secret_key="k" * 40, **settings)  # type: ignore[arg-type]
        return create_app(ready)

    yield made
    ready.settings = plain


def logged_in(app: Flask, name: str, password: str = SECRET) -> Visitor:
    visitor = Visitor(app.test_client())
    status, page = visitor.post("/login", actor=name, password=password)
    assert status == 200 and "Log out" in page, page
    return visitor


def beside(visitor: Visitor, app: Flask) -> Visitor:
    """The same browser at another process."""
    cookie = visitor.client.get_cookie("budget_engine")
    assert cookie is not None
    client = app.test_client()
    client.set_cookie("budget_engine", cookie.value)
    return Visitor(client)


def test_the_first_user_makes_a_page_ask_for_a_login_and_signs_with_his_name(
    ready: System, person: Callable[..., User], processes: Callable[..., Flask]
) -> None:
    app = processes()
    assert Visitor(app.test_client()).get("/")[0] == 200, "nobody is there, and this is this machine"
    person("Mia Brandt")
    app = processes()
    assert Visitor(app.test_client()).get("/changes")[0] == 302
    visitor = logged_in(app, " mia  brandt")
    visitor.post("/brands/new", name="Aurora", daily_budget="none", monthly_budget="none")
    assert ready.overview.catalog_changes()[0].actor == "Mia Brandt"


def test_a_page_learns_of_the_first_user_within_two_seconds_and_never_looks_again() -> None:
    now, there, looks = [0.0], [False], [0]

    def exist() -> bool:
        looks[0] += 1
        return there[0]

    need = LoginNeed(False, exist, lambda: now[0])
    assert not need.now(look=True) and not need.now(look=True) and looks[0] == 1
    there[0] = True
    assert not need.now(look=False)
    now[0] += LOOK_S
    assert need.now(look=True) and need.now(look=False) and need.now(look=True) and looks[0] == 2


def test_a_users_name_takes_his_own_password_and_every_other_name_the_shared_one(
    ready: System, person: Callable[..., User], processes: Callable[..., Flask]
) -> None:
    mia = person("Mia", "viewer")
    app = processes(admin_password=PASSWORD)
    wrong = Visitor(app.test_client())
    for name, password in (("Mia", PASSWORD), ("Lea", SECRET), ("Mia", "")):
        status, page = wrong.post("/login", actor=name, password=password)
        assert status == 401 and "The name or the password is wrong." in page
    assert "is blank" in wrong.post("/login", actor="", password=PASSWORD)[1]
    logged_in(app, "Lea", PASSWORD)
    visitor = logged_in(app, "Mia")
    assert visitor.get("/brands/new")[0] == 403, "she is a viewer"
    found = logins.events(ready.db, 10)
    assert [(e.name, e.outcome, e.user_id) for e in reversed(found)] == [
        ("Mia", "wrong", mia.id), ("Lea", "wrong", None), ("Mia", "wrong", mia.id), ("Lea", "in", None), ("Mia", "in", mia.id),
    ]  # fmt: skip
    assert {e.address for e in found} == {"127.0.0.1"}


def test_a_name_may_be_left_empty_while_the_shared_password_is_all_there_is(
    ready: System, person: Callable[..., User], processes: Callable[..., Flask]
) -> None:
    app = processes(admin_password=PASSWORD)
    visitor = logged_in(app, "", PASSWORD)
    visitor.post("/brands/new", name="Aurora", daily_budget="none", monthly_budget="none")
    assert ready.overview.catalog_changes()[0].actor == "admin"
    assert "one password for everybody" in Visitor(app.test_client()).get("/login")[1]
    person("Mia")
    assert "one password for everybody" not in Visitor(app.test_client()).get("/login")[1]


def test_disabling_a_user_ends_his_sessions_at_once_in_every_process_and_keeps_him_out(
    ready: System, person: Callable[..., User], processes: Callable[..., Flask]
) -> None:
    mia, one, two = person("Mia"), processes(), processes()
    here = logged_in(one, "Mia")
    there = beside(here, two)
    assert (here.get("/")[0], there.get("/")[0]) == (200, 200)
    assert users.set_disabled(ready.db, "Lea", mia.id, True) == 1
    assert (here.get("/")[0], there.get("/live")[0]) == (302, 302)
    status, page = Visitor(one.test_client()).post("/login", actor="Mia", password=SECRET)
    assert status == 401 and "This user is disabled" in page
    assert (
        "The name or the password is wrong." in Visitor(one.test_client()).post("/login", actor="Mia", password="x")[1]
    )
    assert users.set_disabled(ready.db, "Lea", mia.id, True) == 0, "a repeat is no change"
    users.set_disabled(ready.db, "Lea", mia.id, False)
    assert here.get("/")[0] == 302, "what ended stays ended"
    logged_in(two, "Mia")
    trail = [(c.field, c.old, c.new, c.actor, c.name) for c in ready.overview.catalog_changes() if c.entity == "user"]
    assert trail == [
        ("disabled", "true", "false", "Lea", "Mia"), ("disabled", "false", "true", "Lea", "Mia"), ("created", None, "Mia", "test", "Mia"),
    ]  # fmt: skip


def test_a_session_whose_row_was_not_ended_opens_nothing_for_a_user_who_is_disabled(
    ready: System, person: Callable[..., User]
) -> None:
    mia = person("Mia")
    token = sessions.begin(ready.db, "Mia", "here", mia.id)
    assert sessions.find(ready.db, token) is not None
    with ready.db.begin() as conn:
        conn.exec_driver_sql("UPDATE app_user SET disabled_at = now()")
    assert sessions.find(ready.db, token) is None


def test_another_password_ends_the_other_sessions_and_no_others(ready: System, person: Callable[..., User]) -> None:
    mia, lea = person("Mia"), person("Lea")
    mine, other, hers = (sessions.begin(ready.db, u.name, "here", u.id) for u in (mia, mia, lea))
    kept = sessions.find(ready.db, mine)
    assert kept is not None
    ended = ready.people.set_password("Mia", mia, "something else entirely", but_session=kept.id)
    assert ended == 1
    assert sessions.find(ready.db, mine) and sessions.find(ready.db, hers) and sessions.find(ready.db, other) is None
    assert ready.people.has_password(mia.id, "something else entirely") and not ready.people.has_password(
        mia.id, SECRET
    )


def test_another_role_and_scope_count_from_the_next_request(
    ready: System, person: Callable[..., User], processes: Callable[..., Flask]
) -> None:
    aurora, _ = brand_with(ready)
    mia, app = person("Mia", "viewer"), processes()
    visitor = logged_in(app, "Mia")
    assert visitor.get(f"/brands/{aurora}/edit")[0] == 403
    users.change(ready.db, "Lea", mia.id, "operator", None)
    assert visitor.get(f"/brands/{aurora}/edit")[0] == 200
    other, _ = brand_with(ready, "Boreal")
    users.change(ready.db, "Lea", mia.id, "operator", [other])
    assert visitor.get(f"/brands/{aurora}/edit")[0] == 404
    assert visitor.get(f"/brands/{other}/edit")[0] == 200
    fields = [(c.field, c.old, c.new) for c in ready.overview.catalog_changes() if c.entity == "user"]
    assert fields[:2] == [("brands", "every brand", f"brand {other}"), ("role", "viewer", "operator")]


def test_the_shared_password_taken_away_ends_its_sessions_and_leaves_those_of_users(
    person: Callable[..., User], processes: Callable[..., Flask]
) -> None:
    person("Mia")
    with_it = processes(admin_password=PASSWORD)
    shared, mia = logged_in(with_it, "Lea", PASSWORD), logged_in(with_it, "Mia")
    without = processes()
    assert beside(shared, without).get("/")[0] == 302
    assert beside(mia, without).get("/")[0] == 200
    assert beside(shared, processes(admin_password="another one")).get("/")[0] == 302


def test_an_unknown_name_takes_as_long_as_a_wrong_password(ready: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_LOG_N", 13)  # so that the digest is what takes the time
    users.create(ready.db, "test", "Mia", "operator", None, passwords.digest_of(SECRET))
    assert ready.people.log_in("Mia", "guess", "here").outcome == "wrong"
    taken: dict[str, list[float]] = {"Mia": [], "Nobody": []}
    for _ in range(7):
        for name, times in taken.items():
            began = time.thread_time()
            assert ready.people.log_in(name, "guess", "here").person is None
            times.append(time.thread_time() - began)
    known, unknown = (statistics.median(times) for times in taken.values())
    assert 0.5 < unknown / known < 2, "both compute one digest"


def test_no_more_than_two_digests_are_computed_at_a_time_and_who_waits_too_long_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passwords, "WAIT_S", 0.05)
    assert passwords._ROOM.acquire(blocking=False) and passwords._ROOM.acquire(blocking=False)
    try:
        with pytest.raises(Overloaded, match="try again in a moment"):
            passwords.fits("guess", None)
    finally:
        passwords._ROOM.release()
        passwords._ROOM.release()
    assert not passwords.fits("guess", None)


@pytest.mark.parametrize(
    "name", ["Mi\u202ea", "Mi\u200ba", "cli:root", "engine", "ＥＮＧＩＮＥ", " ", "x" * 65, "verify"]
)
def test_a_name_that_hides_or_looks_like_the_engine_is_nobodys(ready: System, name: str) -> None:
    with pytest.raises(InvalidName):
        users.create(ready.db, "test", name, "viewer", None, None)
    assert users.all_users(ready.db) == []


def test_no_two_users_have_names_that_a_person_takes_for_the_same(ready: System, person: Callable[..., User]) -> None:
    person("Zoé Müller")
    for alike in ("Zoe\u0301 Müller", "zoé müller", " Zoé  Müller ", "ＺＯÉ Müller"):
        with pytest.raises(Conflict, match="is taken by another user"):
            person(alike)
    assert person("<script>alert(1)</script>").name == "<script>alert(1)</script>"


def test_a_scope_names_brands_that_there_are_and_an_admin_has_none(ready: System, person: Callable[..., User]) -> None:
    aurora, _ = brand_with(ready)
    assert person("Mia", "operator", [aurora, aurora]).brands == (aurora,)
    with pytest.raises(NotFound, match="there is no brand 999"):
        person("Lea", "viewer", [aurora, 999])
    with pytest.raises(InvalidInput, match="an admin sees every brand"):
        person("Lea", "admin", [aurora])
    with pytest.raises(InvalidInput, match="at least one brand"):
        person("Lea", "viewer", [])
    assert [user.name for user in users.all_users(ready.db)] == ["Mia"]


def test_wrong_passwords_count_in_every_process_of_the_page(
    person: Callable[..., User], processes: Callable[..., Flask]
) -> None:
    person("Mia")
    apps = [processes(), processes()]
    tries = [Visitor(apps[i % 2].test_client()).post("/login", actor="Mia", password="guess")[0] for i in range(8)]
    assert tries.count(401) <= 6 and 429 in tries, "five are free, and a slow machine may have let a second pass"


def test_a_session_of_a_user_is_signed_out_by_its_number_in_every_process(
    ready: System, person: Callable[..., User], processes: Callable[..., Flask]
) -> None:
    person("Mia")
    one = processes()
    here = logged_in(one, "Mia")
    there = beside(here, processes())
    (open_one,) = sessions.in_force(ready.db)
    assert (open_one.actor, open_one.address) == ("Mia", "127.0.0.1")
    assert sessions.end_by_id(ready.db, open_one.id, "admin") and not sessions.end_by_id(ready.db, open_one.id, "admin")
    assert (here.get("/")[0], there.get("/")[0]) == (302, 302)
    assert sessions.in_force(ready.db) == []


def test_without_a_user_and_with_login_always_nobody_comes_in(processes: Callable[..., Flask]) -> None:
    visitor = Visitor(processes(login="always").test_client())
    assert visitor.client.get("/", base_url=HERE).status_code == 302
    assert visitor.post("/login", actor="Mia", password="")[0] == 401
    assert visitor.get("/healthz")[0] == 200
