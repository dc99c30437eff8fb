"""Users on the command line: the first admin, what is refused, and what ends sessions."""

from __future__ import annotations

import io

import pytest

from engine.ledger import sessions, users
from engine.wiring import System
from tests.cli.conftest import Be

pytestmark = pytest.mark.usefixtures("ready")
SECRET = "a passphrase of hers"


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Puts a password on standard input."""
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_the_first_admin_is_made_by_a_command_and_its_password_is_read_from_a_pipe(
    be: Be, ready: System, typed
) -> None:  # type: ignore[no-untyped-def]
    typed(f"{SECRET}\n")
    made = be("user", "create", "Mia Brandt", "--role", "admin", "--password-stdin", "--json")
    assert (made.status, made.err) == (0, "")
    assert made.document == {
        "id": made.document["id"], "name": "Mia Brandt", "role": "admin", "brands": None, "disabled": False, "last_login": None,
    }  # fmt: skip
    assert ready.people.log_in("mia brandt", SECRET, "here").person is not None
    listed = be("user", "list", "--json").document
    assert [(u["name"], u["last_login"] is not None) for u in listed] == [("Mia Brandt", True)]
    assert "Mia Brandt" in be("user", "list").out
    (line,) = ready.overview.catalog_changes()
    assert (line.entity, line.field, line.new, line.actor.startswith("cli:")) == ("user", "created", "Mia Brandt", True)


def test_an_operator_of_some_brands_is_made_with_their_ids_or_external_ids(be: Be, ready: System, typed) -> None:  # type: ignore[no-untyped-def]
    be("brand", "create", "Acme", "--external-id", "acme")
    be("brand", "create", "Boreal")
    typed(f"{SECRET}\n")
    made = be(
        "user",
        "create",
        "Lea",
        "--role",
        "operator",
        "--brand",
        "ext:acme",
        "--brand",
        "2",
        "--password-stdin",
        "--json",
    )
    assert made.document["brands"] == [1, 2]


@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        (("Lea", "--role", "boss"), 2, "role 'boss' is none of viewer, operator, admin"),
        (("engine", "--role", "viewer"), 2, "is how the engine signs its own changes"),
        (("Lea", "--role", "admin", "--brand", "1"), 2, "an admin sees every brand"),
        (("Lea", "--role", "viewer", "--brand", "9"), 1, "there is no brand '9'"),
    ],
)
def test_a_wrong_user_is_refused_in_one_line_and_nobody_is_made(  # type: ignore[no-untyped-def]
    be: Be, ready: System, typed, words: tuple[str, ...], status: int, why: str
) -> None:
    be("brand", "create", "Acme")
    typed(f"{SECRET}\n")
    refused = be("user", "create", *words, "--password-stdin")
    assert refused.status == status and why in refused.complaint
    assert users.all_users(ready.db) == []


def test_a_password_that_is_short_or_missing_is_refused_and_not_shown(be: Be, ready: System, typed) -> None:  # type: ignore[no-untyped-def]
    for given, why in (("short one\n", "has 9 characters"), ("", "is empty")):
        typed(given)
        refused = be("user", "create", "Lea", "--role", "viewer", "--password-stdin")
        assert refused.status == 2 and why in refused.complaint and "short one" not in refused.err
    typed(SECRET)
    assert "--password-stdin" in be("user", "create", "Lea", "--role", "viewer").complaint
    assert users.all_users(ready.db) == []


def test_disable_and_password_end_the_sessions_of_that_user_alone(be: Be, ready: System, typed) -> None:  # type: ignore[no-untyped-def]
    for name in ("Mia", "Lea"):
        typed(f"{SECRET}\n")
        be("user", "create", name, "--role", "viewer", "--password-stdin")
    mia, lea = (users.named(ready.db, name) for name in ("Mia", "Lea"))
    tokens = [sessions.begin(ready.db, user.name, "here", user.id) for user in (mia, mia, lea)]
    typed("another one of hers\n")
    assert "2 sessions ended" in be("user", "password", "mia", "--password-stdin").out
    assert [sessions.find(ready.db, token) is not None for token in tokens] == [False, False, True]
    assert "1 session ended" in be("user", "disable", "Lea").out
    assert sessions.find(ready.db, tokens[2]) is None
    assert ready.people.log_in("Lea", SECRET, "here").outcome == "disabled"
    assert be("user", "enable", "Lea").status == 0
    assert ready.people.log_in("Lea", SECRET, "here").outcome == "in"
    for command in ("disable", "enable"):
        assert be("user", command, "Nobody").complaint.startswith("there is no user 'Nobody'")
