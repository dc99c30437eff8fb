"""The first pages without a script, and every page without a mouse: whatever can be done there is done so too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from engine.domain.money import MICROS
from engine.wiring import System
from tests.flows.test_alerts import decide
from tests.web.conftest import brand_with, spend_now
from tests.web.gallery import every_page, make_world


def test_without_scripts_a_buyer_searches_edits_pauses_many_imports_and_takes_back(
    ready: System, opened: Callable[..., Page], tmp_path: Path
) -> None:
    made = {name: brand_with(ready, name, 10 * MICROS)[0] for name in ("Aurora", "Aurora too", "Borealis")}
    page = opened("/", java_script_enabled=False)
    page.fill("#q", "aurora")
    page.click("text=Filter")
    expect(page.locator("#budgets tbody tr")).to_have_count(2)
    page.click(f"#b-edit-{made['Aurora']}")
    page.fill(f"#edit-daily-{made['Aurora']}", "25")
    page.click("text=Show what follows")
    expect(page.locator(f"#follows-{made['Aurora']}")).to_contain_text("Daily budget 10.00 → 25.00.")
    page.click("text=Save budgets")
    expect(page.locator(".toast")).to_contain_text("daily budget 10.00 → 25.00")
    assert "q=aurora" in page.url and ready.catalog.brand(made["Aurora"]).daily_budget_micros == 25 * MICROS
    page.check(f"#tick-b-{made['Aurora']}")
    page.check(f"#tick-b-{made['Aurora too']}")
    page.click("#bulk button[type=submit]")
    expect(page.locator(".verdict")).to_contain_text("2 rows will change.")
    page.click("#apply button")
    assert [brand.name for brand in ready.catalog.brands() if brand.paused] == ["Aurora", "Aurora too"]
    page.locator(".toast").get_by_role("button", name="Undo").click()
    expect(page.locator(".toast")).to_contain_text("2 rows changed.")
    assert not any(brand.paused for brand in ready.catalog.brands())
    table = tmp_path / "table.csv"
    table.write_text("kind,name,brand\ncampaign,Noon,Borealis\n", encoding="utf-8")
    page.goto("/import")
    page.set_input_files("input[type=file]", table)
    page.click("text=Show what will change")
    page.click("#apply button")
    expect(page.locator(".toast")).to_contain_text("1 row changed.")
    assert "Noon" in [campaign.name for campaign in ready.catalog.campaigns(made["Borealis"])]


def test_without_scripts_an_alert_is_acknowledged_and_a_note_is_left(
    ready: System, opened: Callable[..., Page]
) -> None:
    brand_id, (campaign,) = brand_with(ready, "Aurora", 10 * MICROS)
    spend_now(ready, campaign, "9.6")
    decide(ready)
    page = opened("/alerts", java_script_enabled=False)
    page.click("text=Acknowledge >> nth=0")
    expect(page.locator("main")).to_contain_text("seen by")
    page.goto(f"/brands/{brand_id}/notes")
    page.fill("#note", "Called the client.\nThey know.")
    page.click("text=Keep note")
    expect(page.locator(".said")).to_have_text("Called the client.\nThey know.")
    page.goto(f"/brands/{brand_id}")
    for tab in ("Campaigns", "Days", "Activity", "Settings"):
        page.locator("nav.tabs").get_by_role("link", name=tab).click()
        expect(page.locator("nav.tabs [aria-current]")).to_contain_text(tab)


STOPS = """() => { const radios = new Set();
    return [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary")]
        .filter(e => !e.disabled && e.tabIndex >= 0 && e.checkVisibility({visibilityProperty: true}))
        .filter(e => e.type !== "radio" || !radios.has(e.name) && radios.add(e.name)).length; }"""


MOST = 80
"""Presses on a page: rows further down are like those above."""


A_CLOCK = 6
"""More presses on a field of a day and a time: the browser stops at each part of it, and at its calendar."""


@pytest.mark.long
def test_the_tab_key_reaches_everything_on_every_page_and_is_held_nowhere(
    ready: System, opened: Callable[..., Page], address: str
) -> None:
    world = make_world(ready)
    page = opened("/login")
    world.enter(page.context, address)
    page.add_init_script("addEventListener('focusin', e => (window.met = (window.met || new Set()).add(e.target)))")
    for name, path in every_page(world).items():
        page.goto(path)
        stops = page.evaluate(STOPS)
        page.evaluate("document.activeElement.blur(); window.met = new Set(); 0")
        clocks = page.locator("input[type=datetime-local]:visible").count()
        for _ in range(min(stops + 3, MOST) + clocks * A_CLOCK):
            page.keyboard.press("Tab")
        met = page.evaluate("window.met.size")
        # The page refreshes itself meanwhile, so a row may come or go.
        assert met >= min(stops - 2, 0.97 * stops, MOST - 4), (name, met, stops)
