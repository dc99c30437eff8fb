"""A budget that is changed in its row of the list: what follows is said before, an undo exists, and nobody's change is overwritten unseen."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape

import pytest
from playwright.sync_api import Page, expect

from engine.domain.money import MICROS
from engine.wiring import System
from tests.web.conftest import HERE, Visitor, brand_with, spend_now
from tests.web.test_scope import Place, place  # noqa: F401  # a fixture

EVIL = "<script>alert(1)</script>"
UNDO = re.compile(r'action="(/operations/\d+/undo)"')


def words(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def budgets(system: System, brand_id: int) -> tuple[int | None, int | None]:
    brand = system.catalog.brand(brand_id)
    return brand.daily_budget_micros, brand.monthly_budget_micros


def version(page: str) -> str:
    (found,) = re.findall(r'form="budget" name="version" value="(\d+)"', page)
    return str(found)


def test_what_follows_is_said_before_anything_is_changed(ready: System, visitor: Visitor) -> None:
    brand_id, (campaign, _) = brand_with(ready, EVIL, 10 * MICROS, campaigns=2)
    spend_now(ready, campaign, "8")

    def follows(daily: str, monthly: str = "none") -> str:
        return words(visitor.get(f"/budgets/{brand_id}/preview?daily={daily}&monthly={monthly}")[1])

    assert follows("5") == ("Daily budget 10.00 → 5.00. 2 campaigns stop at once. It is used up: 8.00 is spent today.")
    assert follows("50").startswith("Daily budget 10.00 → 50.00. No campaign starts or stops by it.")
    assert "The daily budget is above the monthly one" in follows("50", "20")
    assert follows("10") == "Nothing changes."
    assert "is not a decimal amount" in follows("1e3")
    assert budgets(ready, brand_id) == (10 * MICROS, None)
    spend_now(ready, campaign, "4")
    ready.overview.brands()
    assert "2 campaigns start again." in follows("none")


def test_both_budgets_are_saved_in_one_operation_and_its_undo_gives_them_back(ready: System, visitor: Visitor) -> None:
    brand_id, _ = brand_with(ready, "Aurora", 10 * MICROS)
    page = visitor.get(f"/?edit={brand_id}&q=aur")[1]
    _, page = visitor.post(f"/budgets/{brand_id}/change", "/", version=version(page), daily="25", monthly="500.5")
    assert budgets(ready, brand_id) == (25 * MICROS, 500_500_000)
    assert "Aurora saved: daily budget 10.00 → 25.00; monthly budget no limit → 500.50." in words(page)
    undo = UNDO.search(page)
    assert undo is not None
    visitor.post(undo[1], "/")
    assert budgets(ready, brand_id) == (10 * MICROS, None)


def test_the_second_editor_is_told_who_was_first_overwrites_nothing_and_keeps_what_he_typed(
    ready: System, visitor: Visitor
) -> None:
    brand_id, _ = brand_with(ready, "Aurora", 10 * MICROS)
    opened_at = version(visitor.get(f"/?edit={brand_id}")[1])
    ready.manage.update_brand(brand_id, "boris", daily_budget_micros=20 * MICROS)
    status, page = visitor.post(f"/budgets/{brand_id}/change", "/", version=opened_at, daily="30", monthly="none")
    assert status == 200 and budgets(ready, brand_id) == (20 * MICROS, None)
    assert "boris changed Aurora meanwhile. Nothing was saved." in words(page)
    assert "It has now: daily budget 20.00, monthly budget no limit." in words(page)
    assert 'name="daily" value="30"' in page and "now: 20.00" in words(page)
    assert "Daily budget 20.00 → 30.00." in words(page)
    visitor.post(f"/budgets/{brand_id}/change", "/", version=version(page), daily="30", monthly="none")
    assert budgets(ready, brand_id) == (30 * MICROS, None), "whoever was told may go on"


@pytest.mark.parametrize(("field", "typed"), [("daily", ""), ("daily", "1e3"), ("monthly", "-5"), ("version", "x")])
def test_what_cannot_be_read_is_named_and_nothing_is_saved(
    ready: System, visitor: Visitor, field: str, typed: str
) -> None:
    brand_id, _ = brand_with(ready, "Aurora", 10 * MICROS)
    good = {"version": str(ready.catalog.brand(brand_id).version), "daily": "12", "monthly": "none"}
    status, page = visitor.post(f"/budgets/{brand_id}/change", "/", **(good | {field: typed}))
    assert status == 200 and "Nothing was saved." in words(page)
    assert budgets(ready, brand_id) == (10 * MICROS, None)


def test_without_scripts_a_button_shows_what_follows(ready: System, visitor: Visitor) -> None:
    brand_id, _ = brand_with(ready, "Aurora", 10 * MICROS)
    _, page = visitor.post(f"/budgets/{brand_id}/change", "/", look="1", version="1", daily="40", monthly="none")
    assert "Daily budget 10.00 → 40.00." in words(page) and 'name="daily" value="40"' in page
    assert budgets(ready, brand_id) == (10 * MICROS, None)


def test_who_does_not_see_a_brand_or_only_reads_changes_no_budget(place: Place) -> None:  # noqa: F811
    olga, vera = place.visitor("Olga", "operator", [place.mine]), place.visitor("Vera", "viewer", None)
    for client, brand_id, status in ((olga, place.other, 404), (olga, place.mine, 200), (vera, place.mine, 403)):
        assert client.get(f"/budgets/{brand_id}/preview?daily=5", base_url=HERE).status_code == status
        posted = Visitor(client).post(f"/budgets/{brand_id}/change", "/me", daily="5", monthly="none", version="1")
        assert posted[0] == status
    assert 'name="daily"' not in vera.get(f"/?edit={place.mine}", base_url=HERE).get_data(as_text=True)


def test_the_row_says_what_follows_as_one_types_and_a_refresh_keeps_what_is_typed(
    ready: System, opened: Callable[..., Page]
) -> None:
    brand_id, (campaign,) = brand_with(ready, "Aurora", 10 * MICROS)
    page = opened("/", viewport={"width": 390, "height": 844})
    page.click(f"#b-edit-{brand_id}")
    page.fill(f"#edit-daily-{brand_id}", "25")
    expect(page.locator(f"#follows-{brand_id}")).to_contain_text("Daily budget 10.00 → 25.00.")
    spend_now(ready, campaign, "3")
    expect(page.locator(f"#b-{brand_id} .today")).to_contain_text("3.00")
    assert page.input_value(f"#edit-daily-{brand_id}") == "25"
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.click("text=Save budgets")
    expect(page.locator(".toast")).to_contain_text("daily budget 10.00 → 25.00")
    assert page.locator("tr.edit").count() == 0
    assert budgets(ready, brand_id)[0] == 25 * MICROS
