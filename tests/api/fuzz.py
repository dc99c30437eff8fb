"""`make api-fuzz`: requests made at random from the OpenAPI document, right ones and wrong ones, on real servers.

No answer may be a 5xx, every refusal is application/problem+json, and every answer is one of those in the document. It prints its seed.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any, Final

import click
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.transport.requests import REQUESTS_TRANSPORT

from api.app import create_api
from api.problems import TYPE
from benchmarks import size
from benchmarks.embedded import servers
from engine.client.sync import BudgetClient
from engine.domain.tokens import SCOPES
from engine.ledger import tokens
from engine.wiring import System
from tests.api.conftest import Caller, Loop

DOCUMENTED: Final = [status_code_conformance, content_type_conformance, response_schema_conformance]
_PARTS: Final = ("method", "url", "headers", "params", "data", "json", "cookies")
PATIENT_MS: Final = 30_000
"""A slow machine is no fault of the API."""


def fuzz(system: System, examples: int, seeded: int, only: str = "") -> Counter[int]:
    """How many answers had each status. Raises AssertionError with the request of the first bad one."""
    client = BudgetClient.from_url(system.settings.redis_url, PATIENT_MS, busy_poll_us=0)
    app = create_api(system, client)
    secrets = [new_token(system)]
    brand = system.manage.create_brand("Fuzzed", 10**9, None, None, "fuzz").row.id
    campaign = system.manage.create_campaigns(brand, ["Fuzzed"], "fuzz")[0].id
    there = {
        "brand_id": brand,
        "campaign_id": campaign,
        "no": 1,
        "operation_id": 1,
        "limit_id": 1,
        "user_id": 1,
        "webhook_id": 1,
    }
    statuses: Counter[int] = Counter()
    schema = schemathesis.openapi.from_wsgi("/api/openapi.json", app)
    loop, by_loop = Loop(system, app), 0
    assert Caller(loop, secrets[0]).post("/spend", None).status == 415  # from now on it knows the token
    try:
        for found in schema.get_all_operations():
            operation = found.ok()
            ways = (
                [None, loop]
                if operation.method.upper() == "POST" and loop.quick.way_of(operation.full_path)
                else [None]
            )
            by_loop += (len(ways) - 1) * (only in operation.label)
            for way in ways if only in operation.label else []:
                for mode in GenerationMode:
                    _each(operation, mode, there, (system, secrets), examples, seeded, statuses, way)
        assert loop.taken or not by_loop or examples < 20, "the event loop answered nothing itself"
    finally:
        loop.close()
        client.close()
    return statuses


def new_token(system: System) -> str:
    """A token that may do everything."""
    return tokens.create(system.db, "fuzz", "fuzz", SCOPES, None).secret


def _each(
    operation: Any, mode: GenerationMode, there: dict[str, int], known_as: tuple[System, list[str]], examples: int, seeded: int,
    statuses: Counter[int], way: Loop | None,
) -> None:  # fmt: skip
    """way: the event loop behind its door; None for a thread."""
    system, secrets = known_as

    @seed(seeded)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(case=operation.as_strategy(mode), known=st.booleans())
    def one(case: Any, known: bool) -> None:
        if known:
            # Ids at random lead nowhere; these are of a brand that is there.
            spends = case.body.get("spends") if isinstance(case.body, dict) else None
            for part in (case.path_parameters, case.body, *(spends if isinstance(spends, list) else ())):
                if isinstance(part, dict):
                    part |= {name: id_ for name, id_ in there.items() if name in part}
        headers = {"Authorization": f"Bearer {secrets[-1]}"}
        if way is None:
            answer = case.call(headers=headers)
            status, kind, text = answer.status_code, answer.headers["content-type"][0], answer.text
            documented(case, answer)
        else:
            status, kind, text = _by_the_loop(case, headers, way)
        if status == 401:
            # It revoked its own token.
            secrets.append(new_token(system))
        statuses[status] += 1
        said = f"{case.method} {case.formatted_path} {case.query!r} {case.headers!r} {case.body!r}: {text[:500]}"
        assert status < 500, said
        assert status < 400 or kind == TYPE, said

    try:
        one()
    except Unsatisfiable:
        pass  # nothing can be wrong with a request that has no part


def documented(case: Any, answer: Any) -> None:
    """Raises where the document has no such answer."""
    case.validate_response(answer, checks=DOCUMENTED)


def _plain(case: Any, headers: dict[str, str]) -> dict[str, Any]:
    """A case as `requests` takes it."""
    parts = REQUESTS_TRANSPORT.serialize_case(case, base_url="http://localhost", headers=headers)
    return {name: part for name, part in parts.items() if name in _PARTS}


def _by_the_loop(case: Any, given: dict[str, str], way: Loop) -> tuple[int, str, str]:
    """The status, type and text of an answer."""
    sent = requests.Request(**_plain(case, given)).prepare()
    body = sent.body.encode() if isinstance(sent.body, str) else sent.body
    path = (sent.url or "").removeprefix("http://localhost")
    # The way adds the length itself, and a header that comes twice is for a thread.
    headers = {name: value for name, value in sent.headers.items() if name.lower() != "content-length"}
    answer = way.open(path, sent.method or "", body, headers)
    return answer.status_code, answer.content_type or "", answer.get_data(as_text=True)


@click.command()
@click.option("--examples", default=100, show_default=True, help="Requests of each kind for each operation.")
@click.option("--seed", "seeded", type=int, help="The same requests again.")
@click.option("--only", default="", help="Operations whose method and path hold this.")
def main(examples: int, seeded: int | None, only: str) -> None:
    """Requests at random; exit 1 where one gets a 5xx."""
    seeded = random.SystemRandom().randrange(1 << 31) if seeded is None else seeded
    click.echo(f'seed {seeded}; the same again: make api-fuzz ARGS="--examples {examples} --seed {seeded}"')
    with servers() as urls, size.fresh(urls) as system:
        statuses = fuzz(system, examples, seeded, only)
    for status, count in sorted(statuses.items()):
        click.echo(f"{status}  {count:>8,}")


if __name__ == "__main__":
    main()
