"""Tokens of programs: only their hash is kept, they do what their scopes say, and a revoked one opens nothing."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from sqlalchemy import text

from engine.domain.tokens import SCOPES, check_scopes
from engine.errors import InvalidInput, NotFound
from engine.ledger import tokens
from engine.wiring import System


def made(system: System, name: str = "bidder", scopes: Collection[str] = ("spend",), brands: Collection[int] | None = None) -> tokens.Made:  # fmt: skip
    return tokens.create(system.db, "test", name, scopes, brands)


def test_a_token_is_found_by_what_the_program_sends_and_its_last_use_is_noted(ready: System) -> None:
    one, other = made(ready), made(ready, "reports", ("write", "read", "read"))
    assert one.secret != other.secret and one.secret.startswith("be_live_")
    found = tokens.find(ready.db, other.secret)
    assert found is not None and (found.id, found.scopes, found.brands) == (other.token.id, ("read", "write"), None)
    assert all(t.used_at is None for t in tokens.all_tokens(ready.db))
    tokens.note_use(ready.db, [found.id])
    assert {t.id: t.used_at is not None for t in tokens.all_tokens(ready.db)} == {one.token.id: False, found.id: True}


def test_the_database_has_no_token_that_could_be_sent(ready: System) -> None:
    secret = made(ready).secret
    with ready.db.connect() as conn:
        for table in ("api_token", "catalog_change"):
            for row in conn.execute(text(f"SELECT to_jsonb(t)::text FROM {table} AS t")).scalars():
                assert secret not in row and secret.removeprefix("be_live_") not in row


def test_a_revoked_token_opens_nothing_from_that_instant_and_stays_in_the_list(ready: System) -> None:
    one, other = made(ready), made(ready)
    assert tokens.revoke(ready.db, "Mia", one.token.id).revoked_at is not None
    assert tokens.find(ready.db, one.secret) is None
    assert tokens.find(ready.db, other.secret) is not None
    assert [(t.id, t.revoked_at is not None) for t in tokens.all_tokens(ready.db)] == [
        (other.token.id, False), (one.token.id, True),
    ]  # fmt: skip
    tokens.revoke(ready.db, "Lea", one.token.id)
    lines = [c for c in ready.overview.catalog_changes() if c.field == "revoked"]
    assert [(c.entity, c.name, c.actor) for c in lines] == [("token", "bidder", "Mia")], (
        "the second time changes nothing"
    )


@pytest.mark.parametrize("sent", ["", "be_live_", "be_live_" + "A" * 43, "be_live_\0", "be_live_ü", "x" * 100_000])
def test_what_is_no_token_opens_nothing(ready: System, sent: str) -> None:
    made(ready)
    assert tokens.find(ready.db, sent) is None


def test_a_token_of_some_brands_keeps_them_and_one_with_the_scope_admin_has_none(ready: System) -> None:
    brand = ready.manage.create_brand("Aurora", None, None, None, "test").row.id
    found = tokens.find(ready.db, made(ready, brands=[brand, brand]).secret)
    assert found is not None and found.brands == (brand,)
    with pytest.raises(NotFound, match="no brand 77"):
        made(ready, brands=[brand, 77])
    with pytest.raises(InvalidInput, match="scope admin sees every brand"):
        made(ready, scopes=("admin",), brands=[brand])
    with pytest.raises(InvalidInput, match="at least one brand"):
        made(ready, brands=[])


def test_scopes_are_known_words_and_at_least_one() -> None:
    assert check_scopes(reversed(SCOPES)) == SCOPES
    for wrong in ((), ("",), ("Spend",), ("spend", "all"), ("spend read",)):
        with pytest.raises(InvalidInput):
            check_scopes(wrong)


def test_changes_of_tokens_are_for_admins(ready: System) -> None:
    made(ready)
    assert [c.entity for c in ready.overview.catalog_changes()] == ["token"]
    assert ready.overview.catalog_changes(users=False) == []
