"""The page in a real browser: it keeps itself fresh, keeps what a person was doing, and breaks none of its own policy.

Where Chromium is not installed these skip; with BUDGET_REQUIRE_BROWSER=1 that is a failure.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, expect, sync_playwright
from werkzeug.serving import make_server

from engine.wiring import System
from tests.patience import PATIENCE_S
from tests.web.conftest import brand_with

expect.set_options(timeout=PATIENCE_S * 1000)

ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CHROMIUM = os.environ.get("BUDGET_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        program = CHROMIUM or playwright.chromium.executable_path
        if not Path(program).is_file():
            _none("no Chromium is installed (apt: chromium, or `playwright install chromium`)")
        launched = playwright.chromium.launch(executable_path=program, args=ARGS)
        yield launched
        launched.close()


def _none(why: str) -> NoReturn:
    if os.environ.get("BUDGET_REQUIRE_BROWSER") == "1":
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture
def address(app: Flask) -> Iterator[str]:
    """The console on a port of its own."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


@pytest.fixture
def opened(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """Opens pages; at the end none may have written an error (a broken policy is one) to its console."""
    contexts, errors = [], []

    def open_page(path: str = "/", **options: Any) -> Page:
        context = browser.new_context(base_url=address, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        page.on(
            "console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [error for error in errors if "422" not in error] == []


def no_sideways(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def test_it_refreshes_itself_and_keeps_focus_opened_rows_and_what_is_typed(
    ready: System, opened: Callable[..., Page]
) -> None:
    ids = [brand_with(ready, f"Brand {i}", daily=10_000_000, campaigns=2) for i in range(5)]
    brand_id, (campaign, _) = ids[2]
    page = opened()
    page.click(f"#fold-{brand_id}")
    page.wait_for_selector(f"#campaign-{campaign}")
    assert f"open={brand_id}" in page.url
    page.focus(f"#c-switch-{campaign}")
    page.evaluate(f"document.getElementById('brand-{brand_id}').kept = 'same node'")
    ready.client.record_spend(campaign, "10")
    expect(page.locator(f"#brand-{brand_id} .meters")).to_contain_text("used up")
    assert page.evaluate("document.activeElement.id") == f"c-switch-{campaign}"
    assert page.evaluate(f"document.getElementById('brand-{brand_id}').kept") == "same node"
    assert page.is_visible(f"#campaign-{campaign}")
    assert page.inner_text(f"#campaign-{campaign} .why").startswith("paused: daily budget used up")
    page.reload()
    assert page.is_visible(f"#campaign-{campaign}")
    page.click(f"#fold-{brand_id}")
    page.wait_for_selector(f"#campaign-{campaign}", state="detached")
    assert "open=" not in page.url


def test_the_filter_works_as_one_types_and_stays_in_the_address(ready: System, opened: Callable[..., Page]) -> None:
    for i in range(5):
        brand_with(ready, f"Brand {i}")
    page = opened()
    page.fill("#q", "brand 3")
    page.wait_for_selector("text=1 brand of 5 matches")
    assert "q=brand+3" in page.url
    with page.expect_response(lambda answer: "q=brand" in answer.url):
        """The page asks by itself again."""
    assert page.input_value("#q") == "brand 3"
    assert page.locator("article.brand").count() == 1
    page.click("text=Show all")
    expect(page.locator("article.brand")).to_have_count(5)
    assert page.input_value("#q") == ""


def test_pause_and_resume_happen_on_the_spot(ready: System, opened: Callable[..., Page]) -> None:
    _, (campaign,) = brand_with(ready)
    page = opened()
    page.click(f"#c-switch-{campaign}")
    page.wait_for_selector("text=It stays off until somebody resumes it.")
    assert page.inner_text(f"#campaign-{campaign} .why").startswith("paused: switched off by a person")
    page.click(f"#c-switch-{campaign}")
    expect(page.locator(f"#campaign-{campaign} .why")).to_have_text("active")
    assert ready.catalog.campaign(campaign).enabled


def test_a_brand_is_made_without_a_terminal_and_errors_stand_beside_their_field(
    ready: System, opened: Callable[..., Page]
) -> None:
    page = opened()
    page.click("text=Create the first brand")
    page.fill("#name", "<script>alert(1)</script>")
    page.fill("#daily_budget", "ten")
    page.click("button[type=submit]:has-text('Create brand')")
    error = page.locator("#daily_budget-error")
    assert "is not a decimal amount" in error.inner_text()
    field, below = page.locator("#daily_budget").bounding_box(), error.bounding_box()
    assert field is not None and below is not None
    assert 0 <= below["y"] - field["y"] - field["height"] < 30
    assert page.evaluate("document.activeElement.id") == "daily_budget"
    assert page.input_value("#daily_budget") == "ten"
    page.fill("#daily_budget", "10")
    page.click("button[type=submit]:has-text('Create brand')")
    page.fill("#name", "Night")
    page.click("text=On some days or hours")
    page.check("text=Monday")
    page.fill("#start_time", "22:00")
    page.fill("#end_time", "06:00")
    page.click("button[type=submit]:has-text('Create campaign')")
    page.wait_for_selector("article.brand")
    assert page.inner_text("article.brand h2") == "<script>alert(1)</script>"
    assert page.locator("article.brand script").count() == 0
    (campaign,) = ready.catalog.campaigns()
    assert campaign.schedule.words() == "Mon 22:00-06:00 (UTC)"


def test_the_job_pages_work_under_their_own_policy_and_lead_back(ready: System, opened: Callable[..., Page]) -> None:
    page = opened("/rq/")
    expect(page.locator("#queues")).to_contain_text("No queues.")
    page.click("text=Budget engine status")
    expect(page.locator("#begin")).to_be_visible()


def test_on_a_phone_nothing_scrolls_sideways(ready: System, opened: Callable[..., Page]) -> None:
    brand_id, (campaign, _) = brand_with(
        ready, "A brand with quite a long name of many words " + "x" * 90, daily=9 * 10**15, campaigns=2
    )
    ready.client.record_spend(campaign, "999999.999999")
    ready.persister.drain_all()
    for path in (
        "/",
        "/changes",
        "/brands/new",
        f"/brands/{brand_id}/edit",
        f"/campaigns/{campaign}/edit",
        f"/brands/{brand_id}/archive",
        f"/brands/{brand_id}/spend",
    ):
        page = opened(path, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
        assert no_sideways(page), path
    page = opened("/", viewport={"width": 360, "height": 740})
    assert page.is_visible(f"#c-switch-{campaign}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_follow_the_viewer_and_text_stands_out(
    ready: System, opened: Callable[..., Page], scheme: str
) -> None:
    _, (campaign,) = brand_with(ready, daily=1_000_000)
    ready.client.record_spend(campaign, "3")
    page = opened("/", color_scheme=scheme)
    assert (_luminance(page, "html", "backgroundColor") < 0.2) == (scheme == "dark")
    for selector in (".past", ".chip.off", ".why", ".meter .rest", ".parts a", ".empty", "h2"):
        assert _contrast(page, selector) >= 4.5, selector


def test_the_viewers_own_time_stands_beside_utc(ready: System, opened: Callable[..., Page]) -> None:
    brand_with(ready)
    page = opened("/", timezone_id="Asia/Kolkata")
    text = page.inner_text(".totals .clock")
    times = re.findall(r"(\d\d):(\d\d):\d\d", text)
    assert len(times) == 2
    minutes = [int(hour) * 60 + int(minute) for hour, minute in times]
    assert (minutes[1] - minutes[0]) % 1440 == 330
    expect(page.locator(".totals .clock")).not_to_have_text(text)
    assert page.inner_text(".totals .clock").count("here") == 1


def test_a_lost_server_is_said_and_the_figures_stay(browser: Browser, app: Flask, ready: System) -> None:
    brand_with(ready)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{server.server_port}/")
    assert not page.is_visible("#lost")
    server.shutdown()
    server.server_close()
    thread.join()
    page.wait_for_selector("#lost:visible", timeout=PATIENCE_S * 1000)
    assert page.is_visible("article.brand")
    context.close()


def _luminance(page: Page, selector: str, what: str) -> float:
    value = page.evaluate("([s, w]) => getComputedStyle(document.querySelector(s))[w]", [selector, what])
    return _luminance_of([float(part) for part in re.findall(r"[\d.]+", value)[:3]])


def _luminance_of(rgb: list[float]) -> float:
    linear = [c / 255 / 12.92 if c / 255 <= 0.03928 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(page: Page, selector: str) -> float:
    """WCAG's contrast of the first such element's text against the nearest background that is painted."""
    front, back = page.evaluate(
        """s => { let e = document.querySelector(s); const front = getComputedStyle(e).color;
        while (e && getComputedStyle(e).backgroundColor === 'rgba(0, 0, 0, 0)') e = e.parentElement;
        return [front, getComputedStyle(e).backgroundColor]; }""",
        selector,
    )
    lights = sorted(
        _luminance_of([float(part) for part in re.findall(r"[\d.]+", color)[:3]]) for color in (front, back)
    )
    return (lights[1] + 0.05) / (lights[0] + 0.05)
