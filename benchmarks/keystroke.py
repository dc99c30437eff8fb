"""`python -m benchmarks.keystroke [BRANDS]`: how long a keystroke in the search of the first page takes until its result is painted, in Chromium,
and what ten viewers of that page cost Redis.

The page is served by a process of its own. Each keystroke is measured by the browser's clock, from the key to the frame after the rows changed,
and in three parts: until the page asks, until the server has answered, and until the rows are painted. Needs Playwright, and Chromium, which
BUDGET_CHROMIUM names.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any, Final, NamedTuple

from playwright.sync_api import Page, sync_playwright

from benchmarks import embedded, size
from benchmarks.board import BRANDS, prepare
from benchmarks.processors import started
from engine.local.ports import any_free
from engine.wiring import System

TEXTS: Final = ("sized 0001", "campaign 00012", "nobody")
ROUNDS: Final = 3
VIEWERS: Final = 10
POLL_S: Final = 2.0
WATCHED_S: Final = 60.0
START_S: Final = 120.0
TIMES: Final = """() => {
  const live = document.getElementById("live"), now = () => performance.now(), ours = (event) => event.detail.ctx.sourceElement === live;
  window.keystroke = null;
  document.getElementById("q").addEventListener("keydown", (event) => { window.keystroke = {key: event.timeStamp}; }, true);
  document.addEventListener("htmx:config:request", (event) => { if (window.keystroke && ours(event)) window.keystroke.asked ??= now(); });
  document.addEventListener("htmx:after:request", (event) => { if (window.keystroke?.asked && ours(event)) window.keystroke.answered ??= now(); });
  document.addEventListener("htmx:finally:request", (event) => {
    const mine = window.keystroke;
    if (mine?.answered && ours(event)) requestAnimationFrame(() => setTimeout(() => { mine.painted = now(); }));
  });
}"""
SHOWN: Final = """() => new Promise((done) => {
  const look = () => window.keystroke?.painted ? done(window.keystroke) : setTimeout(look, 20);
  look();
})"""


class Stroke(NamedTuple):
    """One keystroke, in milliseconds. cpu_ms: processor time of the server meanwhile, with all that it does beside."""

    asked: float
    answered: float
    painted: float
    cpu_ms: float

    @property
    def whole(self) -> float:
        return self.asked + self.answered + self.painted


class Served(NamedTuple):
    """A served console."""

    address: str
    pid: int


@contextmanager
def served(system: System) -> Iterator[Served]:
    """A process of the console for a system."""
    port = any_free()
    environment = {**os.environ, **system.settings.as_environment(), "BUDGET_WEB_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-m", "engine", "web"], env=environment, stdout=subprocess.DEVNULL)
    address, end = f"http://127.0.0.1:{port}", time.monotonic() + START_S
    try:
        while not _answers(address):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the console did not begin to answer")
            time.sleep(0.2)
        yield Served(address, process.pid)
    finally:
        process.terminate()
        process.wait(START_S)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def strokes(page: Page, pid: int, texts: Sequence[str] = TEXTS) -> list[Stroke]:
    """Types each text, a key after the result of the one before."""
    found = []
    for text in texts:
        page.locator("#q").fill("")
        page.wait_for_timeout(1000)
        for key in text:
            before = _cpu_s(pid)
            page.keyboard.press("Space" if key == " " else key)
            if key == " ":
                page.wait_for_timeout(300)  # blanks at the end are no other search
                continue
            at: dict[str, float] = page.evaluate(SHOWN)
            cpu = 1000 * (_cpu_s(pid) - before)
            found.append(
                Stroke(at["asked"] - at["key"], at["answered"] - at["asked"], at["painted"] - at["answered"], cpu)
            )
    return found


def _cpu_s(pid: int) -> float:
    return sum(process.seconds for process in started(pid))


def keystrokes(address: str, pid: int, say: Callable[[str], None]) -> list[Stroke]:
    """Opens the page in Chromium, types, and prints a line."""
    with sync_playwright() as playwright:
        program = os.environ.get("BUDGET_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(f"{address}/")
        page.evaluate(TIMES)
        page.locator("#q").focus()
        found = [one for _ in range(ROUNDS) for one in strokes(page, pid)]
        browser.close()
    whole = sorted(one.whole for one in found)
    parts = ", ".join(f"{words} {median(getattr(one, name) for one in found):.0f}" for name, words in (
        ("asked", "until it asks"), ("answered", "until it is answered"), ("painted", "until it is painted"),
    ))  # fmt: skip
    say(
        f"{len(found)} keystrokes: median {median(whole):.0f} ms, 95th percentile {whole[int(0.95 * len(whole))]:.0f} ms,"
        f" longest {whole[-1]:.0f} ms; of it {parts}; processor of the server {median(one.cpu_ms for one in found):.0f} ms;"
        f" load {os.getloadavg()[0]:.1f}"
    )
    return found


def viewers(system: System, address: str, pid: int, say: Callable[[str], None], number: int = VIEWERS) -> float:
    """Lets so many viewers poll for a minute; returns which part of a core Redis was busy with it."""
    stop = threading.Event()
    threads = [
        threading.Thread(target=_poll, args=(f"{address}/budgets/poll", stop), daemon=True) for _ in range(number)
    ]
    for thread in threads:
        thread.start()
    time.sleep(2 * POLL_S)
    before, server, since = _redis_s(system), _cpu_s(pid), time.monotonic()
    time.sleep(WATCHED_S)
    lasted = time.monotonic() - since
    part, of_server = (_redis_s(system) - before) / lasted, (_cpu_s(pid) - server) / lasted
    stop.set()
    for thread in threads:
        thread.join()
    say(
        f"{number} viewers: hot Redis {100 * part:.2f} % of a core, the server {100 * of_server:.0f} %; load {os.getloadavg()[0]:.1f}"
    )
    return part


def _poll(address: str, stop: threading.Event) -> None:
    while not stop.wait(POLL_S):
        with urllib.request.urlopen(address, timeout=60) as answer:
            answer.read()


def _redis_s(system: System) -> float:
    found: dict[str, Any] = system.hot_redis.info("cpu")
    return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])


def measure(system: System, say: Callable[[str], None]) -> None:
    """On a system that has its catalog."""
    with served(system) as (address, pid):
        keystrokes(address, pid, say)
        viewers(system, address, pid, say, 0)
        viewers(system, address, pid, say)


def main() -> None:
    """Runs it on embedded servers."""
    with embedded.servers() as servers, size.fresh(servers) as system:
        prepare(system, int(sys.argv[1]) if len(sys.argv) > 1 else BRANDS)
        measure(system, print)


if __name__ == "__main__":
    main()
