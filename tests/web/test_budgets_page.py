"""The list of budgets: what is in each tab, how it is searched, sorted and exported, and what it costs however many look at it."""

from __future__ import annotations

import csv
import io
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Page, expect

from engine.views.board import Board
from engine.views.budget_board import FRESH_S, BudgetBoard
from engine.wiring import System
from tests.patience import PATIENCE_S
from tests.web.conftest import HERE, Visitor, brand_with, spend_now
from web import create_app


def names(page: str) -> list[str]:
    """The brands of the list, in its order."""
    return re.findall(r'<a id="b-to-\d+"[^>]*>(.*?)</a>', page)


def tabs(page: str) -> dict[str, int]:
    return {tab: int(n) for tab, n in re.findall(r'id="tab-(\w+)".*?class="n">([\d,]+)<', page)}


def row(page: str, brand_id: int) -> str:
    """The words of a brand's row."""
    (html,) = re.findall(rf'<tr id="b-{brand_id}".*?</tr>', page, re.DOTALL)
    html = re.sub(r'(?s)<td class="tools">.*?</td>', "", html)
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


@pytest.fixture
def brands(ready: System) -> dict[str, int]:
    """A brand in each state."""
    made: dict[str, int] = {}
    made["Aurora"], (first, *_) = brand_with(ready, "Aurora", daily=10_000_000, campaigns=3)
    made["Bolt"], (second, *_) = brand_with(ready, "Bolt", daily=10_000_000, campaigns=2)
    made["Cirrus"], (third,) = brand_with(ready, "Cirrus")
    made["Delta"], (fourth,) = brand_with(ready, "Delta", daily=100_000_000)
    made["Empty"] = ready.manage.create_brand("Empty", None, None, None, "test").row.id
    made["Fjord"], _ = brand_with(ready, "Fjord")
    ready.manage.archive_brand(made["Fjord"], "test")
    ready.manage.pause_campaign(third, "test")
    ready.client.record_spend(first, "4")
    ready.client.record_spend(second, "12")
    spend_now(ready, fourth, "95.5")
    return made


def test_a_brand_is_in_the_tab_of_its_state_and_the_tabs_have_their_counts(
    brands: dict[str, int], visitor: Visitor
) -> None:
    status, page = visitor.get("/")
    assert status == 200
    assert tabs(page) == {
        "attention": 2,
        "all": 5,
        "running": 2,
        "budget": 1,
        "schedule": 0,
        "paused": 1,
        "archived": 1,
    }
    assert names(page) == ["Aurora", "Bolt", "Cirrus", "Delta", "Empty"]
    assert names(visitor.get("/?tab=attention")[1]) == ["Bolt", "Delta"]
    assert names(visitor.get("/?tab=budget")[1]) == ["Bolt"]
    assert names(visitor.get("/?tab=paused")[1]) == ["Cirrus"]
    assert names(visitor.get("/?tab=archived")[1]) == ["Fjord"]
    assert names(visitor.get("/?tab=attention&only=near")[1]) == ["Delta"]
    assert "No brand is here now." in visitor.get("/?tab=schedule")[1]
    assert "stopped by budget daily budget 12.00 / 10.00" in row(page, brands["Bolt"])
    assert "used up" in row(page, brands["Bolt"])
    assert "90 % and more" in row(page, brands["Delta"])
    assert row(page, brands["Aurora"]).endswith("3/3")
    assert row(page, brands["Bolt"]).endswith("0/2")


def test_the_first_page_says_why_campaigns_stand_still_and_how_the_parts_are(ready: System, visitor: Visitor) -> None:
    whole, _ = brand_with(ready, "Aurora", campaigns=2)
    some, (first, _, _) = brand_with(ready, "Bolt", campaigns=3)
    ready.manage.pause_brand(whole, "anna", "wrong creative")
    ready.manage.pause_campaign(first, "anna")
    page = visitor.get("/")[1]
    assert "paused brand paused" in row(page, whole) and row(page, whole).endswith("0/2")
    assert "running 1 switched off" in row(page, some) and row(page, some).endswith("2/3")
    assert names(visitor.get("/?tab=paused")[1]) == ["Aurora"]
    assert 'id="part-worker"' in page and "/status#health" in page, "none runs in this test"
    assert 'id="part-redis"' not in page, "a part that is well is no news to who buys ads"


