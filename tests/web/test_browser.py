"""The page in a real browser: it keeps itself fresh, keeps what a person was doing, and breaks none of its own policy.

Where Chromium is not installed these skip; with BUDGET_REQUIRE_BROWSER=1 that is a failure.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, Route, expect
from werkzeug.serving import make_server

from engine.domain.periods import HOUR_MS
from engine.wiring import System
from tests.patience import PATIENCE_S
from tests.web.chromium import contrast, luminance
from tests.web.conftest import brand_with


def no_sideways(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def cut_tables(page: Page) -> list[str]:
    """The first words of each table that is wider than the room around it."""
    return list(
        page.evaluate(
            """[...document.querySelectorAll("table")].filter(t => t.offsetWidth > t.parentElement.clientWidth + 1)
            .map(t => t.innerText.slice(0, 40))"""
        )
    )


def test_it_refreshes_itself_and_keeps_focus_opened_rows_and_what_is_typed(
    ready: System, opened: Callable[..., Page]
) -> None:
    ids = [brand_with(ready, f"Brand {i}", daily=10_000_000, campaigns=2) for i in range(5)]
    brand_id, (campaign, _) = ids[2]
    page = opened("/status")
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
    page = opened("/status")
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
    page = opened("/status")
    page.click(f"#c-switch-{campaign}")
    page.wait_for_selector("text=It stays off until somebody resumes it.")
    assert page.inner_text(f"#campaign-{campaign} .why").startswith("paused: switched off by a person")
    page.click(f"#c-switch-{campaign}")
    expect(page.locator(f"#campaign-{campaign} .why")).to_have_text("active")
    assert ready.catalog.campaign(campaign).enabled


def in_view(page: Page, selector: str) -> bool:
    """Whether an element is inside the part of the page that the person sees."""
    box, size = page.locator(selector).bounding_box(), page.viewport_size
    return box is not None and size is not None and box["y"] >= 0 and box["y"] + box["height"] <= size["height"]


def test_what_a_button_did_is_told_where_the_person_is_and_stays_until_it_is_dismissed(
    ready: System, opened: Callable[..., Page]
) -> None:
    _, campaigns = brand_with(ready, campaigns=40)
    page = opened("/status", viewport={"width": 390, "height": 844})
    page.locator(f"#c-switch-{campaigns[-1]}").click()
    page.wait_for_selector(".toast:has-text('It stays off until somebody resumes it.')")
    assert page.evaluate("scrollY") > 0
    assert in_view(page, ".toast")
    clock = page.inner_text(".totals .clock")
    for _ in range(2):
        expect(page.locator(".totals .clock")).not_to_have_text(clock)
        clock = page.inner_text(".totals .clock")
    assert in_view(page, ".toast")
    assert page.get_attribute("#toasts", "aria-live") == "polite"
    page.click(".toast >> text=Dismiss")
    expect(page.locator(".toast")).to_have_count(0)


@pytest.mark.parametrize("scripts", [True, False])
def test_what_a_form_saved_is_told_in_view_with_and_without_scripts(
    ready: System, opened: Callable[..., Page], scripts: bool
) -> None:
    for i in range(12):
        brand_with(ready, f"Brand {i:02}", daily=5_000_000)
    brand_id = ready.catalog.brands()[-1].id
    page = opened(f"/brands/{brand_id}/edit", java_script_enabled=scripts, viewport={"width": 1280, "height": 700})
    page.fill("#daily_budget", "12")
    page.click("text=Save brand")
    page.wait_for_url(f"**/brands/{brand_id}")
    expect(page.locator(".toast")).to_contain_text("Brand 11 saved: daily budget 5.00 → 12.00.")
    assert in_view(page, ".toast")
    page.click(".toast >> text=Dismiss")
    expect(page.locator(".toast")).to_have_count(0)


def test_a_filter_or_a_fold_that_is_changed_while_a_poll_is_in_flight_is_not_dropped(
    ready: System, opened: Callable[..., Page]
) -> None:
    ids = [brand_with(ready, f"Brand {i}")[0] for i in range(5)]
    held: list[Route] = []

    def hold_polls(route: Route) -> None:
        held.append(route) if "q=" not in route.request.url and "open=" not in route.request.url else route.continue_()

    page = opened("/status")
    page.route("**/live*", hold_polls)
    with page.expect_request("**/live"):
        pass
    page.fill("#q", "brand 3")
    expect(page.locator("article.brand")).to_have_count(1)
    page.fill("#q", "")
    with page.expect_request("**/live"):
        pass
    page.goto("/status")
    with page.expect_request("**/live"):
        pass
    page.click(f"#fold-{ids[2]}")
    expect(page.locator(f"#campaigns-{ids[2]}")).to_be_visible()
    assert held
    page.unroute_all(behavior="ignoreErrors")


def test_a_brand_is_made_without_a_terminal_and_errors_stand_beside_their_field(
    ready: System, opened: Callable[..., Page]
) -> None:
    page = opened("/status")
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
    page.click("text=On some days, from one time to another")
    page.check("text=Monday")
    page.fill("#start_time", "22:00")
    page.fill("#end_time", "06:00")
    page.click("button[type=submit]:has-text('Create campaign')")
    page.wait_for_url("**/brands/*?tab=campaigns")
    assert page.inner_text("h1") == "<script>alert(1)</script>"
    assert page.locator("main script").count() == 0
    (campaign,) = ready.catalog.campaigns()
    assert campaign.schedule.words() == "Mon 22:00-06:00 (UTC)"


def test_the_job_pages_work_under_the_policy_of_every_page_and_lead_back(
    ready: System, opened: Callable[..., Page]
) -> None:
    page = opened("/rq/")
    expect(page.locator("#queues")).to_contain_text("No queues.")
    page.get_by_role("link", name="Status", exact=True).click()
    expect(page.locator("#begin")).to_be_visible()


def test_on_a_phone_nothing_scrolls_sideways(ready: System, opened: Callable[..., Page]) -> None:
    brand_id, (campaign, _) = brand_with(
        ready, "A brand with quite a long name of many words " + "x" * 90, daily=9 * 10**15, campaigns=2
    )
    ready.client.record_spend(campaign, "999999.999999")
    ready.persister.drain_all()
    hour = ready.live.now_ms() // HOUR_MS * HOUR_MS
    ready.manage.add_flight(campaign, "ann", None, hour + 50 * HOUR_MS + 1, 9 * 10**15, False)
    for path in (
        f"/status?open={brand_id}",
        f"/campaigns/{campaign}/flights",
        "/changes",
        "/brands/new",
        f"/brands/{brand_id}/edit",
        f"/campaigns/{campaign}/edit",
        f"/brands/{brand_id}/archive",
        f"/brands/{brand_id}/spend",
    ):
        page = opened(path, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
        assert no_sideways(page), path
        assert cut_tables(page) == [], path
        page.set_viewport_size({"width": 1200, "height": 900})
        assert cut_tables(page) == [], path
    page = opened("/status", viewport={"width": 360, "height": 740})
    assert page.is_visible(f"#c-switch-{campaign}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_follow_the_viewer_and_text_stands_out(
    ready: System, opened: Callable[..., Page], scheme: str
) -> None:
    _, (campaign,) = brand_with(ready, daily=1_000_000)
    ready.client.record_spend(campaign, "3")
    page = opened("/status", color_scheme=scheme)
    assert (luminance(page, "html", "backgroundColor") < 0.2) == (scheme == "dark")
    for selector in (".past", ".chip.off", ".why", ".meter .rest", ".parts a", ".empty", "h2"):
        assert contrast(page, selector) >= 4.5, selector


def test_the_viewers_own_time_stands_beside_utc(ready: System, opened: Callable[..., Page]) -> None:
    brand_with(ready)
    page = opened("/status", timezone_id="Asia/Kolkata")
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
    page.goto(f"http://127.0.0.1:{server.server_port}/status")
    assert not page.is_visible("#lost")
    server.shutdown()
    server.server_close()
    thread.join()
    page.wait_for_selector("#lost:visible", timeout=PATIENCE_S * 1000)
    assert page.is_visible("article.brand")
    context.close()
