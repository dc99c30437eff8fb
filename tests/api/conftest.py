"""The API on real servers: a ready system, its app, and callers with tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

import pytest
from flask.testing import FlaskClient
from flask_openapi.openapi import OpenAPI

from api import guard, spending
from api.app import create_api
from engine.ledger import tokens
from engine.wiring import System


class Told(NamedTuple):
    """An answer."""

    status: int
    document: Any
    headers: dict[str, str]


class Caller:
    """A program with a token, or without one."""

    def __init__(self, client: FlaskClient, secret: str | None) -> None:
        self._client = client
        self.secret = secret

    def __call__(self, method: str, path: str, body: Any = None, data: bytes | None = None, **headers: str) -> Told:
        """headers: with _ for -, as in Idempotency_Key."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.secret is not None:
            given.setdefault("Authorization", f"Bearer {self.secret}")
        if body is not None or data is not None:
            given.setdefault("Content-Type", "application/json")
        sent = data if data is not None else None if body is None else json.dumps(body).encode()
        answer = self._client.open(
            f"/api/v1{path}" if path[:5] != "/api/" else path, method=method, data=sent, headers=given
        )
        text = answer.get_data(as_text=True)
        return Told(answer.status_code, json.loads(text) if "json" in (answer.content_type or "") else text, dict(answer.headers))  # fmt: skip

    def post(self, path: str, body: Any, **headers: str) -> Told:
        return self("POST", path, body, **headers)

    def get(self, path: str, **headers: str) -> Told:
        return self("GET", path, **headers)


@pytest.fixture
def app(ready: System) -> Iterator[OpenAPI]:
    made = create_api(ready)
    yield made
    made.extensions[spending.CLIENT].close()


Calls = Callable[..., Caller]


@pytest.fixture
def calls(ready: System, app: OpenAPI) -> Calls:
    """Makes callers: calls("spend", "read", brands=[1])."""

    def made(*scopes: str, brands: Collection[int] | None = None) -> Caller:
        secret = tokens.create(ready.db, "test", "program", scopes, brands).secret if scopes else None
        return Caller(app.test_client(), secret)

    return made


def known(app: OpenAPI) -> Any:
    return app.extensions[guard.KNOWN]