def test_a_brand_is_paused_from_its_row_seen_at_once_and_resumed_by_the_undo_of_the_message(
    ready: System, visitor: Visitor
) -> None:
    brand_id, (campaign,) = brand_with(ready, "Aurora")
    assert f'formaction="/brands/{brand_id}/pause"' in visitor.get("/")[1]
    page = visitor.post(f"/brands/{brand_id}/pause", "/")[1]
    assert "Aurora paused. It stays so until somebody resumes it." in page and "1 campaign stops at once." in page
    assert ready.client.try_spend(campaign, "1").reasons == ("brand_paused",)
    page = visitor.get("/budgets/live")[1]
    assert "paused brand paused" in row(page, brand_id), "figures of before the click are not shown after it"
    assert f'formaction="/brands/{brand_id}/resume"' in page
    made = ready.operations.of_row(ready.catalog.brand(brand_id))
    visitor.post(f"/operations/{made}/undo", "/")
    assert "running" in row(visitor.get("/budgets/live")[1], brand_id)
    page = visitor.post(f"/brands/{brand_id}/pause", "/status")[1]
    assert f'formaction="/brands/{brand_id}/resume"' in page
    page = visitor.get(f"/brands/{brand_id}")[1]
    assert "Paused as a whole by a person" in page and f'formaction="/brands/{brand_id}/resume"' in page
    assert "Aurora resumed." in visitor.post(f"/brands/{brand_id}/resume", f"/status?open={brand_id}")[1]


def test_an_address_from_before_leads_to_what_it_showed(ready: System, visitor: Visitor) -> None:
    brand_id, (campaign,) = brand_with(ready, "Aurora")
    for old, new in (
        (f"/?open={brand_id}", f"/status?open={brand_id}"),
        ("/?cause=manual&q=a+b", "/status?cause=manual&q=a+b"),
        ("/?open=1&_external=1&_scheme=https", "/status?open=1&_external=1&_scheme=https"),
        ("/budgets?tab=paused", "/?tab=paused"),
        ("/budgets", "/"),
    ):
        answer = visitor.client.get(old, base_url=HERE)
        assert (answer.status_code, answer.headers["Location"]) == (302, new)
    assert names(visitor.get(f"/?q={campaign}")[1]) == ["Aurora"], "the id of a campaign finds its brand"


def test_without_any_brand_the_first_page_says_how_to_begin(visitor: Visitor) -> None:
    assert "Begin with a brand" in visitor.get("/")[1]


def test_the_list_is_searched_sorted_both_ways_and_totalled_over_what_is_filtered(
    brands: dict[str, int], visitor: Visitor
) -> None:
    assert names(visitor.get("/?sort=-today")[1]) == ["Delta", "Bolt", "Aurora", "Cirrus", "Empty"]
    assert names(visitor.get("/?sort=today")[1]) == ["Cirrus", "Empty", "Aurora", "Bolt", "Delta"]
    assert names(visitor.get("/?sort=-running")[1])[:2] == ["Aurora", "Delta"]
    # What has no figure comes last, either way.
    assert names(visitor.get("/?sort=pace")[1])[3:] == ["Cirrus", "Empty"]
    assert names(visitor.get("/?sort=-pace")[1])[3:] == ["Cirrus", "Empty"]
    page = visitor.get("/?q=B")[1]
    assert names(page) == ["Bolt"]
    (foot,) = re.findall(r'<tr id="totals">.*?</tr>', page, re.DOTALL)
    assert " ".join(re.sub(r"<[^>]+>", " ", foot).split()) == "1 brand 12.00 / 10.00 12.00 0/2"
    assert names(visitor.get(f"/?q={brands['Delta']}")[1]) == ["Delta"]
    assert "No brand and no campaign matches." in visitor.get("/?q=nothing")[1]
    assert 'aria-sort="descending"' in visitor.get("/?sort=-month")[1]


def test_fifty_brands_are_on_a_page_and_a_page_behind_the_last_is_the_last(ready: System, visitor: Visitor) -> None:
    for i in range(53):
        ready.manage.create_brand(f"Brand {i:02}", None, None, None, "test")
    first, second = visitor.get("/")[1], visitor.get("/?page=2")[1]
    assert (len(names(first)), len(names(second))) == (50, 3)
    assert names(first) + names(second) == [f"Brand {i:02}" for i in range(53)]
    assert "1–50 of 53" in first
    assert 'rel="next"' in first and 'rel="next"' not in second
    assert names(visitor.get("/?page=900")[1]) == names(second)


@pytest.mark.parametrize(
    ("query", "field"),
    [("tab=none", "tab"), ("sort=colour", "sort"), ("only=near.x", "only"), ("page=0", "page"), ("page=x", "page"), ("q=" + "x" * 101, "q")],
)  # fmt: skip
def test_an_address_that_cannot_be_read_is_refused_by_the_name_of_its_value(
    visitor: Visitor, query: str, field: str
) -> None:
    for path in ("/", "/budgets/live", "/budgets/poll", "/budgets.csv"):
        status, page = visitor.get(f"{path}?{query}")
        assert status == 400
        assert f"{field} " in page.casefold()


