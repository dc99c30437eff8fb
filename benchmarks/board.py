"""`python -m benchmarks.board [BRANDS]`: what a keystroke, a sort and a tab of the list of budgets take in the server while two
viewers poll, and what share of the hot Redis' one core all of it takes.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from statistics import median
from typing import Final

from flask import Flask
from flask.testing import FlaskClient

from benchmarks import embedded, size
from benchmarks.catalog_of_size import fill, publish_all, spend_once_each
from engine.flows.catalog.check import check_all
from engine.wiring import System
from web import create_app

BRANDS: Final = 1_000
LOOKS: Final = 30
VIEWERS: Final = 2
POLL_S: Final = 2.0
HERE: Final = "http://localhost"
ACTIONS: Final = {
    "search": "/budgets/live?q=sized+0001",
    "sort": "/budgets/live?sort=-today",
    "needs attention": "/budgets/live?tab=attention",
    "next page": "/budgets/live?page=2",
    "whole page": "/",
}
HEAD: Final = "| what | median ms | 95th percentile ms | of it processor, median ms |\n| --- | ---: | ---: | ---: |"


def prepare(system: System, brands: int) -> None:
    """Fills an empty system with brands of 100 campaigns, each of which has spent."""
    sized = fill(system.db, brands)
    publish_all(system)
    check_all(system.publisher, system.status)
    spend_once_each(system, sized)
    system.persister.drain_all()
    check_all(system.publisher, system.status)


def measure(system: System, brands: int, say: Callable[[str], None]) -> None:
    """Measures on a system with brands of 100 campaigns."""
    app = create_app(system)
    system.overview.parts.board.keep_asking()
    began = time.perf_counter()
    system.budget_board.prepare()
    while app.test_client().get("/", base_url=HERE).status_code != 200:
        time.sleep(0.1)  # as `web` does: the first viewer of a busy machine may come too early
    say(f"the first look took {time.perf_counter() - began:.2f} s; {brands:,} brands x 100 campaigns")
    stop = threading.Event()
    viewers = [threading.Thread(target=_poll, args=(app, stop), daemon=True) for _ in range(VIEWERS)]
    for viewer in viewers:
        viewer.start()
    time.sleep(2 * POLL_S)
    cpu, since = _redis_cpu_s(system), time.monotonic()
    client = app.test_client()
    say(HEAD)
    for what, path in ACTIONS.items():
        looks = [_look(client, path) for _ in range(LOOKS)]
        took = sorted(wall for wall, _ in looks)
        own = median(cpu for _, cpu in looks)
        say(f"| {what} | {1000 * median(took):.0f} | {1000 * took[int(0.95 * len(took))]:.0f} | {1000 * own:.0f} |")
    lasted = time.monotonic() - since
    say(
        f"hot Redis: {100 * (_redis_cpu_s(system) - cpu) / lasted:.1f} % of a core over {lasted:.0f} s, with the health of the parts"
    )
    stop.set()


def _look(client: FlaskClient, path: str) -> tuple[float, float]:
    """Wall and processor seconds of one request, in the thread that answers it."""
    time.sleep(0.1)
    began, own = time.perf_counter(), time.thread_time()
    answer = client.get(path, base_url=HERE)
    assert answer.status_code == 200, answer.status
    return time.perf_counter() - began, time.thread_time() - own


def _poll(app: Flask, stop: threading.Event) -> None:
    client = app.test_client()
    while not stop.wait(POLL_S):
        client.get("/budgets/poll", base_url=HERE)


def _redis_cpu_s(system: System) -> float:
    found = system.hot_redis.info("cpu")
    return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])


def main() -> None:
    """Runs it on embedded servers."""
    with embedded.servers() as servers, size.fresh(servers) as system:
        brands = int(sys.argv[1]) if len(sys.argv) > 1 else BRANDS
        prepare(system, brands)
        measure(system, brands, print)


if __name__ == "__main__":
    main()
