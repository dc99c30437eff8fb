"""Names from before the door of names, with signs that nobody can see or that turn what follows around: no page, trail or table hides them."""

from __future__ import annotations

import re
from typing import Final

import pytest
from flask import Flask
from sqlalchemy import text

from engine.domain.names import seen
from engine.wiring import System
from tests.web.conftest import HERE, Visitor, brand_with, spend_now

SIGNS: Final = "\u202e\u2066\u200b\ufeff\u00ad\u2028\u2800\u3164"
SHOWN: Final = r"\u202e\u2066\u200b\ufeff\xad\u2028\u2800\u3164"
_INPUTS: Final = re.compile(r"<input[^>]*>")


@pytest.fixture
def old_rows(ready: System) -> tuple[int, int, int]:
    """A brand, a campaign in use and an archived one whose names, and the names of who made them, hold every kind of such sign."""
    brand_id, (one, two) = brand_with(ready, daily=5_000_000, campaigns=2)
    spend_now(ready, one, "1")
    ready.manage.archive_campaign(two, "Mia")
    with ready.db.begin() as conn:
        conn.execute(text("UPDATE brand SET name = :n"), {"n": f"Br{SIGNS}and"})
        conn.execute(text("UPDATE campaign SET name = :n || ordinal"), {"n": f"Ca{SIGNS}mpaign"})
        conn.execute(text("UPDATE catalog_change SET actor = :a, old = :n, new = :n, note = :n"), {"a": f"Mi{SIGNS}a", "n": f"va{SIGNS}lue"})  # fmt: skip
    return brand_id, one, two


def test_every_page_and_the_trail_show_signs_of_old_names_as_escapes(
    app: Flask, old_rows: tuple[int, int, int]
) -> None:
    brand, one, two = old_rows
    paths = {
        "/status": "Br", f"/status?open={brand}": "Ca", "/live": "Br", "/changes": "Mi", f"/brands/{brand}/spend": "Br", f"/brands/{brand}/edit": "Br",
        f"/campaigns/{one}/edit": "Ca", f"/campaigns/{one}/archive": "Ca", f"/brands/{brand}/archive": "Br", f"/brands/{brand}/campaigns/new": "Br",
        f"/campaigns/{two}/unarchive": "Ca",
    }  # fmt: skip
    client = app.test_client()
    for path, start in paths.items():
        answer = client.get(path, base_url=HERE)
        assert answer.status_code == 200, path
        page = _INPUTS.sub("", answer.get_data(as_text=True))
        assert f"{start}{SHOWN}" in page, path
        assert not set(SIGNS) & set(page), path


def test_what_was_done_to_an_old_name_is_told_with_its_signs_shown(
    ready: System, visitor: Visitor, old_rows: tuple[int, int, int]
) -> None:
    brand, one, _ = old_rows
    for path, page in ((f"/campaigns/{one}/pause", "/status"), (f"/campaigns/{one}/archive", None), (f"/brands/{brand}/archive", None)):  # fmt: skip
        status, answer = visitor.post(path, page, name=f"Br{SIGNS}and")
        assert status in (200, 400, 409, 422), path
        assert SHOWN in answer, path
        assert not set(SIGNS) & set(_INPUTS.sub("", answer)), path


def test_saving_the_form_of_an_old_name_asks_for_another_and_never_writes_the_escape(
    ready: System, visitor: Visitor, old_rows: tuple[int, int, int]
) -> None:
    brand = old_rows[0]
    name = f"Br{SIGNS}and"
    assert f'value="{name}"' in visitor.get(f"/brands/{brand}/edit")[1], "the field holds what stands in the catalog"
    told = visitor.post(f"/brands/{brand}/edit", name=name, daily_budget="6", monthly_budget="none")[1]
    assert "RIGHT-TO-LEFT OVERRIDE (U+202E), which cannot be seen: take it out" in told
    assert ready.catalog.brand(brand).name == name


def test_letters_of_every_script_stay_as_they_are() -> None:
    for name in ("Ünïcode & Söhne", "日本語", "עברית", "हिन्दी", "<script>", "🙂", "a b c", "€ 5 — 10 %"):
        assert seen(name) == name
    assert seen("two\nlines") == r"two\x0alines"
    assert seen("two\nlines", kept="\n") == "two\nlines"
