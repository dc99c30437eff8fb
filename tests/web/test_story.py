"""A buyer's days in a real browser, on the engine's own processes: from the first admin to a webhook that was killed and came again.

Each chapter goes on where the one before ended, so they are one test.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy import text

from engine.domain.money import MICROS
from engine.wiring import System
from tests.flows.test_webhooks import due_now, receiving
from tests.patience import PATIENCE_S
from tests.ports import free_port
from tests.processes.conftest import Processes, until
from tests.processes.conftest import processes as processes  # noqa: PLC0414  # fixtures are used by their names

SECRET: Final = "a passphrase of hers"
BRANDS: Final = 60


@dataclass
class Console:
    """The engine's processes, and browsers of people who are logged in."""

    system: System
    address: str
    browser: Browser
    contexts: list[BrowserContext]

    def enter(self, name: str) -> Page:
        """Somebody's own browser, logged in."""
        context = self.browser.new_context(base_url=self.address, accept_downloads=True)
        self.contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        page.goto("/")
        page.fill("[name=actor]", name)
        page.fill("[name=password]", SECRET)
        page.click("main button[type=submit]")
        expect(page.locator("header .who")).to_contain_text(name)
        return page


@pytest.fixture
def console(ready: System, environment: dict[str, str], processes: Processes, browser: Browser) -> Iterator[Console]:
    """The first admin is made by the command, as README says."""
    made = subprocess.run(
        [sys.executable, "-m", "engine", "user", "create", "Ada", "--role", "admin", "--password-stdin"],
        input=f"{SECRET}\n", text=True, capture_output=True, check=False, cwd=Path(__file__).parents[2], env=_with(environment),
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    processes.environment = {**environment, "BUDGET_WEB_PORT": str(port), "BUDGET_WEBHOOK_PRIVATE": "1"}
    for args in (("web",), ("worker", "--queue", "persist"), ("worker", "--queue", "jobs"), ("scheduler",)):
        processes.start(*args)
    until(lambda: _answers(port), PATIENCE_S, processes.said)
    found = Console(ready, f"http://127.0.0.1:{port}", browser, [])
    yield found
    for context in found.contexts:
        context.close()


def _with(environment: dict[str, str]) -> dict[str, str]:
    return {**os.environ, **environment}


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.mark.long
def test_a_buyer_plans_spends_stops_raises_pauses_imports_and_is_alerted(console: Console, tmp_path: Path) -> None:
    ada = console.enter("Ada")
    brand_id, morning, evening = a_brand_and_two_campaigns_by_keyboard(console, ada)
    an_operator_of_one_brand_sees_no_other(console, ada, brand_id)
    the_chart_moves_and_a_forecast_stands(console, ada, brand_id, morning)
    it_stops_at_the_budget_and_is_raised_in_place(console, ada, brand_id, morning)
    one_change_is_followed_from_the_feed_to_the_journal(console, ada, brand_id, morning)
    fifty_over_two_pages_are_paused_and_taken_back(console, ada)
    a_table_is_imported_exported_and_imported_again(console, ada, brand_id, evening, tmp_path)
    a_webhook_is_killed_and_comes_again(console, ada, morning, tmp_path)


def a_brand_and_two_campaigns_by_keyboard(console: Console, page: Page) -> tuple[int, int, int]:
    """Without the mouse from the first key on: forms by Tab, the week by arrows."""
    keys = page.keyboard
    page.locator("a", has_text="Create the first brand").focus()
    keys.press("Enter")
    page.wait_for_url("**/brands/new")
    _type(page, "name", "Nordlicht")
    _type(page, "daily_budget", "10")
    keys.press("Enter")
    page.wait_for_url("**/campaigns/new")
    _type(page, "name", "Morning")
    keys.press("Enter")
    expect(page.locator(".toast")).to_contain_text("Campaign Morning created.")
    assert page.url.endswith("?tab=campaigns"), "back at the brand, not on another list"
    page.locator("main a", has_text="New campaign").focus()
    keys.press("Enter")
    page.wait_for_url("**/campaigns/new")
    _type(page, "name", "Evening")
    page.focus("input[name=mode]:checked") if page.locator("input[name=mode]:checked").count() else page.focus(
        "input[name=mode][value=always]"
    )
    while page.evaluate("document.activeElement.value") != "grid":
        keys.press("ArrowDown")
    _tab_to(page, "th[data-day=sat] button")
    keys.press("Space")
    _tab_to(page, '#week input[tabindex="0"]')
    for key in ("ArrowDown", "ArrowDown", "Space", "Shift+ArrowDown"):
        keys.press(key)
    keys.press("Enter")
    expect(page.locator(".toast").last).to_contain_text("Campaign Evening created.")
    one, two = console.system.catalog.campaigns()
    assert (one.name, one.schedule.always, two.name) == ("Morning", True, "Evening")
    assert two.schedule.to_json() == [
        {"days": ["sat"], "start_time": "00:00", "end_time": "24:00"},
        {"days": ["mon"], "start_time": "01:00", "end_time": "02:00"},
    ] or two.schedule.to_json() == [
        {"days": ["sat"]}, {"days": ["mon"], "start_time": "01:00", "end_time": "02:00"},
    ], two.schedule.to_json()  # fmt: skip
    return one.brand_id, one.id, two.id


def _type(page: Page, field: str, value: str) -> None:
    _tab_to(page, f"#{field}")
    page.keyboard.press("Control+a")
    page.keyboard.type(value)


def _tab_to(page: Page, selector: str) -> None:
    """Presses Tab until that element has the focus, as a person without a mouse does."""
    for _ in range(120):
        if page.evaluate("s => document.activeElement.matches(s)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} is not reached by Tab")


def an_operator_of_one_brand_sees_no_other(console: Console, ada: Page, brand_id: int) -> None:
    for number in range(BRANDS):
        made = console.system.manage.create_brand(f"Ostwind {number:02}", 5 * MICROS, None, None, "Mia")
        console.system.manage.create_campaigns(made.row.id, [f"Wind {number:02}"], "Mia")
    ada.goto("/people/new")
    ada.fill("#name", "Lea")
    ada.fill("#password", SECRET)
    ada.check("text=Operator: changes brands and campaigns")
    ada.check("text=These brands only")
    ada.fill("#brands", "Nordlicht")
    ada.click("text=Create user")
    expect(ada.locator(".toast")).to_contain_text("User Lea created.")
    lea = console.enter("Lea")
    expect(lea.locator("#budgets tbody tr")).to_have_count(1)
    expect(lea.locator("#totals")).to_contain_text("1 brand")
    lea.fill("#q", "wind")
    expect(lea.locator("#none")).to_contain_text("No brand and no campaign matches.")
    for path in ("/", "/status", "/activity", "/alerts", "/changes", "/catalog.csv", "/budgets.csv"):
        answer = lea.request.get(path)
        assert answer.status == 200 and "Ostwind" not in answer.text() and "Wind 0" not in answer.text(), path
    other = brand_id + 1
    for path in (
        f"/brands/{other}",
        f"/campaigns/{other << 16 | 1}",
        f"/brands/{other}/edit",
        f"/brands/{other}/notes",
    ):
        assert lea.request.get(path).status == 404, path
    assert lea.request.get("/people").status == 403
    lea.goto("/")
    lea.context.close()


def the_chart_moves_and_a_forecast_stands(console: Console, page: Page, brand_id: int, campaign: int) -> None:
    with console.system.db.begin() as connection:
        connection.execute(
            text("INSERT INTO campaign_hour (day, brand_id, campaign_id, hour, spend_micros, spends)"
                 " SELECT (now() AT TIME ZONE 'UTC')::date - back, :brand, :campaign, hour, 300000, 3"
                 " FROM generate_series(1, 12) AS back, generate_series(0, 23) AS hour"),
            {"brand": brand_id, "campaign": campaign},
        )  # fmt: skip
    page.goto(f"/brands/{brand_id}")
    before = page.locator("#by-now").inner_text()
    console.system.client.record_spend(campaign, "4", event_id="win-1")
    expect(page.locator("#by-now")).to_contain_text("4.00")
    assert page.locator("#by-now").inner_text() != before, "the chart moved without anybody reloading it"
    expect(page.locator("#heading")).to_contain_text("Forecast:")
    expect(page.locator("#heading")).to_contain_text("at the end of today")
    assert page.locator("svg.course .spent, svg .spent").count() > 0


def it_stops_at_the_budget_and_is_raised_in_place(console: Console, page: Page, brand_id: int, campaign: int) -> None:
    page.goto("/?q=nordlicht&sort=-today")
    console.system.client.record_spend(campaign, "6.5", event_id="win-2")
    row = page.locator(f"#b-{brand_id}")
    expect(row).to_contain_text("stopped by budget")
    assert console.system.client.try_spend(campaign, "0.01").outcome == "refused"
    page.click(f"#b-edit-{brand_id}")
    page.fill(f"#edit-daily-{brand_id}", "25")
    expect(page.locator(f"#follows-{brand_id}")).to_contain_text("Daily budget 10.00 → 25.00.")
    expect(page.locator(f"#follows-{brand_id}")).to_contain_text(re.compile("starts? again"))
    page.click("text=Save budgets")
    expect(page.locator(".toast")).to_contain_text("daily budget 10.00 → 25.00")
    assert "q=nordlicht" in page.url and "sort=-today" in page.url, "still on the list as it was filtered"
    expect(row).to_contain_text("running")
    assert console.system.client.try_spend(campaign, "0.5", event_id="win-3").outcome == "accepted"


def one_change_is_followed_from_the_feed_to_the_journal(
    console: Console, page: Page, brand_id: int, campaign: int
) -> None:
    """Who raised it, what that let through, and the line that says so in the journal and in the log."""
    page.goto("/activity?kind=change&brand=Nordlicht&who=Ada")
    line = page.locator(".activity li", has_text="10.00 → 25.00")
    expect(line).to_contain_text("by Ada")
    line.get_by_role("link").first.click()
    page.wait_for_url("**/operations/*")
    expect(page.locator("main")).to_contain_text("Nordlicht")
    page.goto(f"/campaigns/{campaign}")
    expect(page.locator("#spends")).to_contain_text("win-3")
    with console.system.db.connect() as connection:
        found = connection.execute(
            text("SELECT amount_micros FROM spend_log WHERE event_id = 'win-3' AND campaign_id = :id"), {"id": campaign}
        ).scalars()
        assert list(found) == [MICROS // 2]
        trail = "SELECT actor, old, new FROM catalog_change WHERE entity = 'brand' AND entity_id = :id AND field = 'daily_budget' ORDER BY id DESC LIMIT 1"
        actor, old, new = connection.execute(text(trail), {"id": brand_id}).one()
    assert (actor, float(old), float(new)) == ("Ada", 10.0, 25.0)


def fifty_over_two_pages_are_paused_and_taken_back(console: Console, page: Page) -> None:
    page.goto("/?q=ostwind")
    expect(page.locator("#budgets tbody tr")).to_have_count(50)
    boxes = page.locator("#budgets tbody input[name=brand]")
    for place in range(10, 50):
        boxes.nth(place).check()
    page.click("#next")
    expect(page.locator("#budgets tbody tr")).to_have_count(10)
    page.check("#tick-page")
    expect(page.locator("#bulk-count")).to_have_text("50 selected")
    page.click("#bulk button[type=submit]")
    page.wait_for_url("**/operations/*")
    expect(page.locator(".verdict")).to_contain_text("Nothing is changed yet. 50 rows will change.")
    expect(page.locator("main")).to_contain_text("50 campaigns of 50 brands stop at once.")
    page.fill("#note", "Wind turbines are away")
    page.get_by_role("button", name="Pause 50 brands").click()
    expect(page.locator(".toast")).to_contain_text("50 rows changed.")
    paused = [brand for brand in console.system.catalog.brands() if brand.paused]
    assert len(paused) == 50
    console.system.manage.resume_brand(paused[3].id, "Boris", "I need this one")
    page.locator(".toast").get_by_role("button", name="Undo").click()
    page.wait_for_url("**/operations/*")
    expect(page.locator("main")).to_contain_text("it was changed since, last by Boris")
    expect(page.locator(".verdict")).to_contain_text("49 rows will change, 1 row left out")
    page.locator("#apply button").click()
    expect(page.locator(".toast").last).to_contain_text("49 rows changed.")
    assert not any(brand.paused for brand in console.system.catalog.brands())


def a_table_is_imported_exported_and_imported_again(
    console: Console, page: Page, brand_id: int, evening: int, folder: Path
) -> None:
    first = folder / "new.csv"
    first.write_text(
        "kind,name,brand,daily_budget,schedule\ncampaign,Noon,Nordlicht,3,always\ncampaign,Dusk,Nordlicht,a lot,always\n"
        "campaign,Dawn,Nordlicht,2,whenever\n",
        encoding="utf-8",
    )
    _import(page, first)
    expect(page.locator(".verdict")).to_contain_text("1 row will change")
    wrong = page.locator("section", has=page.locator("#wrong"))
    expect(wrong).to_contain_text("'a lot' is not a decimal amount")
    expect(wrong).to_contain_text("whenever")
    page.locator("#apply button").click()
    expect(page.locator(".toast")).to_contain_text("1 row changed.")
    page.goto("/import")
    with page.expect_download() as download:
        page.click("text=Export the table as CSV")
    exported = folder / "catalog.csv"
    download.value.save_as(exported)
    rows = list(csv.DictReader(io.StringIO(exported.read_text(encoding="utf-8-sig"))))
    for row in rows:
        if row["kind"] == "brand" and row["name"] in ("Nordlicht", "Ostwind 00"):
            row["daily_budget"] = "33"
    console.system.manage.update_brand(brand_id, "Boris", daily_budget_micros=26 * MICROS)
    _write(exported, rows)
    _import(page, exported)
    expect(page.locator(".verdict")).to_contain_text("1 row will change, 1 row left out")
    expect(page.locator("main")).to_contain_text("changed since")
    page.locator("#apply button").click()
    expect(page.locator(".toast")).to_contain_text("1 row changed.")
    budgets = {brand.name: brand.daily_budget_micros for brand in console.system.catalog.brands()}
    assert (budgets["Nordlicht"], budgets["Ostwind 00"]) == (26 * MICROS, 33 * MICROS)
    assert console.system.catalog.campaign(evening).name == "Evening"


def _write(file: Path, rows: list[dict[str, str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as out:
        table = csv.DictWriter(out, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def _import(page: Page, file: Path) -> None:
    page.goto("/import")
    page.set_input_files("input[type=file]", file)
    page.click("text=Show what will change")
    page.wait_for_url("**/operations/*")


def a_webhook_is_killed_and_comes_again(console: Console, page: Page, campaign: int, folder: Path) -> None:
    """The receiver counts a message and dies before it answers; the second time it is there, and counts it once by its id."""
    port, file = free_port(), folder / "counted"
    page.goto("/alerts/webhooks/new")
    page.fill("#name", "Duty phone")
    page.fill("#url", f"http://127.0.0.1:{port}/hook")
    page.click("text=Create webhook")
    secret = page.locator("main code").inner_text()
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/=]+", secret)
    console.system.client.record_spend(campaign, "15.2", event_id="win-4")
    with receiving(file, secret, port, die=True):
        _run(page, "alerts")
        until(lambda: _messages(console), PATIENCE_S)
        _run(page, "webhooks")
        until(lambda: file.exists() and file.read_text(encoding="utf-8"), PATIENCE_S)
    page.goto("/alerts")
    expect(page.locator("main")).to_contain_text("100 % reached")
    until(lambda: all(tries >= 1 for _, tries in _messages(console)), PATIENCE_S)
    page.goto("/alerts/webhooks")
    expect(page.locator("main")).to_contain_text("waits, 1 try")
    due_now(console.system)
    with receiving(file, secret, port):
        _run(page, "webhooks")
        until(lambda: all(state == "delivered" for state, _ in _messages(console)), PATIENCE_S)
    page.goto("/alerts/webhooks")
    expect(page.locator("main")).to_contain_text("delivered")
    counted = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    # By the hour a forecast was a warning before, which ends when the money is gone.
    assert {"alert.opened"} <= {what for _, what in counted} <= {"alert.opened", "alert.ended"}, "each was signed right"
    assert len(counted) > len({number for number, _ in counted}), "one came twice, under one id"


def _messages(console: Console) -> list[tuple[str, int]]:
    with console.system.db.connect() as connection:
        return [(row.state, row.tries) for row in connection.execute(text("SELECT state, tries FROM webhook_delivery"))]


def _run(page: Page, job: str) -> None:
    """Runs a job now, from the page of the system."""
    page.goto("/system")
    page.click(f"#run-{job}")
    expect(page.locator(".toast")).to_contain_text("queue")
