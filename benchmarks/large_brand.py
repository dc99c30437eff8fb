"""`python -m benchmarks.large_brand [CAMPAIGNS]`: what verify and a check beside it cost with one brand of the most
campaigns that it can have.

Verify runs as its worker does, in a process of its own with low priority. The benchmark measures wall and CPU time.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks import size
from benchmarks.catalog_of_size import fill, publish_all, spend_once_each
from engine.domain.ids import ORDINALS
from engine.flows.catalog.check import check_all
from engine.live.scripts import NAMES, script
from engine.local.servers import EmbeddedServers, Urls
from engine.processes import NICENESS
from engine.wiring import System

CAMPAIGNS: Final = ORDINALS - 1
VERIFY_S: Final = 15.0
HEAD: Final = "| one brand | campaigns | wall s | processor s | longest script ms |\n| --- | ---: | ---: | ---: | --- |"


def measure(system: System, say: Callable[[str], None], campaigns: int = CAMPAIGNS) -> None:
    """Measures the rows of the table on an empty system."""
    sized = fill(system.db, 1, campaigns)
    names = {script(name).sha1: name for name in NAMES}

    def row(what: str, work: Callable[[], object]) -> None:
        began, own = time.perf_counter(), _processor_s()
        with size.watching(system.hot_redis):
            work()
            longest_us, longest = size.longest_script(system.hot_redis, names)
        wall, used = time.perf_counter() - began, _processor_s() - own
        say(f"| {what} | {campaigns:,} | {wall:.2f} | {used:.2f} | {longest_us / 1000:.1f} {longest} |")

    def check() -> object:
        return check_all(system.publisher, system.status)

    row("first publish", lambda: publish_all(system))
    row("first check", check)
    spend_once_each(system, sized)
    row("persist", system.persister.drain_all)
    row("check", check)
    row(f"verify (at most {VERIFY_S:g})", lambda: _wait_for(_verify(system)))
    beside: list[subprocess.Popen[bytes]] = []

    def check_beside() -> None:
        beside.append(_verify(system))
        check()

    row("check beside verify", check_beside)
    _wait_for(beside[0])
    row("a status page with the brand open", lambda: system.overview.summary(sized.brands))
    row("reconcile --dry-run", lambda: system.reconciler.reconcile(dry_run=True))
    row("rebuild", lambda: system.rebuilder.rebuild([sized.brands[0] % 64]))


def _verify(system: System) -> subprocess.Popen[bytes]:
    """Starts a verify with the priority that its worker has."""
    return subprocess.Popen(
        [sys.executable, "-m", "engine", "verify", "--json"],
        env={**os.environ, **system.settings.as_environment()},
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: os.setpriority(os.PRIO_PROCESS, 0, NICENESS),  # noqa: PLW1509  # one system call only
    )


def _wait_for(verify: subprocess.Popen[bytes]) -> None:
    if verify.wait() != 0:
        raise RuntimeError("verify failed: run `budget-engine verify` to see what")


def _processor_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def table(urls: Urls, say: Callable[[str], None], campaigns: int = CAMPAIGNS) -> None:
    """Measures the rows on a fresh system on these servers."""
    with size.fresh(urls) as system:
        measure(system, say, campaigns)


def main(campaigns: int) -> None:
    """Runs the benchmark on servers of its own."""
    with tempfile.TemporaryDirectory(prefix="budget large brand ") as folder:
        servers = EmbeddedServers(Path(folder) / "data")
        try:
            urls = servers.start(may_create_databases=True)
            print(HEAD, flush=True)
            table(urls, lambda line: print(line, flush=True), campaigns)
        finally:
            servers.remove()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else CAMPAIGNS)
