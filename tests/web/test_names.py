"""Names that are code to a browser or a spreadsheet, of brands, campaigns, notes, rules, webhooks, users and tokens: text on every page and in every table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from html import unescape

import pytest
from flask import Flask

from engine.ledger import sessions, users
from engine.settings import LOGIN_ALWAYS
from engine.wiring import System
from tests.web.conftest import HERE, Visitor
from tests.web.gallery import EVIL, FORMULA, World, every_page, make_world
from web import create_app


@pytest.fixture
def app(ready: System) -> Iterator[Flask]:
    plain = ready.settings
    ready.settings = replace(plain, login=LOGIN_ALWAYS)
    yield create_app(ready)
    ready.settings = plain


@pytest.fixture
def world(ready: System) -> World:
    return make_world(ready)


@pytest.fixture
def ada(app: Flask, world: World) -> Visitor:
    client = app.test_client()
    with client.session_transaction(base_url=HERE) as cookie:
        db = world.system.db
        cookie["token"] = sessions.begin(db, "Ada", "192.0.2.7", users.named(db, "Ada").id)
    return Visitor(client)


FORMULAS = {
    "status_paused",
    "campaign_evil",
    "activity_notes",
    "activity_people",
    "notes_campaign",
    "webhooks",
    "people",
}


@pytest.mark.long
def test_no_page_runs_a_name_and_no_table_computes_one(ada: Visitor, world: World) -> None:
    evil, formula = set(), set()
    for name, path in every_page(world).items():
        status, page = ada.get(path)
        assert status in (200, 302, 400, 404), (path, status)
        assert EVIL not in page and "<script>alert" not in page, path
        if EVIL in unescape(page):
            evil.add(name)
        if FORMULA in unescape(page):
            formula.add(name)
    # Others have it by the hour: what is among the newest, or sounds an alarm.
    assert len(evil) > 15 and formula >= FORMULAS, (evil, formula)
    tables = ["/budgets.csv", "/catalog.csv", "/activity.csv", f"/brands/{world.evil}/spend.csv", f"/campaigns/{world.evil_campaign}/spend.csv"]  # fmt: skip
    for path in tables:
        status, table = ada.get(path)
        assert status == 200, path
        rows = list(csv.reader(io.StringIO(table.removeprefix("\ufeff"))))
        assert len(rows) > 1, path
        assert any(EVIL in cell or FORMULA in cell for row in rows for cell in row), path
        for row in rows:
            # A figure may be below zero; everything else that a spreadsheet would compute has a quote before it.
            assert not [cell for cell in row if cell[:1] in "=+@\t\r" and cell], (path, row)
