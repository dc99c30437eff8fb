"""Route by scope by brand: a token of one brand gets of another brand's rows what it gets of rows that do not exist."""

from __future__ import annotations

import re
from typing import Any, Final

from api.docs import operations
from engine.wiring import System
from tests.api.conftest import Caller, Calls, Told
from tests.web.conftest import brand_with

BODIES: Final[dict[tuple[str, str], Any]] = {}
"""The body of each operation on a row that needs one. An operation without a line fails here."""
_IDS: Final = re.compile(r"\{(brand_id|campaign_id)\}")


def test_of_another_brand_every_route_answers_as_of_one_that_does_not_exist(ready: System, calls: Calls) -> None:
    mine, _ = brand_with(ready, "Mine")
    theirs, (other,) = brand_with(ready, "Theirs")
    document = calls().get("/api/openapi.json").document
    callers = {scope: calls(scope, brands=[mine]) for scope in ("read", "write")}
    free = {scope: calls(scope) for scope in ("read", "write")}
    looked_at = 0
    for path, method, operation in operations(document):
        if not _IDS.search(path) or operation["x-scope"] == "spend":
            continue
        looked_at += 1
        body = BODIES.get((method, path))
        assert body is not None or not operation.get("requestBody", {}).get("required"), (method, path, "has no body")
        hidden = {"brand_id": theirs, "campaign_id": other}
        unknown = {"brand_id": theirs + 7, "campaign_id": other + 7 * 65536}
        scope = operation["x-scope"]
        if scope == "admin":
            continue
        seen, nothing = (asked(callers[scope], method, path, ids, body) for ids in (hidden, unknown))
        assert seen.status == nothing.status == 404, (method, path, seen)
        assert without(seen, hidden) == without(nothing, unknown), (method, path)
        if method == "get":
            assert asked(free[scope], method, path, hidden, body).status != 404, (method, path)
    assert looked_at >= 20


def asked(caller: Caller, method: str, path: str, ids: dict[str, int], body: Any) -> Told:
    address = _IDS.sub(lambda found: str(ids[found[1]]), path).removeprefix("/api/v1")
    address = re.sub(r"\{\w+\}", "1", address)
    return caller(method.upper(), address, body, If_Match="*")


def without(told: Told, ids: dict[str, int]) -> Any:
    text = str(told.document)
    for id_ in sorted(ids.values(), reverse=True):
        text = text.replace(str(id_), "N")
    return text
