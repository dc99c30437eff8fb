"""The API on real servers: a ready system, its app, and callers with tokens."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest
from flask.testing import FlaskClient
from flask_openapi.openapi import OpenAPI
from werkzeug.wrappers import Response

from api import guard, rates, spending
from api.app import create_api
from api.door import ApiDoor
from api.quick import MOST_WAITING, Quick
from engine.client.aio.client import AsyncBudgetClient
from engine.ledger import tokens
from engine.wiring import System
from tests.patience import PATIENCE_S


class Told(NamedTuple):
    """An answer."""

    status: int
    document: Any
    headers: dict[str, str]


class Loop:
    """The API behind its door, on an event loop of its own. taken: how many requests the loop answered itself."""

    def __init__(self, system: System, app: OpenAPI, timeout_ms: int = int(PATIENCE_S * 1000)) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.client = AsyncBudgetClient.from_url(system.settings.redis_url, timeout_ms, MOST_WAITING)
        self.quick = Quick(self.client, app.extensions[guard.KNOWN], app.extensions[rates.KEY])
        self.door = ApiDoor(app.wsgi_app, self.quick)
        known(app)._by_itself = True  # as where it is served: a thread refreshes them
        self.taken = 0
        asks = self.quick.answer

        async def counted(path: str, given: Any, body: bytes) -> Any:
            sent = await asks(path, given, body)
            self.taken += sent is not None
            return sent

        self.quick.answer = counted  # type: ignore[method-assign]  # it only looks on

    def open(self, path: str, method: str, data: bytes | None, headers: dict[str, str]) -> Response:
        """The answer to a request, as a test client of Flask has it."""
        return asyncio.run_coroutine_threadsafe(self._asked(path, method, data, headers), self.loop).result(PATIENCE_S)

    async def _asked(self, path: str, method: str, data: bytes | None, headers: dict[str, str]) -> Response:
        told = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        if data is not None:
            told.append((b"content-length", b"%d" % len(data)))
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": unquote(path),
            "query_string": query.encode(),
            "headers": told,
        }
        messages: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": data or b"", "more_body": False}

        async def send(message: Any) -> None:
            messages.append(message)

        await self.door(scope, receive, send)
        head, body = messages
        shown = [(name.decode().title(), value.decode()) for name, value in head["headers"]]
        return Response(body["body"], head["status"], shown)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.client.aclose(), self.loop).result(PATIENCE_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class Caller:
    """A program with a token, or without one."""

    def __init__(self, client: FlaskClient | Loop, secret: str | None) -> None:
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


@pytest.fixture
def loop(ready: System, app: OpenAPI) -> Iterator[Loop]:
    made = Loop(ready, app)
    yield made
    made.close()


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
