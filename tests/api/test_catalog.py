"""Brands and campaigns over HTTP: read, changed by version, paused, and only within a token's brands."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from sqlalchemy import text

from engine.wiring import System
from tests.api.conftest import Caller, Calls
from tests.web.conftest import brand_with


@pytest.fixture
def writer(calls: Calls) -> Caller:
    return calls("read", "write")


def made(caller: Caller, **fields: Any) -> Any:
    told = caller.post("/brands", {"name": "Aurora", "daily_budget": "100.00", **fields})
    assert told.status == 201, told.document
    return told.document


def test_a_brand_is_made_and_read_and_its_budget_counts(ready: System, writer: Caller, calls: Calls) -> None:
    brand = made(writer, external_id="a-1", time_zone="Europe/Berlin")
    assert (brand["daily_budget"], brand["daily_remaining"], brand["time_zone"]) == ("100.000000", "100.000000", "Europe/Berlin")  # fmt: skip
    campaign = writer.post("/campaigns", {"brand_id": brand["id"], "name": "Spring", "daily_budget": "5"})
    assert (campaign.status, campaign.document["status"]) == (201, "active")
    spend = {"campaign_id": campaign.document["id"], "amount": "4"}
    spender = calls("spend")
    outcomes = [spender.post("/spend", {**spend, "mode": "try"}).document["outcome"] for _ in range(2)]
    assert outcomes == ["accepted", "refused"]
    read = writer.get(f"/brands/{brand['id']}")
    assert (read.document["daily_spend"], read.headers["ETag"]) == ("4.000000", f'"{brand["version"]}"')
    with ready.db.connect() as conn:
        actors = conn.execute(text("SELECT DISTINCT actor FROM catalog_change WHERE entity <> 'token'")).scalars().all()
    assert all(actor.startswith("token:") and actor.endswith("program") for actor in actors) and actors


def test_the_second_of_two_changes_from_one_version_is_412_and_changes_nothing(writer: Caller) -> None:
    path = f"/brands/{made(writer)['id']}"
    seen = writer.get(path).headers["ETag"]
    first = writer("PATCH", path, {"daily_budget": "50"}, If_Match=seen)
    assert (first.status, first.document["daily_budget"]) == (200, "50.000000") and first.headers["ETag"] != seen
    second = writer("PATCH", path, {"daily_budget": "900"}, If_Match=seen)
    assert second.status == 412 and second.document["title"] == "Changed meanwhile"
    assert writer("PATCH", path, {"daily_budget": "900"}).status == 428
    assert writer.get(path).document["daily_budget"] == "50.000000"
    free = writer("PATCH", path, {"daily_budget": None, "name": "Borealis"}, If_Match="*")
    assert (free.document["daily_budget"], free.document["name"]) == (None, "Borealis")


def test_a_campaign_changes_by_version_too(ready: System, writer: Caller) -> None:
    _, (campaign,) = brand_with(ready)
    path = f"/campaigns/{campaign}"
    seen = writer.get(path).headers["ETag"]
    hours = {"days": ["mon"], "start_time": "09:00", "end_time": "17:00"}
    told = writer("PATCH", path, {"schedule": hours, "breaker": "9/min", "lifetime_budget": "70"}, If_Match=seen)
    assert told.status == 200 and told.document["lifetime_budget"] == "70.000000", told.document
    assert told.document["breaker"]["limit"] == "9.000000" and told.document["schedule"]
    assert writer("PATCH", path, {"schedule": None}, If_Match=seen).status == 412
    for body, field in (({"schedule": [{"days": ["moon"]}]}, "schedule[0]"), ({"name": None}, "name"), ({"breaker": "x"}, "breaker"), ({}, None)):  # fmt: skip
        wrong = writer("PATCH", path, body, If_Match="*")
        assert wrong.status == 422 and (wrong.document.get("field") or "").startswith(field or ""), wrong.document


@pytest.mark.parametrize("what", ["brands", "campaigns"])
def test_what_is_paused_spends_nothing_until_it_is_resumed(
    ready: System, writer: Caller, calls: Calls, what: str
) -> None:
    brand, (campaign,) = brand_with(ready)
    path = f"/{what}/{brand if what == 'brands' else campaign}"
    body: Any = {"reason": "fraud"} if what == "brands" else None
    spender = calls("spend")

    def tried() -> str:
        outcome: str = spender.post("/spend", {"campaign_id": campaign, "amount": "1", "mode": "try"}).document[
            "outcome"
        ]
        return outcome

    assert writer.post(f"{path}/pause", body).status == 200 and tried() == "refused"
    assert writer.post(f"{path}/resume", {} if body else None).status == 200 and tried() == "accepted"
    assert writer.post(f"{path}/archive", None).document["archived"] is True
    assert tried() in ("refused", "unknown_campaign")
    assert writer.post(f"{path}/unarchive", {}).document["archived"] is False
    assert tried() == "accepted"


def test_the_same_post_with_its_key_happens_once_and_gets_the_same_answer(ready: System, writer: Caller) -> None:
    body = {"name": "Aurora"}
    first, again = (writer.post("/brands", body, Idempotency_Key="n-1") for _ in range(2))
    assert (first.status, again.status) == (201, 201) and again.document == first.document
    assert again.headers["Idempotency-Replayed"] == "true" and again.headers["ETag"] == first.headers["ETag"]
    other = writer.post("/brands", {"name": "Borealis"}, Idempotency_Key="n-1")
    assert (other.status, other.document["field"]) == (422, "Idempotency-Key")
    assert ready.catalog.count_brands() == 1
    with ready.db.begin() as conn:
        conn.execute(text("UPDATE idempotency SET begun_at = now() - interval '25 hours'"))
    assert writer.post("/brands", {"name": "Borealis"}, Idempotency_Key="n-1").status == 201


def test_a_request_that_is_under_way_is_not_begun_again(ready: System, writer: Caller) -> None:
    assert writer.post("/brands", {"name": "Aurora"}, Idempotency_Key="n-1").status == 201
    with ready.db.begin() as conn:
        conn.execute(text("UPDATE idempotency SET status = NULL, answer = NULL"))
    assert writer.post("/brands", {"name": "Aurora"}, Idempotency_Key="n-1").status == 409
    refused = [writer.post("/brands", {"name": "Aurora"}, Idempotency_Key="n-2") for _ in range(2)]
    assert [one.document["detail"] for one in refused] == [refused[0].document["detail"]] * 2
    assert refused[0].status == 409 and "Idempotency" not in refused[0].document["detail"]


def test_a_token_of_one_brand_sees_no_other(ready: System, calls: Calls) -> None:
    mine, (own,) = brand_with(ready, "Mine")
    theirs, (other,) = brand_with(ready, "Theirs")
    caller = calls("read", "write", brands=[mine])
    assert [one["id"] for one in caller.get("/brands").document["items"]] == [mine]
    assert [one["id"] for one in caller.get("/campaigns").document["items"]] == [own]
    paths = {f"/brands/{theirs}": f"/brands/{theirs + 1}", f"/campaigns/{other}": f"/campaigns/{other + 65536}"}
    for hidden, unknown in paths.items():
        for method, end, body in (("GET", "", None), ("PATCH", "", {"name": "x"}), ("POST", "/archive", None), ("POST", "/pause", {} if "brands" in hidden else None)):  # fmt: skip
            seen, nothing = (caller(method, path + end, body, If_Match="*") for path in (hidden, unknown))
            assert seen.status == nothing.status == 404, (method, hidden, seen)
            ids = [path.rsplit("/", 1)[1] for path in (hidden, unknown)]
            assert seen.document["detail"].replace(ids[0], "N") == nothing.document["detail"].replace(ids[1], "N")
    assert caller.get(f"/campaigns?brand_id={theirs}").status == 404
    assert caller.post("/campaigns", {"brand_id": theirs, "name": "x"}).status == 404
    assert caller.post("/brands", {"name": "New"}).status == 403


def test_a_list_comes_in_pages_without_a_row_twice_or_missing(ready: System, calls: Calls) -> None:
    brands = [ready.manage.create_brand(f"Brand {n:02}", None, None, None, "test").row.id for n in range(7)]
    named = ready.manage.create_campaigns(brands[0], [f"Wave {n}" for n in (3, 1, 2)], "test")
    reader = calls("read")
    for path, wanted in (
        ("/brands?sort=-name", brands[::-1]),
        ("/campaigns?sort=name", [named[at].id for at in (1, 2, 0)]),
        ("/campaigns?sort=-id&q=wave", [one.id for one in named[::-1]]),
    ):
        found: list[int] = []
        cursor = ""
        while True:
            told = reader.get(f"{path}&limit=2{cursor}")
            assert told.status == 200, told.document
            found += [one["id"] for one in told.document["items"]]
            if told.document["next"] is None:
                break
            cursor = f"&cursor={told.document['next']}"
        assert found == wanted
        assert reader.get(f"{path}x&limit=2{cursor}").status == 422
    for wrong, field in (("cursor=%%%", "cursor"), ("limit=0", "limit"), ("sort=colour", "sort"), ("colour=1", "colour"), ("limit=1&limit=2", "limit")):  # fmt: skip
        told = reader.get(f"/brands?{wrong}")
        assert (told.status, told.document["field"]) == (422, field), told.document


def cursor_of(place: list[Any], asked: list[Any]) -> str:
    """A cursor that nobody was given."""
    return base64.urlsafe_b64encode(json.dumps([asked, place]).encode()).decode().rstrip("=")


@pytest.mark.parametrize("sort", ["id", "-id", "name", "-name"])
def test_a_forged_cursor_and_a_nul_are_refused_before_postgresql_gets_them(calls: Calls, sort: str) -> None:
    reader, asked = calls("read"), [None, "", "", False, sort]
    for place in (["a", 2**63], ["a", -1], ["a", 10**60], ["\0", 1], ["a\0b", 1], ["\ud800", 1]):
        told = reader.get(f"/campaigns?sort={sort}&cursor={cursor_of(place, asked)}")
        assert (told.status, told.document.get("field")) == (422, "cursor"), (place, told)
    assert reader.get(f"/campaigns?sort={sort}&cursor={cursor_of(['a', 2**63 - 1], asked)}").status == 200
    for path in ("/campaigns", "/brands"):
        told = reader.get(f"{path}?sort={sort if 'name' in sort else 'name'}&q=a%00b")
        assert (told.status, told.document["field"]) == (422, "q"), told
