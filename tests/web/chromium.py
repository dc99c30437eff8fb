"""Chromium for the tests of the pages. Where it is not installed they skip; with BUDGET_REQUIRE_BROWSER=1 that is a failure."""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, expect, sync_playwright
from werkzeug.serving import make_server

from tests.patience import PATIENCE_S

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
# For every module: one that runs alone, or first in its process, waits no less.
expect.set_options(timeout=PATIENCE_S * 1000)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Callable[[], Browser]]:
    """The module's Chromium; a new one where the last has died, so that one test's misfortune is not the next one's."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        # How a Chromium ended, and what it said, stands in the captured output of the test that lost it.
        patch.setenv("DEBUG", "pw:browser")
        playwright = stack.enter_context(sync_playwright())
        program = CHROMIUM or playwright.chromium.executable_path
        if not Path(program).is_file():
            _none("no Chromium is installed (apt: chromium, or `playwright install chromium`)")
        launched: list[Browser] = []

        def alive() -> Browser:
            if not launched or not launched[-1].is_connected():
                launched.append(playwright.chromium.launch(executable_path=program, args=ARGS))
                stack.callback(launched[-1].close)
            return launched[-1]

        yield alive


@pytest.fixture
def browser(chromium: Callable[[], Browser]) -> Browser:
    return chromium()


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
    left = [error for error in errors if not re.search(r"status of (400|401|404|409|422)", error)]
    assert left == [], left


def luminance(page: Page, selector: str, what: str) -> float:
    value = page.evaluate("([s, w]) => getComputedStyle(document.querySelector(s))[w]", [selector, what])
    return _luminance_of([float(part) for part in re.findall(r"[\d.]+", value)[:3]])


def _luminance_of(rgb: list[float]) -> float:
    linear = [c / 255 / 12.92 if c / 255 <= 0.03928 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(page: Page, selector: str) -> float:
    """WCAG's contrast of the first such element's text against the nearest background that is painted."""
    page.wait_for_selector(selector, state="attached", timeout=PATIENCE_S * 1000)
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


def ratio(front: str, back: str) -> float:
    """WCAG's contrast of two colours as a browser writes them: "rgb(12, 34, 56)"."""
    lights = sorted(
        _luminance_of([float(part) for part in re.findall(r"[\d.]+", color)[:3]]) for color in (front, back)
    )
    return (lights[1] + 0.05) / (lights[0] + 0.05)
