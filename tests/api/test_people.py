"""Alerts, webhooks, tokens and users over HTTP: who may, what is shown once, and that each change is signed."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from engine.wiring import System
from tests.api.conftest import Caller, Calls
from tests.api.test_scopes import rows_of
from tests.web.conftest import brand_with


@pytest.fixture
def admin(calls: Calls) -> Caller:
    return calls("read", "write", "admin")


def trail(caller: Caller, entity: str) -> list[Any]:
    lines = caller.get("/activity?limit=200").document["items"]
    return [(line["field"], line["new"]) for line in lines if line.get("entity") == entity]


def kept(system: System) -> str:
    with system.db.connect() as conn:
        return " ".join(conn.execute(text("SELECT idempotency::text FROM idempotency")).scalars())


def test_an_alert_is_acknowledged_and_muted_by_name(ready: System, admin: Caller) -> None:
    brand, (campaign,) = brand_with(ready)
    alert = rows_of(ready, admin, brand, campaign)["alert_id"]
    (listed,) = admin.get("/alerts").document["items"]
    assert (listed["id"], listed["brand_id"], listed["acknowledged_by"]) == (alert, brand, None)
    seen = admin.post(f"/alerts/{alert}/acknowledge", None)
    assert seen.status == 200 and seen.document["acknowledged_by"].endswith("program")
    assert admin.post(f"/alerts/{alert}/mute", {"hours": 8}).document["muted_until"] is not None
    told = admin.post(f"/alerts/{alert}/mute", {"hours": 7})
    assert (told.status, told.document["field"]) == (422, "hours")
    assert admin.post(f"/alerts/{alert}/unmute", None).document["muted_until"] is None
    assert [field for field, _ in trail(admin, "alert")] == ["muted", "muted", "acknowledged"]
    assert len(admin.get("/alerts?state=all&limit=1").document["items"]) == 1


def test_a_webhooks_secret_is_shown_once_and_kept_nowhere_else(ready: System, admin: Caller) -> None:
    body = {"name": "<b>ops</b>", "url": "https://example.com/hook", "least": "critical"}
    made = admin.post("/webhooks", body, Idempotency_Key="hook-1")
    assert made.status == 201 and made.document["secret"].startswith("whsec_"), made.document
    again = admin.post("/webhooks", body, Idempotency_Key="hook-1")
    assert again.document == {**made.document, "secret": None}
    assert made.document["secret"] not in kept(ready)
    path = f"/webhooks/{made.document['id']}"
    rotated = admin.post(f"{path}/rotate", None)
    assert rotated.document["secret"] not in (None, made.document["secret"])
    sent = admin.post(f"{path}/test", None)
    assert sent.status == 202 and sent.document["message"].startswith("test-")
    (message,) = admin.get(f"{path}/deliveries").document["items"]
    assert (message["message"], message["state"]) == (sent.document["message"], "waiting")
    assert admin.post(f"{path}/disable", None).document["disabled"] is True
    assert admin.post(f"{path}/test", None).status == 409
    assert admin.post(f"{path}/enable", None).document["disabled"] is False
    assert [one["name"] for one in admin.get("/webhooks").document["items"]] == ["<b>ops</b>"]
    assert "secret" not in admin.get(path).document
    for wrong, field in (({"url": "ftp://x"}, "url"), ({"least": "loud"}, "least")):
        told = admin.post("/webhooks", {**body, **wrong})
        assert (told.status, told.document["field"]) == (422, field), told.document
    assert [line[0] for line in trail(admin, "webhook")] == ["disabled", "disabled", "secret", "created"]


def test_a_token_is_made_once_used_and_revoked(ready: System, admin: Caller, calls: Calls) -> None:
    brand, _ = brand_with(ready)
    body = {"name": "bidder", "scopes": ["read"], "brands": [brand]}
    made = admin.post("/tokens", body, Idempotency_Key="token-1")
    secret = made.document["token"]
    assert (made.status, made.document["brands"]) == (201, [brand])
    assert admin.post("/tokens", body, Idempotency_Key="token-1").document == {**made.document, "token": None}
    assert secret not in kept(ready)
    other = calls("read")
    other.secret = secret
    assert [one["id"] for one in other.get("/brands").document["items"]] == [brand]
    assert other.get("/tokens").status == 403
    assert admin.post(f"/tokens/{made.document['id']}/revoke", None).document["revoked"] is True
    for wrong, field in (({"scopes": ["fly"]}, "scopes"), ({"scopes": []}, "scopes"), ({"brands": []}, "brands"), ({"scopes": ["admin"]}, "brands")):  # fmt: skip
        told = admin.post("/tokens", {**body, **wrong})
        assert (told.status, told.document["field"]) == (422, field), told.document
    assert ("created", "bidder") in trail(admin, "token")


def test_a_user_is_made_changed_by_version_and_shut_out(ready: System, admin: Caller) -> None:
    brand, _ = brand_with(ready)
    body = {"name": "anna", "role": "viewer", "brands": [brand], "password": "a long and quiet word"}
    made = admin.post("/users", body, Idempotency_Key="user-1")
    assert (made.status, made.document["role"]) == (201, "viewer"), made.document
    # The password is no part of what is kept: another one under the same key is the same request.
    assert admin.post("/users", {**body, "password": "another quiet word"}, Idempotency_Key="user-1").document == made.document  # fmt: skip
    path, seen = f"/users/{made.document['id']}", made.headers["ETag"]
    assert admin("PATCH", path, {"role": "operator"}).status == 428
    changed = admin("PATCH", path, {"role": "operator"}, If_Match=seen)
    assert (changed.document["role"], changed.document["brands"]) == ("operator", [brand])
    assert admin("PATCH", path, {"role": "admin", "brands": None}, If_Match=seen).status == 412
    assert admin("PATCH", path, {"role": "admin"}, If_Match="*").document["field"] == "brands"
    assert admin.post(f"{path}/password", {"password": "x"}).document["field"] == "password"
    assert admin.post(f"{path}/password", {"password": "a third and quiet word"}).status == 200
    assert ready.people.log_in("anna", "a third and quiet word", "127.0.0.1").person is not None
    assert admin.get(path).document["last_login"] is not None
    assert admin.post(f"{path}/disable", None).document["disabled"] is True
    assert ready.people.log_in("anna", "a third and quiet word", "127.0.0.1").person is None
    assert admin.post(f"{path}/enable", None).document["disabled"] is False
    assert admin.post("/users", body).status == 409
    assert [one["name"] for one in admin.get("/users").document["items"]] == ["anna"]
    assert {field for field, _ in trail(admin, "user")} == {"created", "role", "password", "disabled"}
