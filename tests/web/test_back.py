"""Whoever changes something is back on the page where he opened the form, with its filter, and never on a stranger's page."""

from __future__ import annotations

import re

import pytest

from engine.wiring import System
from tests.web.conftest import HERE, Visitor, brand_with

LISTS = ["/", "/?q=aur&tab=running&sort=-today", "/status?open=1", "/activity?brand=1", "/alerts"]


def opened_on(visitor: Visitor, path: str, before: str) -> tuple[str, str]:
    """Opens a form from a page: the address that it keeps, and its CSRF token."""
    answer = visitor.client.get(path, base_url=HERE, headers={"Referer": before})
    page = answer.get_data(as_text=True)
    (kept,), (token, *_) = (re.findall(rf'name="{name}"[^>]* value="([^"]*)"', page) for name in ("back", "csrf_token"))
    return kept.replace("&amp;", "&"), token


def sent(visitor: Visitor, path: str, **fields: str) -> str:
    answer = visitor.client.post(path, base_url=HERE, data=fields, headers={"Origin": HERE, "Referer": f"{HERE}{path}"})
    assert answer.status_code == 302, answer.get_data(as_text=True)
    return answer.headers["Location"]


def test_a_form_leads_back_to_the_list_or_page_on_which_it_was_opened(ready: System, visitor: Visitor) -> None:
    brand_id, (campaign,) = brand_with(ready, daily=5_000_000)
    pages = [*LISTS, f"/brands/{brand_id}?tab=campaigns", f"/campaigns/{campaign}"]
    for number, before in enumerate(pages, 1):
        for path, fields in (
            (f"/brands/{brand_id}/edit", {"name": "Aurora", "daily_budget": str(number), "monthly_budget": "none"}),
            (f"/campaigns/{campaign}/edit", {"name": f"Dawn {number}", "mode": "always"}),
        ):
            kept, token = opened_on(visitor, path, f"{HERE}{before}")
            assert kept == before
            row = ready.catalog.brand(brand_id) if "brands" in path else ready.catalog.campaign(campaign)
            given = {**fields, "csrf_token": token, "back": kept, "expected_version": str(row.version)}
            assert sent(visitor, path, **given) == before


@pytest.mark.parametrize(
    "before",
    [
        "",
        "https://example.com/",
        "https://example.com/brands/1",
        f"{HERE}/login",
        f"{HERE}//example.com",
        f"{HERE}/rq/",
    ],
)
def test_from_nowhere_or_a_strangers_page_a_form_leads_to_the_brand(
    ready: System, visitor: Visitor, before: str
) -> None:
    brand_id, _ = brand_with(ready, daily=5_000_000)
    path = f"/brands/{brand_id}/edit"
    kept, token = opened_on(visitor, path, before)
    assert kept == ""
    fields = {"name": "Aurora", "daily_budget": "6", "monthly_budget": "none", "csrf_token": token}
    for forged in (
        "//example.com",
        "https://example.com/",
        "/\\example.com",
        "/brands/1\r\nX: y",
        "javascript:alert(1)",
    ):
        fields["expected_version"] = str(ready.catalog.brand(brand_id).version)
        assert sent(visitor, path, **fields, back=forged) == f"/brands/{brand_id}"


def test_an_archived_campaign_leads_to_its_brand_and_not_to_its_own_page(ready: System, visitor: Visitor) -> None:
    brand_id, (campaign,) = brand_with(ready)
    path = f"/campaigns/{campaign}/archive"
    kept, token = opened_on(visitor, path, f"{HERE}/campaigns/{campaign}")
    assert sent(visitor, path, csrf_token=token, back=kept) == f"/brands/{brand_id}"
