"""The console on real servers: a ready system, its app, and clients that behave like a browser."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient

from engine.domain import passwords
from engine.wiring import System
from tests.web.chromium import address as address  # noqa: PLC0414  # fixtures are used by their names
from tests.web.chromium import browser as browser  # noqa: PLC0414
from tests.web.chromium import chromium as chromium  # noqa: PLC0414
from tests.web.chromium import opened as opened  # noqa: PLC0414
from web import create_app

PASSWORD = "tests-only-password"
HERE = "http://localhost"
_TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


class Visitor:
    """A client that sends the CSRF token of its page and an Origin, as a browser does."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        answer = self.client.get(path, base_url=HERE, headers=headers)
        return answer.status_code, answer.get_data(as_text=True)

    def post(self, path: str, page: str | None = None, **fields: object) -> tuple[int, str]:
        """Posts a form from `page` (by default the path itself) and follows redirects."""
        token = _TOKEN.search(self.get(page or path)[1])
        assert token is not None, f"{page or path} has no form"
        answer = self.client.post(
            path,
            base_url=HERE,
            data={"csrf_token": token[1], **fields},
            headers={"Origin": HERE},
            follow_redirects=True,
        )
        return answer.status_code, answer.get_data(as_text=True)


@pytest.fixture(scope="session", autouse=True)
def _passwords_are_quick() -> Iterator[None]:
    """A password takes a millisecond: `test_passwords.py` has what it takes else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_LOG_N", 7)
        yield


@pytest.fixture
def app(ready: System) -> Flask:
    """The console without a password."""
    return create_app(ready)


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    return Visitor(app.test_client())


@pytest.fixture
def guarded(ready: System) -> Iterator[Callable[[], Visitor]]:
    """Makes visitors of a console with a password. None is logged in."""
    plain = ready.settings
    ready.settings = replace(plain, admin_password=PASSWORD)
    guarded_app = create_app(ready)
    yield lambda: Visitor(guarded_app.test_client())
    ready.settings = plain


def brand_with(
    system: System, name: str = "Aurora", daily: int | None = None, campaigns: int = 1
) -> tuple[int, list[int]]:
    """Creates a published brand; returns its id and its campaigns' ids."""
    brand = system.manage.create_brand(name, daily, None, None, "test").row
    made = system.manage.create_campaigns(brand.id, [f"{name} {i}" for i in range(1, campaigns + 1)], "test")
    return brand.id, [c.id for c in made]


def spend_now(system: System, campaign_id: int, amount: str) -> None:
    """Records a spend, persists it and refreshes the statuses."""
    system.client.record_spend(campaign_id, amount)
    system.status.refresh(system.persister.drain_all().changed_brands)
