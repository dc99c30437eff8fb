"""A picture of every page in light, in dark and on a phone, for people to look at: in build/pictures, or BUDGET_PICTURES.

What a machine can see is checked beside each: nothing scrolls sideways or is cut off, one head, and no name that somebody typed is code.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from flask import Flask
from playwright.sync_api import Page, expect
from sqlalchemy import text

from engine.domain.money import MICROS, format_micros
from engine.domain.pacing import NO_PACING, Pacing
from engine.domain.passwords import digest_of
from engine.doorbell import enqueue_now
from engine.job_table import BY_NAME
from engine.ledger import users
from engine.settings import LOGIN_ALWAYS
from engine.wiring import System
from tests.processes.conftest import Processes
from tests.processes.conftest import processes as processes  # noqa: PLC0414
from tests.web.answers import ANSWERS, NO_ANSWER
from tests.web.gallery import LOGIN, NOT_PAGES, PAGES, SECRET, World, every_page, make_world
from web import create_app

FOLDER: Final = Path(os.environ.get("BUDGET_PICTURES") or Path(__file__).resolve().parents[2] / "build" / "pictures")
WIDE: Final = {"width": 1280, "height": 900}
WAYS: Final[dict[str, dict[str, Any]]] = {
    "light": {"viewport": WIDE, "color_scheme": "light"},
    "dark": {"viewport": WIDE, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
}
SIDEWAYS: Final = """() => [
    ...(document.documentElement.scrollWidth > Math.min(window.innerWidth, screen.width) ? ["the page scrolls sideways"] : []),
    ...[...document.querySelectorAll("table")].filter(t => t.offsetWidth > t.parentElement.clientWidth + 1 && getComputedStyle(t.parentElement).overflowX === "visible")
        .map(t => "cut table: " + t.innerText.slice(0, 40)),
    ...[...document.querySelectorAll("button, a[role=button], th, td, label, .chip")].filter(e => e.checkVisibility() && !e.closest('.visually-hidden') && getComputedStyle(e).overflowX !== "visible" && e.scrollWidth > e.clientWidth + 1)
        .map(e => "cut text: " + e.innerText.slice(0, 40)),
    ...(document.querySelectorAll("h1").length === 1 ? [] : ["it has not one h1"]),
    ...(document.querySelector("main script:not([src]), .toast script") ? ["a script of somebody's name"] : []),
]"""


@pytest.fixture
def app(ready: System) -> Iterator[Flask]:
    """The console with a login."""
    plain = ready.settings
    ready.settings = replace(plain, login=LOGIN_ALWAYS)
    yield create_app(ready)
    ready.settings = plain


@pytest.fixture
def world(ready: System) -> World:
    return make_world(ready)


def test_every_address_that_shows_a_page_is_in_the_gallery(app: Flask) -> None:
    shown = {rule.endpoint for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())}
    assert (PAGES.keys() - {""}) | NOT_PAGES.keys() | {LOGIN} == shown
    assert not PAGES.keys() & NOT_PAGES.keys()


def test_every_form_s_answer_is_in_the_gallery(app: Flask) -> None:
    asked = {rule.endpoint for rule in app.url_map.iter_rules() if "POST" in (rule.methods or ())}
    assert ANSWERS.keys() | NO_ANSWER.keys() == asked
    assert not ANSWERS.keys() & NO_ANSWER.keys()


def take(page: Page, way: str, name: str) -> list[str]:
    """Keeps a picture; returns what is wrong with the page."""
    folder = FOLDER / way
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}.png", full_page=True)
    return list(page.evaluate(SIDEWAYS))


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_every_page_has_its_picture_and_nothing_on_it_is_cut_off(
    opened: Callable[..., Page], address: str, world: World, way: str
) -> None:
    page = opened("/login", reduced_motion="reduce", **WAYS[way])
    wrong = {"login": take(page, way, "login")}
    world.enter(page.context, address)
    for name, path in every_page(world).items():
        page.goto(path)
        wrong[name] = take(page, way, name)
    assert {name: what for name, what in wrong.items() if what} == {}


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_every_form_s_answer_has_its_picture_and_nothing_on_it_is_cut_off(
    opened: Callable[..., Page], address: str, world: World, way: str
) -> None:
    page = opened("/login", reduced_motion="reduce", **WAYS[way])
    world.enter(page.context, address)
    wrong = {}
    for answers in ANSWERS.values():
        for name, ask in answers.items():
            ask(page, world)
            wrong[name] = take(page, way, f"answers/{name}")
    assert {name: what for name, what in wrong.items() if what} == {}


TEAM: Final = (
    ("Aurora Coffee", "Europe/Berlin", 40, 900, 94, "even"),
    ("Bergamo Bikes", "Europe/Rome", 12, 250, 103, "even"),
    ("Cobalt Bank", "America/New_York", 5000, 90000, 88, None),
    ("Dahlia Cosmetics", "America/Sao_Paulo", 30, 800, None, None),
    ("Elbe Travel", "Asia/Tokyo", 260, 4000, 71, "even"),
    ("Fjord Outdoor", "America/Los_Angeles", 80, 2000, 109, "ahead"),
    ("Garnet Games", "Asia/Kolkata", 60, 1500, 99, "even"),
    ("Harbour Insurance", "Australia/Sydney", 25, 600, 96, None),
    ("Indigo Streaming", "Pacific/Auckland", 400, 9000, 101, "even"),
)
"""For the picture of README: name, zone, budgets of a day and a month, spent in per cent of what an even day has by now (None: all of its
budget), pacing. Their days began at different hours, so that it looks the same whenever it is taken.
"""


@pytest.mark.long
def test_the_first_page_has_a_picture_for_the_readme(
    ready: System, processes: Processes, opened: Callable[..., Page], address: str
) -> None:
    for args in (
        ("worker", "--queue", "persist"),
        ("worker", "--queue", "jobs"),
        ("worker", "--queue", "verify"),
        ("scheduler",),
    ):
        processes.start(*args)
    for name, zone, daily, monthly, share, pacing in TEAM:
        _plan(ready, name, zone, daily, monthly, share, pacing)
    ready.status.refresh(ready.persister.drain_all().changed_brands)
    enqueue_now(ready.jobs_redis, BY_NAME["verify"])
    users.create(ready.db, "test", "Ada", "admin", None, digest_of(SECRET))
    page = opened("/login", viewport={"width": 1280, "height": 760}, reduced_motion="reduce", color_scheme="light")
    page.fill("[name=actor]", "Ada")
    page.fill("[name=password]", SECRET)
    page.click("main button[type=submit]")
    expect(page.locator("#budgets tbody tr")).to_have_count(len(TEAM))
    expect(page.locator("#parts li")).to_have_count(0, timeout=120_000)
    expect(page.locator("#fresh-words")).to_contain_text("live")
    page.screenshot(path=FOLDER / "readme.png", full_page=True)
    assert page.evaluate(SIDEWAYS) == []


def _plan(
    system: System, name: str, zone: str, daily: int, monthly: int, share: int | None, pacing: str | None
) -> None:
    """A brand of the picture with its campaigns, spends and the last 24 hours."""
    row = system.manage.create_brand(
        name, daily * MICROS, monthly * MICROS, None, "Ada", Pacing(pacing) if pacing else NO_PACING, zone
    ).row
    campaigns = [one.id for one in system.manage.create_campaigns(row.id, ["Search", "Video", "Display"], "Ada")]
    view = system.overview.brand(row.id, alone=True)
    passed, length = row.zones.clock.time_of_day(view.now_ms)
    spent = daily * MICROS if share is None else daily * MICROS * passed // length * share // 100
    for number, campaign in enumerate(campaigns):
        system.client.record_spend(campaign, format_micros(spent * (5, 3, 2)[number] // 10 + (share is None)))
    if name == "Cobalt Bank":
        system.manage.pause_campaign(campaigns[2], "Ada")
    with system.db.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO brand_minute (day, brand_id, at, spend_micros) SELECT (at AT TIME ZONE :zone)::date, :brand, at,"
                " greatest(0, :micros * (1.2 + sin((extract(hour FROM at AT TIME ZONE :zone) - 9) / 3.9) + 0.3 * sin(extract(epoch FROM at) / 5000)))"
                " FROM generate_series(date_trunc('hour', now()) - interval '23 hours', now() - interval '1 hour', interval '10 minutes') AS at"
            ),
            {"zone": zone, "brand": row.id, "micros": daily * MICROS // 200},
        )
