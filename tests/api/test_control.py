"""Flights, limits, curves, operations and the activity over HTTP: what a program changes happens, is signed, and can be taken back."""

from __future__ import annotations

from typing import Any

import pytest

from engine.wiring import System
from tests.api.conftest import Caller, Calls
from tests.web.conftest import brand_with

HOSTILE = ["<script>alert(1)</script>", "=cmd()|' /C calc'!A0", "+1+1", "@SUM(1)", "a\u202eb"]


@pytest.fixture
def writer(calls: Calls) -> Caller:
    return calls("read", "write")


def actors(caller: Caller, query: str = "") -> set[str]:
    return {line["actor"] for line in caller.get(f"/activity?limit=200{query}").document["items"]}


def test_a_flight_is_added_changed_by_version_and_removed(ready: System, writer: Caller) -> None:
    _, (campaign,) = brand_with(ready)
    path = f"/campaigns/{campaign}/flights"
    body = {"starts_at": "2031-01-01T00:00Z", "ends_at": "2031-02-01T00:00Z", "budget": "70"}
    made = writer.post(path, body, Idempotency_Key="flight-1")
    again = writer.post(path, body, Idempotency_Key="flight-1")
    assert (made.status, again.document) == (201, made.document) and made.document["state"] == "ahead"
    no = made.document["no"]
    seen = writer.get(f"{path}/{no}").headers["ETag"]
    assert writer("PATCH", f"{path}/{no}", {"budget": "80"}).status == 428
    changed = writer("PATCH", f"{path}/{no}", {"budget": "80", "carries_on": True, "spread": "even"}, If_Match=seen)
    assert (changed.status, changed.document["budget"], changed.document["carries_on"]) == (200, "80.000000", True)
    assert writer("PATCH", f"{path}/{no}", {"budget": "90"}, If_Match=seen).status == 412
    overlap = writer.post(path, {**body, "starts_at": "2031-01-15T00:00Z"})
    assert (overlap.status, overlap.document["field"]) == (422, "starts_at")
    assert len(writer.get(path).document["items"]) == 1
    assert writer("DELETE", f"{path}/{no}").document["items"] == []
    assert writer("DELETE", f"{path}/{no}").status == 404


def test_a_limit_is_scheduled_and_taken_back(ready: System, writer: Caller) -> None:
    brand, (campaign,) = brand_with(ready, daily=100_000_000)
    body = {"brand_id": brand, "period": "daily", "change": "percent:150", "at": "2031-01-01T00:00Z", "until": "2031-01-02T00:00Z"}  # fmt: skip
    made = writer.post("/limits", body)
    assert (made.status, made.document["becomes"], made.document["then"]) == (201, "150.000000", "100.000000")
    at_once = writer.post("/limits", {"brand_id": brand, "period": "daily", "change": "set:30"})
    assert at_once.status == 201 and writer.get(f"/brands/{brand}").document["daily_budget"] == "30.000000"
    listed = writer.get(f"/limits?brand_id={brand}&limit=1").document
    assert [one["id"] for one in listed["items"]] == [at_once.document["id"]]
    (next_,) = writer.get(f"/limits?brand_id={brand}&limit=1&cursor={listed['next']}").document["items"]
    assert next_["id"] == made.document["id"]
    taken = writer("DELETE", f"/limits/{made.document['id']}")
    assert (taken.status, taken.document["state"]) == (200, "cancelled")
    assert writer("DELETE", f"/limits/{made.document['id']}").status == 422
    for wrong, field in (({"change": "most"}, "change"), ({"at": "soon"}, "at"), ({"campaign_id": campaign}, "brand_id"), ({"until": "2030-01-01T00:00Z"}, "until")):  # fmt: skip
        told = writer.post("/limits", {**body, **wrong})
        assert (told.status, told.document["field"]) == (422, field), told.document


def test_a_curve_is_made_changed_by_version_and_kept_while_it_paces(ready: System, writer: Caller) -> None:
    brand, _ = brand_with(ready, daily=100_000_000)
    points = [{"time": "12:00", "share": 250_000}, {"time": "24:00", "share": 1_000_000}]
    made = writer.post("/curves", {"name": "evening", "points": points})
    assert (made.status, made.document["used_by"]) == (201, [])
    assert writer.post("/curves", {"name": "evening", "points": points}).status == 409
    seen = writer.get("/curves/evening").headers["ETag"]
    assert seen == made.headers["ETag"]
    later = [{"time": "18:00", "share": 250_000}, {"time": "24:00", "share": 1_000_000}]
    assert writer("PATCH", "/curves/evening", {"points": later}, If_Match=seen).status == 200
    assert writer("PATCH", "/curves/evening", {"points": points}, If_Match=seen).status == 412
    paced = writer("PATCH", f"/brands/{brand}", {"pacing": "custom:evening"}, If_Match="*")
    assert paced.status == 200, paced.document
    told = writer("DELETE", "/curves/evening")
    assert told.status == 409 and f"brand {brand}" in told.document["detail"]
    writer("PATCH", f"/brands/{brand}", {"pacing": "asap"}, If_Match="*")
    assert writer("DELETE", "/curves/evening").document["items"] == []
    falling = [
        {"time": "12:00", "share": 500_000},
        {"time": "13:00", "share": 1},
        {"time": "24:00", "share": 1_000_000},
    ]
    wrong = writer.post("/curves", {"name": "falling", "points": falling})
    assert (wrong.status, wrong.document["field"]) == (422, "points"), wrong.document
    assert writer.get("/curves/falling").status == 404


