"""Runs tests against mutants: one pytest a mutant, in a copy of the tree and on servers of its own. The checkout is
never changed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import redis

from engine.local.servers import EmbeddedServers, Urls
from tests.mutants.mutant import Mutant, planted
from tests.mutants.witness import OUT

ROOT: Final = Path(__file__).resolve().parents[2]
COPIED: Final = ("api", "benchmarks", "docs", "engine", "lua", "ops", "tests", "tools", "web")
COPIED_FILES: Final = ("Makefile", "README.md", "pyproject.toml", "scheduler.py", "worker.py")
SHORTEST_S: Final = 120
"""No time limit of a run is shorter, in seconds. Each killer takes a second or two where nothing else runs."""
TIMES: Final = 10
"""How many times as long as without a mutant its killers may take: the machine may be busier then."""

_NOT_COPIED: Final = shutil.ignore_patterns("__pycache__", ".*")


class NotSound(Exception):
    """The killers fail without any mutant; repair that first."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a mutant. killed_by: the test that detected it, else empty. why: the test's message, or why the
    mutant is not killed.
    """

    mutant: Mutant
    killed_by: str
    why: str
    seconds: float


class Laboratory:
    """A copy of the tree, with three servers, in which mutants are tested."""

    def __init__(self, folder: Path, urls: Urls) -> None:
        self._tree = folder / "tree"
        self._report_file = folder / "witness.json"
        self._urls = urls
        self._start_s = 0.0
        self._seconds: dict[str, float] = {}
        self._tree.mkdir()
        for name in COPIED:
            shutil.copytree(ROOT / name, self._tree / name, ignore=_NOT_COPIED)
        for name in COPIED_FILES:
            shutil.copy2(ROOT / name, self._tree / name)

    def check(self, mutants: Sequence[Mutant]) -> tuple[int, float]:
        """Runs all killers without a mutant; returns their number and the seconds. Raises NotSound."""
        killers = sorted({killer for mutant in mutants for killer in mutant.killers})
        started = time.monotonic()
        status, report, output = self._pytest(killers, SHORTEST_S * (1 + len(killers)), bytecode=True)
        if status != 0 or report["passed"] < len(killers):
            raise NotSound(f"{report['passed']} of {len(killers)} killers pass without a mutant\n{output}")
        took_s = time.monotonic() - started
        self._seconds = report["seconds"]
        self._start_s = max(took_s - sum(self._seconds.values()), 0)
        return len(killers), took_s

    def longest_s(self, killers: Sequence[str]) -> float:
        """The time limit of killers under a mutant, by how long they took without one."""
        return time_limit(killers, self._start_s, self._seconds)

    def run(self, mutant: Mutant) -> Verdict:
        """Runs one mutant's killers against it. Raises Rotten."""
        started = time.monotonic()
        with planted(self._tree, mutant):
            status, report, output = self._pytest(mutant.killers, self.longest_s(mutant.killers), bytecode=False)
        killed_by, why = judged(status, report, output)
        return Verdict(mutant, killed_by, why, time.monotonic() - started)

    def _pytest(self, nodes: Sequence[str], longest_s: float, *, bytecode: bool) -> tuple[int, dict[str, Any], str]:
        for url in (self._urls.hot, self._urls.jobs):
            with redis.Redis.from_url(url) as plain:
                plain.flushall()
        self._report_file.unlink(missing_ok=True)
        no_report: dict[str, Any] = {"engine": "", "passed": 0, "failures": [], "seconds": {}}
        environment = self._environment(bytecode)
        options = (
            "-x",
            "-q",
            "-m",
            "long or not long",
            "-p",
            "no:cacheprovider",
            "-p",
            "tests.mutants.witness",
            f"--rootdir={self._tree}",
        )
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pytest", *options, *nodes],
                cwd=self._tree, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, timeout=longest_s, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return -1, no_report, f"it took longer than {longest_s:.0f} s"
        report = json.loads(self._report_file.read_text()) if self._report_file.exists() else no_report
        if report["engine"] and not Path(report["engine"]).is_relative_to(self._tree.resolve()):
            raise NotSound(f"the tests import {report['engine']}, not the copy of the tree")
        return done.returncode, report, done.stdout

    def _environment(self, bytecode: bool) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "TWIN_"))}
        environment |= dict(
            zip(("TEST_REDIS_URL", "TEST_JOBS_REDIS_URL", "TEST_DATABASE_URL"), self._urls, strict=True)
        )
        environment |= {"PYTHONPATH": str(self._tree), OUT: str(self._report_file)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        return environment if bytecode else environment | {"PYTHONDONTWRITEBYTECODE": "1"}


def time_limit(killers: Sequence[str], start_s: float, seconds: Mapping[str, float]) -> float:
    """How long a run of killers may take, in seconds. start_s: of pytest and its servers; seconds: of each test, both without a mutant."""
    own_s = sum(s for node, s in seconds.items() if any(node == k or node.startswith(f"{k}[") for k in killers))
    return max(TIMES * (start_s + own_s), SHORTEST_S)


def judged(status: int, report: Mapping[str, Any], output: str) -> tuple[str, str]:
    """Returns (the test that killed, its message), or ('', why the mutant is not killed)."""
    failures = report["failures"]
    if not failures:
        lines = output.strip().splitlines() or ["nothing"]
        return "", "it lives: every killer passed" if status == 0 else f"pytest broke off: {lines[-1]}"
    first = failures[0]
    if first["how"] == "assertion":
        return first["node"], first["why"]
    return "", f"no assertion, but {first['how']} in {first['node']}: {first['why']}"


@contextmanager
def laboratory() -> Iterator[Laboratory]:
    """Opens a laboratory; removes its files and servers at the end."""
    folder = Path(tempfile.mkdtemp(prefix="mutants "))
    servers = EmbeddedServers(folder / "data")
    try:
        yield Laboratory(folder, servers.start(may_create_databases=True))
    finally:
        servers.remove()
        shutil.rmtree(folder, ignore_errors=True)
