"""Route by scope by brand: a token of one brand gets of another brand's rows what it gets of rows that do not exist."""

from __future__ import annotations

import re
from typing import Any, Final

from sqlalchemy import text

from api.docs import operations
from engine.wiring import System
from tests.api.conftest import Caller, Calls, Told
from tests.web.conftest import brand_with

BODIES: Final[dict[tuple[str, str], Any]] = {
    ("post", "/campaigns/{campaign_id}/flights"): {"ends_at": "2031-01-01T00:00Z"},
}
"""The body of each operation on a row that needs one. An operation without a line fails here."""
_IDS: Final = re.compile(r"\{(brand_id|campaign_id|operation_id|limit_id|alert_id|no)\}")
_FAR: Final = 7


def test_of_another_brand_every_route_answers_as_of_one_that_does_not_exist(ready: System, calls: Calls) -> None:
    mine, _ = brand_with(ready, "Mine")
    theirs, (other,) = brand_with(ready, "Theirs")
    hidden = {"brand_id": theirs, "campaign_id": other, **rows_of(ready, calls("write"), theirs, other)}
    unknown = {name: id_ + _FAR * (65536 if name == "campaign_id" else 1) for name, id_ in hidden.items()} | {"no": 1}
    document = calls().get("/api/openapi.json").document
    callers = {scope: calls(scope, brands=[mine]) for scope in ("read", "write")}
    free = {scope: calls(scope) for scope in ("read", "write")}
    looked_at = 0
    for path, method, operation in sorted(operations(document), key=lambda one: one[1] != "get"):
        scope = operation["x-scope"]
        if not _IDS.search(path) or scope not in callers:
            continue
        looked_at += 1
        body = BODIES.get((method, path.removeprefix("/api/v1")))
        assert body is not None or not operation.get("requestBody", {}).get("required"), (method, path, "has no body")
        seen, nothing = (asked(callers[scope], method, path, ids, body) for ids in (hidden, unknown))
        assert seen.status == nothing.status == 404, (method, path, seen)
        assert without(seen, hidden) == without(nothing, unknown), (method, path)
        if method == "get":
            assert asked(free[scope], method, path, hidden, body).status != 404, (method, path)
    assert looked_at >= 36


def test_lists_leave_out_what_a_token_does_not_see(ready: System, calls: Calls) -> None:
    mine, (own,) = brand_with(ready, "Mine")
    theirs, (other,) = brand_with(ready, "Theirs")
    writer = calls("write")
    rows_of(ready, writer, mine, own)
    rows_of(ready, writer, theirs, other)
    caller, free = calls("read", brands=[mine]), calls("read")
    for path in ("/brands", "/campaigns", "/operations", "/limits", "/alerts", "/alerts?state=all", "/activity"):
        seen, every = caller.get(path).document["items"], free.get(path).document["items"]
        assert seen and "Theirs" not in str(seen) and f"'brand_id': {theirs}" not in str(seen), path
        assert len(every) > len(seen), path
    for path in (f"/limits?brand_id={theirs}", f"/activity?brand_id={theirs}", f"/alerts?brand_id={theirs}", f"/limits?campaign_id={other}"):  # fmt: skip
        assert caller.get(path).status == 404, path
    for kind in ("people", "login"):
        assert caller.get(f"/activity?kind={kind}").status == free.get(f"/activity?kind={kind}").status == 403
    assert calls("read", "admin").get("/activity?kind=people").status == 200


def test_a_change_of_rows_out_of_sight_is_refused_whole(ready: System, calls: Calls) -> None:
    mine, (own,) = brand_with(ready, "Mine")
    theirs, (other,) = brand_with(ready, "Theirs")
    caller = calls("read", "write", brands=[mine])
    for ids in ({"brands": [mine, theirs]}, {"campaigns": [own, other]}):
        assert caller.post("/operations", {"action": "pause", "ids": ids}).status == 404
    paused = caller.post("/operations", {"action": "pause", "filter": {}})
    assert (paused.status, paused.document["done"]) == (202, 1)
    assert [row.paused for row in ready.catalog.brands()] == [True, False]
    assert caller.post("/limits", {"brand_id": theirs, "period": "daily", "change": "set:1"}).status == 404
    for method, path in (("POST", "/curves"), ("PATCH", "/curves/x"), ("DELETE", "/curves/x")):
        body = {"name": "x", "points": [{"time": "24:00", "share": 1_000_000}]}
        assert caller(method, path, body if method == "POST" else {"points": body["points"]}, If_Match="*").status == 403  # fmt: skip


def rows_of(system: System, writer: Caller, brand: int, campaign: int) -> dict[str, int]:
    """An operation, a scheduled limit, a flight and an alert of a brand: their ids."""
    made = writer.post("/operations", {"action": "budget", "ids": {"brands": [brand]}, "change": {"budget": "set:9"}})
    limit = writer.post("/limits", {"brand_id": brand, "period": "daily", "change": "set:7", "at": "2031-01-01T00:00Z"})
    flight = writer.post(f"/campaigns/{campaign}/flights", {"ends_at": "2031-01-01T00:00Z", "budget": "5"})
    assert (made.status, limit.status, flight.status) == (202, 201, 201), (made, limit, flight)
    with system.db.begin() as conn:
        alert = conn.execute(
            text(
                "INSERT INTO alert_event (kind, subject, period, level, round, brand_id, severity, detail, muted)"
                " VALUES ('daily', :subject, '2026-11-29', 80, 1, :brand, 'warning', '80 % of the daily budget', false) RETURNING id"
            ),
            {"brand": brand, "subject": f"brand:{brand}"},
        ).scalar_one()
    return {
        "operation_id": made.document["id"],
        "limit_id": limit.document["id"],
        "no": flight.document["no"],
        "alert_id": alert,
    }


def asked(caller: Caller, method: str, path: str, ids: dict[str, int], body: Any) -> Told:
    address = _IDS.sub(lambda found: str(ids[found[1]]), path).removeprefix("/api/v1")
    return caller(method.upper(), address, body, If_Match="*")


def without(told: Told, ids: dict[str, int]) -> str:
    text_ = told.document["detail"]
    for id_ in sorted(ids.values(), reverse=True):
        text_ = text_.replace(str(id_), "N")
    return str(text_)
