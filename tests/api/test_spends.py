"""Money over HTTP: each spend counts once, under any repeat, and what is refused is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection
from typing import Any

import pytest
from flask_openapi.openapi import OpenAPI

from engine.ledger import tokens
from engine.wiring import System
from tests.api.conftest import Caller, Calls, Loop, Told
from tests.web.conftest import brand_with


def spent(system: System, brand: int) -> str:
    (plan,) = system.live.read_plans({brand: 1}).values()
    assert plan is not None
    return f"{plan.daily_spend / 1_000_000:g}"


@pytest.fixture(params=["by a thread", "by the loop"])
def calls(request: pytest.FixtureRequest, ready: System, app: OpenAPI) -> Calls:
    """Callers of both ways: what is said of one is true of the other."""
    way: Loop | None = request.getfixturevalue("loop") if request.param == "by the loop" else None

    def made(*scopes: str, brands: Collection[int] | None = None, secret: str | None = None) -> Caller:
        if scopes:
            secret = tokens.create(ready.db, "test", "program", scopes, brands).secret
        caller = Caller(way or app.test_client(), secret)
        if way is not None and scopes:
            # The first request of a token is looked up by a thread.
            assert caller.post("/spend", None).status in (403, 415, 422)
        return caller

    return made


def test_a_spend_is_counted_and_the_answer_has_the_brands_figures(ready: System, calls: Calls) -> None:
    brand, (campaign,) = brand_with(ready, daily=10_000_000)
    told = calls("spend").post("/spend", {"campaign_id": campaign, "amount": "2.5"})
    assert told.status == 200 and told.document == {
        "campaign_id": campaign,
        "outcome": "recorded",
        "reasons": [],
        "daily_spend": "2.500000",
        "monthly_spend": "2.500000",
        "daily_remaining": "7.500000",
        "monthly_remaining": None,
        "retry_at": None,
        "pass_rate": 1.0,
    }
    assert spent(ready, brand) == "2.5"


def test_a_refusal_is_an_answer_and_counts_nothing(ready: System, calls: Calls) -> None:
    brand, (campaign,) = brand_with(ready, daily=10_000_000)
    told = calls("spend").post("/spend", {"campaign_id": campaign, "amount": "11", "mode": "try"})
    assert (told.status, told.document["outcome"], told.document["reasons"]) == (200, "refused", ["daily_budget"])
    unknown = calls("spend").post("/spend", {"campaign_id": campaign + 1, "amount": "1"})
    assert (unknown.status, unknown.document["outcome"]) == (200, "unknown_campaign")
    assert spent(ready, brand) == "0"


def test_a_repeat_with_the_same_key_or_event_counts_once(ready: System, calls: Calls) -> None:
    brand, (campaign,) = brand_with(ready)
    caller = calls("spend")
    keyed = [caller.post("/spend", {"campaign_id": campaign, "amount": "1"}, Idempotency_Key="k-1") for _ in range(3)]
    assert [one.document["outcome"] for one in keyed] == ["recorded"] * 3
    other = caller.post("/spend", {"campaign_id": campaign, "amount": "2"}, Idempotency_Key="k-1")
    assert other.document["outcome"] == "conflict"
    event = {"campaign_id": campaign, "amount": "1", "event_id": "win-1"}
    assert [caller.post("/spend", event).document["outcome"] for _ in range(2)] == ["recorded", "duplicate"]
    batch = {"spends": [event, {"campaign_id": campaign, "amount": "4"}]}
    many = [caller.post("/spends", batch, Idempotency_Key="b-1") for _ in range(2)]
    assert [[r["outcome"] for r in one.document["results"]] for one in many] == [["duplicate", "recorded"]] * 2  # fmt: skip
    assert spent(ready, brand) == "6"


def test_spends_of_many_threads_share_calls_and_each_counts_once(ready: System, calls: Calls) -> None:
    """With keys, with events, and with neither; each is sent twice at once where a repeat is to count once."""
    brand, campaigns = brand_with(ready, campaigns=3)
    secret = calls("spend").secret
    outcomes: list[str] = []

    def work(number: int) -> None:
        caller = calls(secret=secret)
        for round_ in range(6):
            body: dict[str, Any] = {"campaign_id": campaigns[number % 3], "amount": "0.25"}
            name = f"{number // 2}-{round_}"
            if number < 16:
                told = caller.post("/spend", body | {"event_id": f"e-{name}", "mode": "try"})
            elif number < 24:
                told = caller.post("/spend", body | {"campaign_id": campaigns[0]}, Idempotency_Key=f"k-{name}")
            else:
                told = caller.post("/spend", body)
            outcomes.append(told.document["outcome"])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 32 * 6
    counted = [each for each in outcomes if each in ("recorded", "accepted")]
    # Two of the same event are of other campaigns, and two of the same key are one call with one outcome.
    assert len(counted) == 8 * 6 + 2 * 4 * 6 + 8 * 6 and outcomes.count("conflict") == 8 * 6
    assert spent(ready, brand) == f"{(len(counted) - 4 * 6) * 0.25:g}"


def test_a_batch_has_an_outcome_for_each_and_is_checked_before_anything_counts(ready: System, calls: Calls) -> None:
    brand, (first, second) = brand_with(ready, daily=5_000_000, campaigns=2)
    caller = calls("spend")
    rows = [{"campaign_id": each, "amount": "3"} for each in (first, second)]
    told = caller.post("/spends", {"spends": rows, "mode": "try"})
    assert [one["outcome"] for one in told.document["results"]] == ["accepted", "refused"]
    assert told.document["request_id"]
    wrong = caller.post("/spends", {"spends": [*rows, {"campaign_id": first, "amount": "0"}]})
    assert (wrong.status, wrong.document["field"]) == (422, "spends[2].amount")
    assert caller.post("/spends", {"spends": rows[:1] * 1001}).status == 422
    whole = caller.post("/spends", {"spends": [{"campaign_id": first, "amount": "0.001"}] * 1000})
    assert len(whole.document["results"]) == 1000
    assert spent(ready, brand) == "4"


def test_a_hold_is_settled_once_and_a_refund_gives_back_once(ready: System, calls: Calls) -> None:
    brand, (campaign,) = brand_with(ready, daily=10_000_000)
    caller = calls("spend")
    held = caller.post("/holds", {"campaign_id": campaign, "amount": "4", "ttl": 60, "hold_id": "bid/1"})
    assert (held.document["outcome"], held.document["hold_id"]) == ("accepted", f"{campaign}:bid/1")
    for name in ("bid/1", f"{campaign}:bid%2F1"):
        won = caller.post(f"/holds/{name}/settle", {"campaign_id": campaign, "amount": "3"})
        assert (won.status, won.document["outcome"]) == (200, "settled")
    lost = caller.post("/holds", {"campaign_id": campaign, "amount": "1", "ttl": 60}, Idempotency_Key="bid-2")
    assert lost.document["hold_id"] == f"{campaign}:bid-2"
    assert caller.post("/holds/bid-2/release", {"campaign_id": campaign}).document["outcome"] == "released"
    nameless = caller.post("/holds", {"campaign_id": campaign, "amount": "1", "ttl": 60})
    assert (nameless.status, nameless.document["field"]) == (422, "hold_id")
    caller.post("/spend", {"campaign_id": campaign, "amount": "2", "event_id": "win-9"})
    back = {"campaign_id": campaign, "amount": "2", "event_id": "win-9"}
    assert [caller.post("/refunds", back).document["outcome"] for _ in range(2)] == ["refunded", "refunded"]
    assert spent(ready, brand) == "3"


def test_a_refund_of_a_day_that_has_yet_to_come_is_told_the_clock_of_the_brand(ready: System, calls: Calls) -> None:
    brand, (campaign,) = brand_with(ready)
    ready.manage.update_brand(brand, "anna", time_zone="Asia/Kolkata")
    back = {"campaign_id": campaign, "amount": "2", "event_id": "e", "spent_on": "2999-01-01"}
    told = calls("spend").post("/refunds", back)
    assert (told.status, told.document["field"]) == (422, "spent_on")
    view = ready.overview.brand(brand, alone=True)
    assert f"until today by the clock of brand {brand}: give the day of the spend" in told.document["detail"]
    assert told.document["detail"].rstrip(".").endswith(f"{view.local.label} there")
    assert "UTC day" not in told.document["detail"]


def test_a_token_of_one_brand_spends_nothing_of_another(ready: System, calls: Calls) -> None:
    mine, (own,) = brand_with(ready, "Mine")
    theirs, (other,) = brand_with(ready, "Theirs")
    caller = calls("spend", brands=[mine])
    spend = {"campaign_id": other, "amount": "1"}
    refused: dict[str, Told] = {
        "/spend": caller.post("/spend", spend),
        "/spends": caller.post("/spends", {"spends": [{"campaign_id": own, "amount": "1"}, spend]}),
        "/holds": caller.post("/holds", spend | {"ttl": 9, "hold_id": "x"}),
        "/holds/x/settle": caller.post("/holds/x/settle", spend),
        "/holds/x/release": caller.post("/holds/x/release", {"campaign_id": other}),
        "/refunds": caller.post("/refunds", spend | {"event_id": "e"}),
    }
    assert {path: told.status for path, told in refused.items()} == dict.fromkeys(refused, 403)
    assert refused["/spends"].document["field"] == "spends[1].campaign_id"
    assert (spent(ready, mine), spent(ready, theirs)) == ("0", "0")
    assert caller.post("/spend", {"campaign_id": own, "amount": "1"}).status == 200


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"campaign_id": "1", "amount": "1"}, 422, "campaign_id"),
        ({"campaign_id": 65536 * 9, "amount": "1"}, 422, "campaign_id"),
        ({"campaign_id": 65537, "amount": 1.5}, 422, "amount"),
        ({"campaign_id": 65537, "amount": "-1"}, 422, "amount"),
        ({"campaign_id": 65537, "amount": "1", "surprise": 1}, 422, "surprise"),
        ({"campaign_id": 65537, "amount": "1", "event_id": "a b"}, 422, "event_id"),
        ({"campaign_id": 65537, "amount": "1", "occurred_at": "2026-11-23T10:00:00"}, 422, "occurred_at"),
        ({"campaign_id": 65537, "amount": "1", "mode": "ask"}, 422, "mode"),
        ({"amount": "1"}, 422, "campaign_id"),
        ([], 422, None),
        (b"{", 400, None),
        (b"", 400, None),
        (b'{"amount": "\xff"}', 400, None),
        ('{"amount": "1"}'.encode("utf-16"), 400, None),
        (b"[" * 1000 + b"]" * 1000, 400, None),
        (b'{"campaign_id": ' + b"9" * 5000 + b"}", 400, None),
        (b"0" * (10 * 1024 * 1024), 413, None),
    ],
)
def test_what_is_wrong_is_told_by_its_field_and_counts_nothing(
    calls: Calls, body: Any, status: int, field: str | None
) -> None:
    caller = calls("spend")
    told = caller("POST", "/spend", data=body if isinstance(body, bytes) else json.dumps(body).encode())
    assert (told.status, told.document.get("field")) == (status, field), told.document
    assert told.headers["Content-Type"] == "application/problem+json"
    assert told.document["status"] == status and told.document["detail"].strip()
