"""Tokens on the command line: printed once, listed without their secret, revoked."""

from __future__ import annotations

import pytest

from engine.ledger import tokens
from engine.wiring import System
from tests.cli.conftest import Be

pytestmark = pytest.mark.usefixtures("ready")


def test_a_token_is_printed_once_and_revoked_by_its_id(be: Be, ready: System) -> None:
    be("brand", "create", "Acme", "--external-id", "acme")
    made = be("token", "create", "bidder", "--scope", "spend,read", "--brand", "ext:acme", "--json")
    assert (made.status, set(made.document)) == (0, {"id", "token"})
    secret = made.document["token"]
    found = tokens.find(ready.db, secret)
    assert found is not None and found.created_by.startswith("cli:")
    tokens.note_use(ready.db, [found.id])
    assert secret not in be("token", "list", "--json").out and secret not in be("token", "list").out
    (line,) = be("token", "list", "--json").document
    assert (line["scopes"], line["brands"], line["revoked"], line["last_use"] is None) == (["spend", "read"], [1], False, False)  # fmt: skip
    assert be("token", "revoke", str(made.document["id"])).out == f"revoked token {made.document['id']} of bidder\n"
    assert tokens.find(ready.db, secret) is None
    assert be("token", "list", "--json").document[0]["revoked"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["create", "bidder", "--scope", "all"], "'all' is none of spend, read, write, admin"),
        (["create", " ", "--scope", "spend"], "name"),
        (["create", "bidder", "--scope", "spend", "--brand", "77"], "no brand '77'"),
        (["revoke", "77"], "no token 77"),
    ],
)
def test_a_wrong_word_makes_no_token_and_gets_one_line(be: Be, ready: System, words: list[str], said: str) -> None:
    refused = be("token", *words)
    assert refused.status in (1, 2) and said in refused.err and refused.err.count("\n") == 1
    assert tokens.all_tokens(ready.db) == []