def test_the_export_has_all_of_what_is_filtered_exactly_and_no_cell_is_a_formula(
    ready: System, visitor: Visitor
) -> None:
    evil = ["=cmd()", "+1", "-1", "@SUM(A1)", "<script>alert(1)</script>", 'a "b", c']
    for name in evil:
        ready.manage.create_brand(name, 12_345_678, None, None, "test")
    brand_id, (campaign,) = brand_with(ready, "Zeta", daily=10_000_000)
    spend_now(ready, campaign, "0.000001")
    status, text = visitor.get("/budgets.csv?sort=name")
    lines = list(csv.DictReader(io.StringIO(text)))
    assert status == 200
    assert {line["name"] for line in lines} == {
        "'=cmd()", "'+1", "'-1", "'@SUM(A1)", "<script>alert(1)</script>", 'a "b", c', "Zeta",
    }  # fmt: skip
    assert lines[-1]["brand_id"] == str(brand_id)
    assert (lines[-1]["spent_today"], lines[-1]["daily_budget"], lines[-1]["monthly_budget"]) == (
        "0.000001",
        "10.000000",
        "",
    )
    assert {line["daily_budget"] for line in lines[:-1]} == {"12.345678"}
    assert [line["name"] for line in csv.DictReader(io.StringIO(visitor.get("/budgets.csv?q=zeta")[1]))] == ["Zeta"]
    page = visitor.get("/")[1]
    assert "<script>alert" not in page and "&lt;script&gt;" in page


def test_a_poll_of_what_has_not_changed_has_no_body_and_one_after_a_spend_has(
    ready: System, app: Flask, visitor: Visitor
) -> None:
    _, (campaign,) = brand_with(ready, daily=None)
    client = app.test_client()
    first = client.get("/budgets/poll", base_url=HERE)
    same = client.get("/budgets/poll", base_url=HERE, headers={"If-None-Match": first.headers["ETag"]})
    assert (same.status_code, same.data) == (304, b"")
    assert float(same.headers["Figures-Age"]) < 10
    spend_now(ready, campaign, "3.25")
    time.sleep(FRESH_S)
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        changed = client.get("/budgets/poll", base_url=HERE, headers={"If-None-Match": first.headers["ETag"]})
        if changed.status_code == 200:
            break
    assert b"3.25" in changed.data
    assert f'data-etag="{changed.headers["ETag"].strip(chr(34))}"' in visitor.get("/")[1]


class Counting:
    """The overview, with how often the board asked each server."""

    def __init__(self, overview: Any) -> None:
        self._overview = overview
        self.asked = {"cataloged": 0, "figures": 0, "joined": 0}

    def __getattr__(self, name: str) -> Any:
        if name in self.asked:
            self.asked[name] += 1
        return getattr(self._overview, name)


def test_a_brand_that_was_made_after_redis_was_asked_is_live_at_the_first_look(ready: System) -> None:
    first, _ = brand_with(ready, "First", 10_000_000)
    board = ready.budget_board
    assert [line.view.id for line in board.look().lines] == [first]
    second, _ = brand_with(ready, "Second", 10_000_000)
    board.changed()
    lines = {line.view.id: line for line in board.look(content_s=60.0).lines}
    assert set(lines) == {first, second}
    assert "unlive" not in lines[second].alerts


def test_ten_viewers_cost_what_one_does_and_nobody_costs_nothing(ready: System) -> None:
    brand_with(ready, daily=10_000_000)
    counting = Counting(ready.overview)
    board = BudgetBoard(counting, {"postgresql": "here", "redis": "here"})  # type: ignore[arg-type]
    assert [line.view.name for line in board.look().lines] == ["Aurora"]
    time.sleep(2 * FRESH_S)
    assert counting.asked == {"cataloged": 1, "figures": 1, "joined": 1}, "nobody looked"
    with ThreadPoolExecutor(10) as viewers:
        began = time.monotonic()
        while time.monotonic() - began < 2 * FRESH_S:
            assert all(viewers.map(lambda _: board.look().lines, range(10)))
        lasted = time.monotonic() - began
    assert max(counting.asked.values()) <= 1 + lasted / FRESH_S + 2


