"""compose.yaml, the units and the chart: each starts a command that is there, with every setting that it needs and no secret beyond."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from rq import Worker

from engine.cli import cli
from engine.job_table import QUEUES
from engine.secret_files import FROM_FILE
from engine.settings import TABLE, URLS, Settings
from engine.views.health import HEARTBEAT_KEY
from engine.wiring import System
from tests.ops.given import Given, of_chart, of_compose, of_units
from tests.ops.page import answered
from tests.ops.programs import OPS, ROOT
from tests.patience import PATIENCE_S
from tests.ports import free_port
from tests.processes.conftest import Processes, until

SOURCES: dict[str, Callable[[], list[Given]]] = {"compose": of_compose, "systemd": of_units, "chart": of_chart}
PAGE = {*URLS, "SECRET_KEY", "BUDGET_ADMIN_PASSWORD", "METRICS_TOKEN"}
NEEDS = {
    "migrate": set(URLS),
    "web": PAGE,
    "api": set(URLS),
    "worker": set(URLS),
    "scheduler": {"JOBS_REDIS_URL"},
    "demo-traffic": set(URLS),
}
"""The secrets of each command; nothing is given more (docs/decisions/0034)."""
NO_SETTINGS = {"BUDGET_LOGS", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}


@pytest.mark.parametrize("source", SOURCES)
def test_each_process_is_a_command_with_settings_that_exist_and_the_secrets_that_it_needs(source: str) -> None:
    given = SOURCES[source]()
    assert {one.command[0] for one in given} >= {"migrate", "web", "api", "worker", "scheduler"}
    settings = {row.name for row in TABLE}
    for one in given:
        (command,) = one.command
        assert cli.get_command(click.Context(cli), command) is not None, one.where
        files = {name.removesuffix("_FILE"): value for name, value in one.environment.items() if name.endswith("_FILE")}
        plain = set(one.environment) - {f"{name}_FILE" for name in files}
        assert plain <= settings | NO_SETTINGS, one.where
        assert files.keys() <= set(FROM_FILE), one.where
        assert not plain & set(FROM_FILE), f"{one.where} has a secret in its environment"
        assert files.keys() == NEEDS[command], one.where
        assert {value.removeprefix(f"{one.folder}/") for value in files.values()} == one.secrets, one.where


@pytest.mark.parametrize("source", SOURCES)
def test_each_environment_is_one_that_the_program_takes(source: str, tmp_path: Path) -> None:
    for one in SOURCES[source]():
        written(one, {name: row_example(name) for name in PAGE}, tmp_path)
        if one.command != ("scheduler",):
            assert not Settings.load(one.at(tmp_path), None).embedded


@pytest.mark.long
@pytest.mark.parametrize("source", SOURCES)
def test_what_the_files_start_runs_and_ends_cleanly(
    source: str, environment: dict[str, str], system: System, processes: Processes, tmp_path: Path
) -> None:
    secrets = {
        **{name: environment[name] for name in URLS},
        "SECRET_KEY": "s" * 40,
        "BUDGET_ADMIN_PASSWORD": "correct-horse-battery",
        "METRICS_TOKEN": "token",
    }
    started = {}
    port = free_port()
    given = {one.command[0]: one for one in SOURCES[source]() if one.command != ("demo-traffic",)}
    for command in ("migrate", "web", "worker", "scheduler"):
        one = given[command]
        folder = tmp_path / command
        folder.mkdir()
        written(one, secrets, folder)
        processes.environment = {**one.at(folder), "BUDGET_ENV_FILE": "/dev/null", "BUDGET_WEB_PORT": str(port)}
        started[command] = processes.start(command)
        if command == "migrate":
            assert started[command].process.wait(PATIENCE_S) == 0, processes.said()
    until(lambda: answered(port, "/healthz") == 200, why=processes.said)
    until(lambda: answered(port, "/readyz") == 200, why=processes.said)
    assert answered(port, "/metrics") == 401
    assert answered(port, "/metrics", {"Authorization": "Bearer token"}) == 200
    until(lambda: len(Worker.all(connection=system.jobs_redis)) == len(QUEUES), why=processes.said)
    until(lambda: system.jobs_redis.get(HEARTBEAT_KEY), why=processes.said)
    for command in ("scheduler", "worker", "web"):
        started[command].stop()
        assert started[command].process.returncode == 0, processes.said()


def written(one: Given, secrets: dict[str, str], folder: Path) -> None:
    """Writes the files of secrets as the process finds them."""
    for name, value in one.environment.items():
        if name.endswith("_FILE"):
            (folder / value.removeprefix(f"{one.folder}/")).write_text(f"{secrets[name.removesuffix('_FILE')]}\n")


def row_example(name: str) -> str:
    return next(row.example for row in TABLE if row.name == name)


def test_a_command_by_hand_takes_the_settings_and_files_of_the_units(
    environment: dict[str, str], ready: System, tmp_path: Path
) -> None:
    section = (ROOT / "docs" / "install.md").read_text(encoding="utf-8").partition("## Systemd\n")[2]
    block = re.findall(r"^```sh\n(.*?)^```$", section, re.M | re.S)[2]
    (tmp_path / "credentials").mkdir()
    shutil.copy2(OPS / "systemd" / "budget-engine.env", tmp_path)
    for name in URLS:
        (tmp_path / "credentials" / name).write_text(f"{environment[name]}\n")
    (tmp_path / "budget-engine").write_text(f"#!/bin/sh\nexec '{sys.executable}' -m engine \"$@\"\n")
    (tmp_path / "budget-engine").chmod(0o755)
    text = block.replace("/etc/budget-engine", str(tmp_path)).replace("/opt/budget-engine/bin", str(tmp_path))
    kept = {name: value for name, value in os.environ.items() if name not in URLS}
    env = {**kept, "PYTHONPATH": str(ROOT), "BUDGET_ENV_FILE": os.devnull}
    done = subprocess.run(["sh", "-euc", text], env=env, cwd="/", capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    assert "PASS" in done.stdout and ready.settings.redis_url == environment["REDIS_URL"]
