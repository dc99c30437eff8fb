"""Fault 13 over HTTP: whatever a program reads beside a frozen server is answered in time, or the answer says which server it is."""

from __future__ import annotations

import http.client
import json
import re
import time
from typing import Any

import pytest

from api.docs import operations
from engine.ledger import tokens
from tests.faults.test_fault_13_hangs import frozen, server_of
from tests.patience import PATIENCE_S, in_time
from tests.processes.conftest import Own, own, until
from tests.web.gallery import World, make_world
from tests.web.test_serve import free_port

__all__ = ["own"]

LIMIT_S = 3.0
NAMED = {"hot": "Redis", "jobs": "obs Redis", "postgres": "PostgreSQL"}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_every_address_that_is_read_answers_in_time_beside_each_frozen_server(own: Own) -> None:
    own.system.rebuilder.rebuild()
    world = make_world(own.system)
    port = free_port()
    own.processes.environment = {**own.environment, "BUDGET_API_PORT": str(port)}
    process = own.processes.start("api")
    secret = tokens.create(own.system.db, "test", "reader", ["read", "admin"], None).secret
    until(lambda: asked(port, secret, "/healthz")[0] == 200, PATIENCE_S, lambda: process.said)
    document = asked(port, secret, "/api/openapi.json")[1]
    ids = ids_of(world)
    read = [path for path, method, _ in operations(document) if method == "get"]
    addresses = [re.sub(r"\{(\w+)\}", lambda found: str(ids[found[1]]), path) for path in read]
    before = {path: asked(port, secret, path)[0] for path in addresses}
    assert len(addresses) > 30
    assert set(before.values()) <= {200, 404, 409, 422}, before
    for which, name in NAMED.items():
        with frozen(server_of(own, which)):
            answers = {path: asked(port, secret, path) for path in addresses}
        slow = {path: took for path, (_, _, took) in answers.items() if not in_time(took, LIMIT_S)}
        assert slow == {}, which
        odd = {
            path: (status, told)
            for path, (status, told, _) in answers.items()
            if status != before[path] and (status != 503 or name not in json.dumps(told))
        }
        assert odd == {}, which
        until(lambda: {path: asked(port, secret, path)[0] for path in addresses} == before, PATIENCE_S)


def ids_of(world: World) -> dict[str, Any]:
    return {
        "brand_id": world.brand,
        "campaign_id": world.campaign,
        "operation_id": world.waiting,
        "user_id": world.user,
        "no": 1,
        "day": "2026-01-01",
        "name": "even",
        "kind": "daily",
    } | dict.fromkeys(("limit_id", "alert_id", "token_id", "webhook_id", "event_id", "id"), 1)


def asked(port: int, secret: str, path: str) -> tuple[int, Any, float]:
    """Status, document and seconds of an answer."""
    began = time.monotonic()
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        line.request("GET", path, None, {"Authorization": f"Bearer {secret}"})
        answer = line.getresponse()
        body = answer.read().decode()
        told = json.loads(body) if "json" in (answer.getheader("Content-Type") or "") else body[:500]
        return answer.status, told, time.monotonic() - began
    except OSError as error:
        return 0, str(error), time.monotonic() - began
    finally:
        line.close()