def test_a_part_is_left_alone_for_as_many_times_as_long_as_its_answer_took() -> None:
    asked = {"redis": 0, "postgresql": 0}

    def slow(name: str) -> tuple[int, bool]:
        asked[name] += 1
        time.sleep(0.05)
        return asked[name], True

    board = Board({name: partial(slow, name) for name in asked}, 1.5, 0.01, {"redis": 1000})
    until = time.monotonic() + 1
    while time.monotonic() < until:
        board.look()
        time.sleep(0.01)
    assert asked["redis"] == 1 < asked["postgresql"]


def visiting(ready: System, **urls: str) -> Iterator[Visitor]:
    lost = System(replace(ready.settings, **urls))  # type: ignore[arg-type]
    yield Visitor(create_app(lost).test_client())
    lost.close()


def test_without_redis_the_spend_is_the_logs_and_the_page_says_so(brands: dict[str, int], ready: System) -> None:
    for visitor in visiting(ready, redis_url="redis://:hush@127.0.0.1:1/0"):
        status, page = visitor.get("/")
        assert status == 200
        assert "Redis cannot be reached at" in page and "Spend is the log&#39;s" in page
        assert "hush" not in page
        assert "95.50 / 100.00" in row(page, brands["Delta"])


def test_without_postgresql_the_page_names_it_and_goes_on_with_what_it_knew(
    brands: dict[str, int], ready: System
) -> None:
    for visitor in visiting(ready, database_url="postgresql://someone:hush@127.0.0.1:1/budget"):
        status, page = visitor.get("/")
        assert status == 503
        assert "PostgreSQL is away" in page and "hush" not in page
    assert names(Visitor(create_app(ready).test_client()).get("/")[1])


def test_a_keystroke_shows_its_result_and_a_head_sorts_without_a_reload(
    brands: dict[str, int], opened: Callable[..., Page]
) -> None:
    page = opened("/")
    page.evaluate("document.body.kept = 'same page'")
    page.type("#q", "bol")
    expect(page.locator("#budgets tbody tr")).to_have_count(1, timeout=PATIENCE_S * 1000)
    assert "q=bol" in page.url
    page.fill("#q", "")
    expect(page.locator("#budgets tbody tr")).to_have_count(5, timeout=PATIENCE_S * 1000)
    page.click("#head-today")
    expect(page.locator("#budgets tbody tr").first).to_contain_text("Delta", timeout=PATIENCE_S * 1000)
    assert "sort=-today" in page.url
    page.click("#tab-budget")
    expect(page.locator("#budgets tbody tr")).to_have_count(1, timeout=PATIENCE_S * 1000)
    assert page.evaluate("document.body.kept") == "same page"
    page.reload()
    assert page.locator("#budgets tbody tr").count() == 1


def test_what_is_ticked_stays_over_pages_and_all_that_match_are_of_one_filter(
    ready: System, opened: Callable[..., Page]
) -> None:
    for i in range(52):
        ready.manage.create_brand(f"Brand {i:02}", None, None, None, "test")
    page = opened("/")
    page.locator("#budgets tbody input").first.check()
    page.click("#next")
    expect(page.locator("#budgets tbody tr")).to_have_count(2, timeout=PATIENCE_S * 1000)
    page.check("#tick-page")
    assert page.inner_text("#bulk-count") == "3 selected"
    page.select_option("#bulk-kind", "archive")
    page.click("#bulk button[type=submit]")
    expect(page.locator(".operation .verdict").first).to_contain_text("3 rows will change")
    page.goto("/?q=brand+0")
    page.check("#tick-all")
    assert page.inner_text("#bulk-count") == "All that match"
    page.fill("#q", "brand")
    expect(page.locator("#tick-all")).not_to_be_checked(timeout=PATIENCE_S * 1000)


def test_the_page_works_without_a_script_and_fits_a_phone(brands: dict[str, int], opened: Callable[..., Page]) -> None:
    page = opened("/?tab=attention", java_script_enabled=False, viewport={"width": 390, "height": 844})
    page.fill("#q", "delta")
    page.click("text=Filter")
    expect(page.locator("#budgets tbody tr")).to_have_count(1)
    assert "tab=attention" in page.url
    wide = opened("/", viewport={"width": 390, "height": 844})
    assert wide.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_who_changed_something_is_answered_a_question_of_after_it_however_young_the_last_answer_is() -> None:
    answers = iter(range(9))
    board = Board({"redis": lambda: (next(answers), True)}, 20.0, fresh_s=4.0, rests={"redis": 0})
    changed = time.monotonic()
    assert [board.look()["redis"].value for _ in range(2)] == [0, 0]
    assert board.look(since={"redis": changed})["redis"].value == 0
    assert board.look(since={"redis": time.monotonic()})["redis"].value == 1
