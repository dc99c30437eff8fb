"""Who may spend: tokens, scopes, a token that is revoked, and PostgreSQL away."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask_openapi.openapi import OpenAPI
from sqlalchemy import Engine

from api.access import OPEN, TABLE
from api.docs import coded, operations
from api.known import FRESH_S, GOES_ON_S, KnownTokens
from engine.domain.tokens import SCOPES
from engine.errors import ServerAway
from engine.ledger import tokens
from engine.wiring import System
from tests.api.conftest import Calls
from tests.web.conftest import brand_with


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Known:
    """Tokens on a PostgreSQL that can be away, with a clock."""

    def __init__(self, db: Engine) -> None:
        self.away = False
        self.clock = Clock()
        self.tokens = KnownTokens(lambda: self._db(db), self.clock)

    def _db(self, db: Engine) -> Engine:
        if self.away:
            raise ServerAway("PostgreSQL", "db:5432", "start it")
        return db

    def after(self, seconds: float, secret: str) -> bool:
        self.clock.now += seconds
        return self.tokens.find(secret) is not None


@pytest.fixture
def known(ready: System) -> Known:
    return Known(ready.db)


def test_a_revoked_token_is_refused_within_a_second(ready: System, known: Known) -> None:
    made = tokens.create(ready.db, "test", "bidder", ["spend"], None)
    assert known.after(0, made.secret)
    tokens.revoke(ready.db, "test", made.token.id)
    assert not known.after(FRESH_S, made.secret)
    assert not known.after(0, made.secret)


def test_without_postgresql_a_known_token_goes_on_for_a_quarter_of_an_hour(ready: System, known: Known) -> None:
    made, other = (tokens.create(ready.db, "test", name, ["spend"], None).secret for name in ("a", "b"))
    assert known.after(0, made)
    known.away = True
    assert known.after(FRESH_S, made) and known.after(GOES_ON_S - 2 * FRESH_S, made)
    with pytest.raises(ServerAway):
        known.after(0, other)
    with pytest.raises(ServerAway):
        known.after(3 * FRESH_S, made)
    known.away = False
    assert known.after(FRESH_S, made)


def test_a_busy_token_is_one_write_a_minute(ready: System, known: Known) -> None:
    made = tokens.create(ready.db, "test", "bidder", ["spend"], None)

    def used() -> Any:
        return tokens.all_tokens(ready.db)[0].used_at

    for _ in range(5):
        assert known.after(FRESH_S, made.secret)
    first = used()
    assert first is not None
    for _ in range(20):
        assert known.after(FRESH_S, made.secret)
    assert used() == first


ANONYMOUS = ["", "Bearer", "Bearer be_live_nobody", "Basic YTpi", "Bearer x", "bearer be_live_" + "x" * 300]


@pytest.mark.parametrize("header", ANONYMOUS)
def test_an_anonymous_caller_gets_401_before_anything_is_read(calls: Calls, header: str) -> None:
    for method, path in (("POST", "/spend"), ("POST", "/spends"), ("GET", "/nowhere"), ("PUT", "/spend")):
        told = calls()(method, path, data=b"{", Authorization=header)
        assert (told.status, told.headers["Content-Type"]) == (401, "application/problem+json"), path
        assert told.headers["WWW-Authenticate"].startswith("Bearer")


def test_every_route_has_a_row_and_needs_its_scope(app: OpenAPI, calls: Calls) -> None:
    """Each operation with each single scope: 403 for every other one, and for its own whatever an empty request gets."""
    endpoints = {rule.endpoint for rule in app.url_map.iter_rules()}
    assert endpoints == set(TABLE)
    document = calls().get("/api/openapi.json").document
    callers = {scope: calls(scope) for scope in SCOPES}
    found = list(operations(document))
    assert len(found) >= 6
    for path, method, operation in found:
        needed = operation["x-scope"]
        assert needed != OPEN
        address = path.replace("{hold_id}", "x").replace("{name}", "x").replace("{campaign_id}", "65537")
        address = re.sub(r"\{\w+\}", "987654", address)
        assert calls()(method.upper(), address.removeprefix("/api/v1")).status == 401
        for scope, caller in callers.items():
            told = caller(method.upper(), address.removeprefix("/api/v1"))
            assert (told.status == 403) == (scope != needed), (method, path, scope, told)


def test_what_is_not_there_or_not_like_this_is_a_problem_too(calls: Calls) -> None:
    caller = calls("spend")
    assert caller.get("/nowhere").document["status"] == 404
    for empty in ("//spend", "/holds//settle", "/api/v1//spend"):
        told = caller.post(empty, {})
        assert (told.status, told.document["status"]) == (404, 404), empty
    wrong = caller.get("/spend")
    assert (wrong.status, wrong.headers["Allow"]) == (405, "OPTIONS, POST")
    form = caller("POST", "/spend", data=b"a=1", Content_Type="application/x-www-form-urlencoded")
    assert (form.status, form.document["title"]) == (415, "Not application/json")


def test_the_document_is_openapi_and_its_page_needs_no_script(calls: Calls) -> None:
    document = calls().get("/api/openapi.json").document
    assert document["openapi"] == "3.1.0" and "/api/v1/spend" in document["paths"]
    assert document["components"]["schemas"]["ModedSpend"]["additionalProperties"] is False
    page = calls().get("/api/docs")
    assert page.status == 200 and "/api/v1/holds/{hold_id}/settle" in page.document and "<script" not in page.document
    assert "`" not in page.document and "<code>budget-engine token create</code>" in page.document
    assert "script-src" not in page.headers["Content-Security-Policy"]
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_a_text_of_the_document_is_no_code_of_its_page_but_for_what_is_between_backticks() -> None:
    assert coded("as `a<b>` has it, <i>") == "as <code>a&lt;b&gt;</code> has it, &lt;i&gt;"
    assert coded("one ` alone <") == "one ` alone &lt;" and coded(None) == ""


def test_a_token_that_only_reads_spends_nothing(ready: System, calls: Calls) -> None:
    _, (campaign,) = brand_with(ready)
    told = calls("read", "write").post("/spend", {"campaign_id": campaign, "amount": "1"})
    assert (told.status, told.document["scope"]) == (403, "spend")
