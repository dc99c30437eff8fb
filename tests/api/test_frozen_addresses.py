"""Fault 13 over HTTP: whatever a program reads or changes beside a frozen server is answered in time, or the answer says which server it is."""

from __future__ import annotations

import http.client
import json
import re
import time
from typing import Any, NamedTuple

import pytest

from api.docs import operations
from engine.ledger import tokens
from tests.faults.test_fault_13_hangs import frozen, server_of
from tests.patience import PATIENCE_S, in_time
from tests.ports import free_port
from tests.processes.conftest import Own, own, until
from tests.web.gallery import World, make_world

__all__ = ["own"]

LIMIT_S = 3.0
NAMED = {"hot": "Redis", "jobs": "obs Redis", "postgres": "PostgreSQL"}


class Seen(NamedTuple):
    status: int
    told: Any
    took_s: float


class Program(NamedTuple):
    """Asks an API with a token."""

    port: int
    secret: str

    def asks(self, method: str, path: str, body: Any = None) -> Seen:
        began = time.monotonic()
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Authorization": f"Bearer {self.secret}"} | (
            {} if body is None else {"Content-Type": "application/json", "If-Match": "*"}
        )
        try:
            line.request(method, path, None if body is None else json.dumps(body), headers)
            answer = line.getresponse()
            said = answer.read().decode()
            told = json.loads(said) if "json" in (answer.getheader("Content-Type") or "") else said[:500]
            return Seen(answer.status, told, time.monotonic() - began)
        except OSError as error:
            return Seen(0, str(error), time.monotonic() - began)
        finally:
            line.close()


@pytest.fixture
def world(own: Own) -> World:
    own.system.rebuilder.rebuild()
    return make_world(own.system)


@pytest.fixture
def program(own: Own, world: World) -> Program:
    port = free_port()
    own.processes.environment = {**own.environment, "BUDGET_API_PORT": str(port)}
    process = own.processes.start("api")
    made = Program(port, tokens.create(own.system.db, "test", "all", ["read", "write", "spend", "admin"], None).secret)
    until(lambda: made.asks("GET", "/healthz").status == 200, PATIENCE_S, lambda: process.said)
    return made


@pytest.mark.long
@pytest.mark.timeout(600)
def test_every_address_that_is_read_answers_in_time_beside_each_frozen_server(
    own: Own, world: World, program: Program
) -> None:
    document = program.asks("GET", "/api/openapi.json").told
    ids = ids_of(world)
    read = [path for path, method, _ in operations(document) if method == "get"]
    addresses = [re.sub(r"\{(\w+)\}", lambda found: str(ids[found[1]]), path) for path in read]
    before = {path: program.asks("GET", path).status for path in addresses}
    assert len(addresses) > 30
    assert set(before.values()) <= {200, 404, 409, 422}, before
    for which, name in NAMED.items():
        with frozen(server_of(own, which)):
            answers = {path: program.asks("GET", path) for path in addresses}
        in_time_all(answers)
        odd = {
            path: seen
            for path, seen in answers.items()
            if seen.status != before[path] and (seen.status != 503 or name not in json.dumps(seen.told))
        }
        assert odd == {}, which
        until(lambda: {path: program.asks("GET", path).status for path in addresses} == before, PATIENCE_S)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_every_kind_of_change_is_made_or_refused_in_time_beside_each_frozen_server(
    own: Own, world: World, program: Program
) -> None:
    for which, name in NAMED.items():
        with frozen(server_of(own, which)):
            answers = {
                f"{method} {path}": program.asks(method, path, body) for method, path, body in changes(world, which)
            }
        in_time_all(answers)
        refused = {what: seen for what, seen in answers.items() if not 200 <= seen.status < 300}
        odd = {what: seen for what, seen in refused.items() if seen.status != 503 or name not in json.dumps(seen.told)}
        assert odd == {}, which
        if which == "jobs":
            assert refused == {}, "no change of a program needs the jobs"
        if which == "postgres":
            assert {what for what in answers if what not in refused} == {"POST /api/v1/spend", "POST /api/v1/holds"}
        until(
            lambda: all(program.asks("GET", f"/api/v1/{each}").status == 200 for each in ("brands", "limits")),
            PATIENCE_S,
        )
        until(lambda: counted(program, world.campaign), PATIENCE_S)


def counted(program: Program, campaign: int) -> bool:
    return program.asks("POST", "/api/v1/spend", {"campaign_id": campaign, "amount": "0.01"}).status == 200


def changes(world: World, which: str) -> list[tuple[str, str, Any]]:
    """One change of each kind, with names of its own for each server."""
    brand, campaign = f"/api/v1/brands/{world.brand}", f"/api/v1/campaigns/{world.campaign}"
    later = {"hot": "2031-01-01T00:00Z", "jobs": "2031-03-01T00:00Z", "postgres": "2031-05-01T00:00Z"}[which]
    return [
        ("POST", "/api/v1/spend", {"campaign_id": world.campaign, "amount": "0.01"}),
        ("POST", "/api/v1/holds", {"campaign_id": world.campaign, "amount": "0.01", "ttl": 60, "hold_id": which}),
        ("POST", "/api/v1/brands", {"name": f"Beside {which}", "daily_budget": "5"}),
        ("PATCH", brand, {"daily_budget": {"hot": "61", "jobs": "62", "postgres": "63"}[which]}),
        ("POST", f"{brand}/pause", {}),
        ("POST", f"{brand}/resume", {}),
        ("POST", "/api/v1/campaigns", {"brand_id": world.brand, "name": f"Beside {which}"}),
        ("PATCH", campaign, {"daily_budget": {"hot": "51", "jobs": "52", "postgres": "53"}[which]}),
        ("POST", f"{campaign}/pause", {}),
        ("POST", f"{campaign}/resume", {}),
        ("POST", "/api/v1/operations", {"action": "pause", "ids": {"brands": [world.evil]}}),
        ("POST", "/api/v1/limits", {"brand_id": world.brand, "period": "daily", "change": "set:7", "at": later, "until": later.replace("-01T", "-02T")}),
        ("POST", "/api/v1/curves", {"name": f"beside-{which}", "points": [{"time": "24:00", "share": 1_000_000}]}),
        ("POST", "/api/v1/tokens", {"name": f"beside {which}", "scopes": ["read"]}),
        ("POST", "/api/v1/users", {"name": f"Bea {which}", "role": "viewer", "password": "a passphrase of hers"}),
    ]  # fmt: skip


def in_time_all(answers: dict[str, Seen]) -> None:
    slow = {what: seen.took_s for what, seen in answers.items() if not in_time(seen.took_s, LIMIT_S)}
    assert slow == {}


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