def test_a_dry_run_changes_nothing_and_its_draft_can_be_applied_and_undone(ready: System, writer: Caller) -> None:
    brands = [brand_with(ready, name, daily=100_000_000)[0] for name in ("Aurora", "Borealis", "Corona")]
    asked = {"action": "budget", "filter": {"q": "or"}, "change": {"budget": "percent:110"}, "dry_run": True}
    draft = writer.post("/operations", asked)
    assert (draft.status, draft.document["state"], draft.document["ready"]) == (202, "draft", 3), draft.document
    assert draft.document["rows"][0]["changes"] == {"daily_budget": ["100.000000", "110.000000"]}
    path = f"/operations/{draft.document['id']}"
    assert writer.get(f"/brands/{brands[0]}").document["daily_budget"] == "100.000000"
    done = writer.post(f"{path}/apply", None)
    assert (done.document["state"], done.document["done"], done.document["behind"]) == ("done", 3, 0)
    assert writer.get(f"/brands/{brands[0]}").document["daily_budget"] == "110.000000"
    writer("PATCH", f"/brands/{brands[2]}", {"daily_budget": "7"}, If_Match="*")
    preview = writer.post(f"{path}/undo", {"dry_run": True})
    assert (preview.document["ready"], preview.document["skipped"]) == (2, 1)
    undone = writer.post(f"{path}/undo", None)
    assert (undone.document["undo_of"], undone.document["done"]) == (draft.document["id"], 2)
    (left_out,) = writer.get(f"/operations/{undone.document['id']}/rows?skipped=true").document["items"]
    assert left_out["id"] == brands[2] and "changed since" in left_out["why"]
    assert [writer.get(f"/brands/{id_}").document["daily_budget"] for id_ in brands] == ["100.000000", "100.000000", "7.000000"]  # fmt: skip
    first = writer.get("/operations?limit=1").document
    assert [one["id"] for one in first["items"]] == [undone.document["id"]]
    older = writer.get(f"/operations?cursor={first['next']}&limit=1").document["items"]
    assert [one["words"] for one in older] == ["Daily budget to 110 % of what it is"] or older[0][
        "id"
    ] > draft.document["id"]
    assert writer.get(path).document["undone_by"] == undone.document["id"]
    assert all(actor.startswith("token:") for actor in actors(writer, "&kind=operation"))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "pause"}, "ids"),
        ({"action": "pause", "ids": {}, "filter": {}}, "ids"),
        ({"action": "pause", "ids": {}}, "ids"),
        ({"action": "pause", "ids": {"brands": [1]}, "change": {}}, "change"),
        ({"action": "fly", "ids": {"brands": [1]}}, "action"),
        ({"action": "budget", "ids": {"brands": [1]}}, "change.budget"),
        ({"action": "budget", "ids": {"brands": [1]}, "change": {"budget": "more"}}, "change"),
        ({"action": "budget", "ids": {"brands": [1]}, "change": {"schedule": None}}, "change.schedule"),
        ({"action": "schedule", "ids": {"brands": [1]}, "change": {}}, "change.schedule"),
        ({"action": "schedule", "ids": {"brands": [1]}, "change": {"schedule": [{"days": ["moon"]}]}}, "schedule[0]"),
        ({"action": "pause", "filter": {"state": "blue"}}, "tab"),
    ],
)
def test_an_operation_that_says_no_clear_thing_changes_nothing(writer: Caller, body: Any, field: str) -> None:
    told = writer.post("/operations", body)
    assert told.status == 422 and (told.document["field"] or "").startswith(field), told.document


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_text_in_every_list(ready: System, writer: Caller, name: str) -> None:
    made = writer.post("/brands", {"name": name})
    if made.status == 422:
        assert made.document["field"] == "name"
        return
    assert made.document["name"] == name
    assert [one["name"] for one in writer.get("/brands").document["items"]] == [name]
    lines = writer.get(f"/brands/{made.document['id']}/activity").document["items"]
    assert any(line.get("name") == name or line.get("new") == name for line in lines)


def test_the_activity_comes_in_pages_and_names_the_token(ready: System, writer: Caller, calls: Calls) -> None:
    brand = writer.post("/brands", {"name": "Aurora"}).document["id"]
    for n in range(3):
        writer("PATCH", f"/brands/{brand}", {"daily_budget": str(n + 1)}, If_Match="*")
    writer.post(f"/brands/{brand}/pause", {"reason": "fraud"})
    found: list[Any] = []
    cursor = ""
    while True:
        told = writer.get(f"/brands/{brand}/activity?kind=change&limit=2{cursor}")
        assert told.status == 200, told.document
        found += told.document["items"]
        if told.document["next"] is None:
            break
        cursor = f"&cursor={told.document['next']}"
    changed = [item["changes"] for line in found for item in line.get("items", ())]
    assert [one["daily_budget"][1] for one in changed if "daily_budget" in one] == ["3.000000", "2.000000", "1.000000"]
    assert len({(line["kind"], line["id"]) for line in found}) == len(found)
    assert found[0]["note"] == "fraud"
    assert all(line["actor"].endswith("program") for line in found)
    mine = found[0]["actor"]
    assert writer.get("/activity?actor=nobody").document["items"] == []
    assert (
        writer.get(
            "/activity",
        ).document["items"][0]["actor"]
        == mine
    )
    told = writer.get("/activity?from=yesterday")
    assert (told.status, told.document["field"]) == (422, "from")
