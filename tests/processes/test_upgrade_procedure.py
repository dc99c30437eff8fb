"""The upgrade with systemd's units, as docs/operations.md has it, while bidders spend. `systemctl` is a stand-in that starts what the units start."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rq import Worker

from engine.job_table import QUEUES
from engine.wiring import System
from tests.ops.given import UNITS, directives
from tests.ops.page import answered
from tests.ops.programs import ROOT
from tests.patience import PATIENCE_S
from tests.ports import free_port
from tests.processes.conftest import Load, brand_of, lost_and_doubled, until, verified
from tests.processes.test_workers import running

pytestmark = pytest.mark.long

SECTION = (
    (ROOT / "docs" / "operations.md")
    .read_text(encoding="utf-8")
    .partition("### Upgrade with the units, command by command\n")[2]
    .partition("\n### ")[0]
)
STOP, START = re.findall(r"^```sh\n(.*?)^```$", SECTION, re.M | re.S)
SYSTEMCTL = """#!/bin/sh
# start, stop and restart, as systemd does: `start` of a oneshot waits for its end, `stop` waits for the process.
set -eu
word=$1; shift
for unit in "$@"; do
    . "$UNITS/$unit"
    case $word-$type in
    start-oneshot) $start >>"$UNITS/$unit.log" 2>&1 ;;
    start-exec) $start >>"$UNITS/$unit.log" 2>&1 & echo $! >"$UNITS/$unit.pid" ;;
    restart-exec) "$0" stop "$unit"; "$0" start "$unit" ;;
    stop-exec) pid=$(cat "$UNITS/$unit.pid"); kill "$pid"; while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done; rm "$UNITS/$unit.pid" ;;
    esac
done
"""
PROGRAM = """#!/bin/sh
exec '{python}' -m engine "$@"
"""


class Machine:
    """A machine with the units installed."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.units = folder / "units"
        self.units.mkdir()
        (folder / "bin").mkdir()
        for path in UNITS:
            lines = dict(directives(path))
            start = lines["ExecStart"].removeprefix("/opt/budget-engine/bin/")
            (self.units / path.stem).write_text(f"type={lines['Type']}; start='{start}'\n")
        for name, text in (("systemctl", SYSTEMCTL), ("budget-engine", PROGRAM.format(python=sys.executable))):
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        self._environ = {
            **os.environ,
            **environment,
            "UNITS": str(self.units),
            "PYTHONPATH": str(ROOT),
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        }

    def run(self, block: str) -> str:
        # Its output goes to files: what it starts must not hold a pipe open.
        with (self.units / "shell.log").open("w+") as log:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block], env=self._environ, stdout=log, stderr=log, timeout=PATIENCE_S
            )
            log.seek(0)
            said = log.read()
        assert done.returncode == 0, f"{said}\n{self.said()}"
        return said

    def said(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-2000:] for path in self.units.glob("*.log"))

    def running(self) -> list[int]:
        return [int(path.read_text()) for path in self.units.glob("*.pid")]

    def end(self) -> None:
        """Ends what still runs, and waits for it: the next test has the same servers."""
        left = self.running()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        until(lambda: not any(map(running, left)))


@pytest.fixture
def machine(environment: dict[str, str], tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path, {**environment, "BUDGET_WEB_PORT": str(free_port())})
    yield made
    made.end()


def test_an_upgrade_under_load_loses_and_doubles_nothing_and_leaves_everything_running(
    system: System, machine: Machine, environment: dict[str, str]
) -> None:
    start, doctor = START.rsplit("\n", 2)[:2]
    assert doctor == "budget-engine doctor"
    port = int(machine._environ["BUDGET_WEB_PORT"])

    def all_run() -> bool:
        return len(Worker.all(connection=system.jobs_redis)) == len(QUEUES) and answered(port, "/readyz") == 200

    machine.run(start)
    until(all_run, why=machine.said)
    _, campaigns = brand_of(system, "Acme", 2)
    with Load(environment["REDIS_URL"], campaigns, threads=2) as load:
        until(lambda: load.spends > 500)
        machine.run(STOP)
        assert machine.running() == []
        before = load.spends
        until(lambda: load.spends > before + 500)
        machine.run(start)
        until(all_run, why=machine.said)
        machine.run(doctor)
        before = load.spends
        until(lambda: load.spends > before + 500)
    assert load.unavailable == 0, "bidders did not notice"
    machine.run(STOP)
    system.persister.drain_all()
    assert lost_and_doubled(system, load) == (set(), [])
    assert verified(system) == []
