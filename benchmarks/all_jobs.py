"""`python -m benchmarks.all_jobs`: the first rows of the bench again, while every job works beside the bidder.

Persist, check and the page work without a pause, each in a process of its own, with the niceness of its worker. The catalog has ten thousand
campaigns, so that a check and a page have something to do. The peers are measured beside the same jobs.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import click

from benchmarks import size
from benchmarks.catalog_of_size import fill, publish_all
from benchmarks.embedded import servers
from benchmarks.measured import HEAD, measure
from benchmarks.rows import Bench
from engine.flows.catalog.check import check_all
from engine.flows.persist.persister import DrainStats
from engine.jobs import persist_loop
from engine.local.servers import Urls
from engine.processes import give_way
from engine.settings import Settings
from engine.wiring import PAGES, System
from web import create_app

BRANDS: Final = 100
PAGE_EVERY_S: Final = 1.0
"""A page that somebody looks at reads its figures anew so often."""
_READY_S: Final = 60.0
_END_S: Final = 30.0


def measure_beside(urls: Urls, rounds: int, *, quick: bool = False) -> list[str]:
    """The lines of the table, head included. The jobs must have worked, else it raises RuntimeError."""
    with size.fresh(urls) as system:
        fill(system.db, BRANDS)
        publish_all(system)
        bench = Bench(system, quick=quick)
        with jobs_beside(system) as turns:
            lines = [HEAD]
            for row in bench.floors():
                line, _ = measure(row, rounds)
                lines.append(line)
            done = turns()
        bench.close()
    idle = [name for name, count in done.items() if not count]
    if idle:
        raise RuntimeError(f"{', '.join(idle)} did nothing beside the bidder: the table shows nothing")
    lines.append(f"\nBeside it, turns: {', '.join(f'{name} {count}' for name, count in done.items())}.")
    click.echo(lines[-1])
    return lines


@contextmanager
def jobs_beside(system: System) -> Iterator[Callable[[], Mapping[str, int]]]:
    """Every job at work. Yields what answers how often each has done its work since."""
    environment = {**system.settings.as_environment(), "SECRET_KEY": "of the bench"}
    context = multiprocessing.get_context("spawn")
    over = context.Event()
    counts = {name: context.Value("q", 0) for name in _WORK}
    ready = context.Barrier(len(_WORK) + 1)
    made = [
        context.Process(target=_run, args=(name, environment, over, counts[name], ready), daemon=True) for name in _WORK
    ]
    for process in made:
        process.start()
    try:
        ready.wait(_READY_S)
        yield lambda: {name: int(count.value) for name, count in counts.items()}
    finally:
        over.set()
        for process in made:
            process.join(_END_S)


def _run(name: str, environment: dict[str, str], over: Any, count: Any, ready: Any) -> None:
    """One job, again and again, in a process of its own."""
    system = System(Settings.load(environment, None), *([PAGES] if name == "page" else []))
    work = _WORK[name](system, over.is_set)
    ready.wait(_READY_S)
    while not over.is_set():
        work()
        count.value += 1
    system.close()


def _persist(system: System, over: Callable[[], bool]) -> Callable[[], object]:
    """The journal into the log, for a second at a time so that its turns are counted."""

    def work() -> None:
        ends = time.monotonic() + 1
        persist_loop(system).run(lambda: over() or time.monotonic() >= ends, DrainStats())

    return work


def _check(system: System, over: Callable[[], bool]) -> Callable[[], object]:
    give_way()
    return lambda: check_all(system.publisher, system.status)


def _page(system: System, over: Callable[[], bool]) -> Callable[[], object]:
    visitor = create_app(system).test_client()

    def work() -> None:
        for path in ("/live", "/metrics"):
            visitor.get(path, base_url="http://localhost").get_data()
        time.sleep(PAGE_EVERY_S)

    return work


_WORK: Final = {"persist": _persist, "check": _check, "page": _page}


@click.command()
@click.option("--rounds", default=15, show_default=True, help="Rounds of each row, ours and its peer in turn.")
@click.option("--quick", is_flag=True, help="Shorter rounds.")
def main(rounds: int, quick: bool) -> None:
    """The table on servers of its own."""
    click.echo(HEAD)
    with servers() as urls:
        measure_beside(urls, rounds, quick=quick)


if __name__ == "__main__":
    main()
