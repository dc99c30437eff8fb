"""Every page, ours and rq-dashboard's in our frame, by axe-core: nothing serious or critical, in light and dark, wide and on a phone.

axe does not measure rings, borders and targets as WCAG 2.2 asks for them, so those are measured here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Page
from rq import Queue

from engine.wiring import System
from tests.web.answers import ANSWERS
from tests.web.chromium import ratio
from tests.web.conftest import brand_with, spend_now
from tests.web.gallery import every_page, make_world

AXE: Final = (Path(__file__).parent / "vendor" / "axe-4.14.1.min.js").read_text(encoding="utf-8")
TAGS: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WIDE: Final = {"width": 1280, "height": 900}
PHONE: Final = {"width": 390, "height": 844}


COLOURS: Final = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
"""What axe says of colours: a page in dark differs from itself in light in nothing else."""


def findings(page: Page) -> list[str]:
    """What axe finds serious or critical: all of it in light, and the colours again in dark."""
    page.evaluate(AXE)
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    in_light = _found(page, {"type": "tag", "values": TAGS})
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    return in_light + [f"in dark: {what}" for what in _found(page, COLOURS)]


def _found(page: Page, asked: dict[str, Any]) -> list[str]:
    found: list[dict[str, Any]] = page.evaluate(
        "asked => axe.run(document, {runOnly: asked}).then(done => done.violations)", asked
    )
    return [
        f"{one['id']} ({one['impact']}): " + "; ".join(node["html"][:160] + " " + (node["failureSummary"] or "").replace("\n", " ")[:200] for node in one["nodes"][:3])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]  # fmt: skip


@pytest.fixture
def paths(ready: System) -> list[str]:
    """Our pages, with brands and campaigns of every kind on them."""
    brand_id, (one, two, three) = brand_with(ready, daily=5_000_000, campaigns=3)
    spend_now(ready, one, "9")
    ready.manage.pause_campaign(two, "Mia")
    ready.manage.archive_campaign(three, "Mia")
    brand_with(ready, "Boreal", campaigns=1)
    gone, _ = brand_with(ready, "Old Harbour")
    ready.manage.archive_brand(gone, "Mia")
    return [
        "/system", "/people", "/people/new", "/people/logins", "/me", "/status", "/status?q=nobody", "/status?cause=archived", "/", "/changes", "/activity", "/brands/new", f"/brands/{brand_id}/edit", f"/brands/{brand_id}/spend",
        f"/brands/{brand_id}/campaigns/new", f"/campaigns/{one}/edit", f"/campaigns/{one}/archive", f"/brands/{brand_id}/archive",
        f"/campaigns/{one}", f"/campaigns/{two}", f"/brands/{brand_id}", f"/brands/{brand_id}?tab=campaigns", f"/brands/{brand_id}?tab=days", f"/brands/{brand_id}?tab=activity",
        f"/brands/{brand_id}?tab=settings", "/import", f"/brands/{brand_id}/notes", "/brands/999/edit", f"/brands/{brand_id}/spend?day=foo",
    ]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("size", [pytest.param(WIDE, id="wide"), pytest.param(PHONE, id="phone")])
def test_axe_finds_nothing_serious_on_any_page_of_ours(
    opened: Callable[..., Page], paths: list[str], size: dict[str, int]
) -> None:
    # Without transitions: axe would measure colours half-way between two.
    page = opened("/status", viewport=size, reduced_motion="reduce")
    found: dict[str, list[str]] = {}
    page.click("button:has-text('Pause') >> nth=0")
    page.wait_for_selector(".toast")
    found["after a pause"] = findings(page)
    for path in paths:
        page.goto(path)
        found[path] = findings(page)
    assert {path: what for path, what in found.items() if what} == {}


@pytest.mark.long
@pytest.mark.parametrize("size", [pytest.param(WIDE, id="wide"), pytest.param(PHONE, id="phone")])
def test_axe_finds_nothing_serious_on_any_page_that_there_is(
    ready: System, opened: Callable[..., Page], address: str, size: dict[str, int]
) -> None:
    world = make_world(ready)
    page = opened("/login", viewport=size, reduced_motion="reduce")
    found = {"login": findings(page)}
    world.enter(page.context, address)
    for name, path in every_page(world).items():
        page.goto(path)
        found[name] = findings(page)
    for answers in ANSWERS.values():
        for name, ask in answers.items():
            ask(page, world)
            found[name] = findings(page)
    assert {name: what for name, what in found.items() if what} == {}


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_rings_and_borders_stand_out_and_every_target_has_24_pixels(
    opened: Callable[..., Page], paths: list[str], scheme: str
) -> None:
    for size in (WIDE, PHONE):
        page = opened("/status", color_scheme=scheme, viewport=size)
        for path in paths:
            page.goto(path)
            assert page.evaluate(SMALL) == [], path
            for what, front, back in page.evaluate(BORDERS) + page.evaluate(RINGS):
                assert ratio(front, back) >= 3, (path, what, front, back)


BEHIND = """const behind = e => { while (e && getComputedStyle(e).backgroundColor === 'rgba(0, 0, 0, 0)') e = e.parentElement;
    return getComputedStyle(e || document.body).backgroundColor; };
    const seen = e => e.checkVisibility({visibilityProperty: true}) && e.getBoundingClientRect().width > 1;"""
SMALL: Final = f"""() => {{ {BEHIND}
    const inSentence = e => e.tagName === 'A' && [...e.parentElement.childNodes].some(n => n.nodeType === 3 && /[a-z]{{3}}/i.test(n.textContent));
    return [...document.querySelectorAll('a[href], button, input, select, textarea, summary')].filter(seen)
        .filter(e => !inSentence(e) && !e.matches('.skip'))
        .filter(e => {{ const box = e.getBoundingClientRect(); return box.width < 23.9 || box.height < 23.9; }})
        .map(e => e.outerHTML.slice(0, 120)); }}"""
BORDERS: Final = f"""() => {{ {BEHIND}
    return [...document.querySelectorAll('input, select, textarea')].filter(seen)
        .map(e => [e.outerHTML.slice(0, 80), getComputedStyle(e).borderTopColor, behind(e.parentElement)]); }}"""
RINGS: Final = f"""() => {{ {BEHIND}
    return [...document.querySelectorAll('a[href], button, input, select, textarea, summary')].filter(seen).map(e => {{
        e.focus({{focusVisible: true}});
        const style = getComputedStyle(e);
        const ring = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2 ? style.outlineColor : behind(e.parentElement);
        return [e.outerHTML.slice(0, 80), ring, behind(e.parentElement)]; }}); }}"""


def test_axe_finds_nothing_serious_on_the_job_pages_in_our_frame(ready: System, opened: Callable[..., Page]) -> None:
    job = Queue("jobs", connection=ready.jobs_redis).enqueue("engine.jobs.check")
    paths = ["/rq/", "/rq/0/view/workers", "/rq/0/view/jobs", "/rq/0/view/jobs/jobs/queued/8/asc/1", f"/rq/0/view/job/{job.id}"]  # fmt: skip
    found: dict[str, list[str]] = {}
    for size in (WIDE, PHONE):
        page = opened("/rq/", viewport=size)
        for path in paths:
            with page.expect_response("**/data/**"):
                page.goto(path)
            found[f"{path} {size['width']} px"] = findings(page)
    assert {path: what for path, what in found.items() if what} == {}
