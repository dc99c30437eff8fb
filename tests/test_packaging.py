"""The wheel: it holds what the program reads at run time, and a bidder gets along with it and redis alone."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from engine.live.scripts import NAMES
from engine.wiring import System
from tests.docs.documents import README, ROOT, blocks

MOST_KILOBYTES = 440
_NO_INDEX = (
    "No matching distribution", "Could not find a version", "Failed to establish", "ConnectionError", "NewConnectionError", "Retrying",
)  # fmt: skip
"""How pip says that it cannot reach its index."""


def _pip(python: Path, *words: str) -> None:
    """Runs pip with the versions that the project pins. Skips where what it needs cannot be had."""
    constraints = ROOT / "constraints.txt"
    environ = {
        **_clean(),
        "PIP_CONSTRAINT": constraints.as_uri() if " " in str(constraints) else str(constraints),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_RETRIES": "1",
    }
    done = subprocess.run(
        [python, "-m", "pip", *words], env=environ, cwd=ROOT, capture_output=True, text=True, timeout=170
    )
    if done.returncode != 0 and any(sign in done.stderr for sign in _NO_INDEX):
        pytest.skip(f"pip cannot reach its index: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr


def _clean() -> dict[str, str]:
    """The environment without anything that would lend a fresh Python our packages or a person's servers."""
    return {
        name: value
        for name, value in os.environ.items()
        if (name not in ("PYTHONPATH", "VIRTUAL_ENV") and not name.endswith("_URL")) or name.startswith("PIP_")
    }


def _built(project: Path, folder: Path) -> Path:
    """The wheel of a project, built as pip builds it."""
    here = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    _pip(Path(sys.executable), "wheel", "--quiet", "--no-deps", *here, "--wheel-dir", str(folder), str(project))
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole product's wheel."""
    return _built(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def bidders_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that a bidder installs."""
    return _built(ROOT / "clients" / "python", tmp_path_factory.mktemp("bidder"))


def test_a_bidders_wheel_has_the_clients_rooms_and_the_scripts_and_is_small(wheel: Path, bidders_wheel: Path) -> None:
    whole, held = zipfile.ZipFile(wheel), zipfile.ZipFile(bidders_wheel)
    files = {name for name in held.namelist() if ".dist-info/" not in name}
    rooms = {name.split("/")[1] for name in files}
    singles = {
        "__init__.py",
        "env_file.py",
        "errors.py",
        "page_urls.py",
        "running.py",
        "secret_files.py",
        "settings.py",
        "speedups.py",
        "urls.py",
    }
    assert {name.split("/")[0] for name in files} == {"engine"}
    assert rooms == {"client", "domain", "live"} | singles
    for room in ("client", "domain", "live"):
        assert {name for name in whole.namelist() if name.startswith(f"engine/{room}/")} <= files, room
    assert all(held.read(name) == whole.read(name) for name in files), (
        "the same files, or one would overwrite the other"
    )
    assert bidders_wheel.stat().st_size < MOST_KILOBYTES * 1024
    assert bidders_wheel.name.split("-")[1] == wheel.name.split("-")[1], "one version"


def test_a_bidder_loads_nothing_of_ledger_flows_page_or_tests(bidders_wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(bidders_wheel).extractall(tmp_path)
    code = (
        "import importlib, pkgutil, sys, engine\n"
        "for found in pkgutil.walk_packages(engine.__path__, 'engine.'): importlib.import_module(found.name)\n"
        "print(engine.__file__); print(*sorted({name.split('.')[0] for name in sys.modules}))\n"
        "print(*sorted(name for name in sys.modules if name.startswith('engine.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    where, tops, ours = done.stdout.splitlines()
    assert where == str(tmp_path / "engine" / "__init__.py")
    assert {
        "sqlalchemy",
        "flask",
        "rq",
        "click",
        "alembic",
        "pydantic",
        "tests",
        "web",
        "api",
        "benchmarks",
    }.isdisjoint(tops.split())
    assert {name.split(".")[1] for name in ours.split()} <= {
        "client", "domain", "live", "env_file", "errors", "page_urls", "running", "secret_files", "settings", "speedups", "urls",
    }  # fmt: skip


def test_the_wheel_holds_what_is_read_at_run_time(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"engine/live/lua/{name}.lua" for name in NAMES}
    wanted |= {f"engine/live/lua/lib/{path.name}" for path in (ROOT / "lua" / "lib").iterdir()}
    wanted |= {"engine/live/lua/golden.json"}
    for folder in ("web/templates", "web/static", "api/templates", "api/static", "engine/ledger/migrations"):
        found = [p for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts]
        assert found, folder
        wanted |= {path.relative_to(ROOT).as_posix() for path in found}
    assert wanted - held == set()
    assert not {name for name in held if name.startswith(("tests/", "tools/", "lua/"))}


def test_a_bidder_needs_the_wheel_and_redis_and_nothing_else(
    wheel: Path, tmp_path: Path, system: System, environment: dict[str, str]
) -> None:
    system.rebuilder.rebuild()
    brand = system.manage.create_brand("Nordlicht", 100_000_000, None, None, "test").row
    system.manage.create_campaign(brand.id, "Launch", None, None, "test")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    _pip(python, "install", "--quiet", "redis")
    _pip(python, "install", "--quiet", "--no-deps", str(wheel))
    (snippet,) = blocks(README, "python")
    names = "import importlib.metadata as m; print(*sorted(d.name.lower() for d in m.distributions()))"
    done = subprocess.run(
        [python, "-c", f"{snippet}\n{names}"],
        env={**_clean(), "REDIS_URL": environment["REDIS_URL"]},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    *answers, installed = done.stdout.splitlines()
    assert answers[0].startswith("SpendResult('accepted', campaign_id=65537")
    assert answers[-1] == "CampaignStatus('active', reasons=())"
    assert {"sqlalchemy", "flask", "rq", "click"}.isdisjoint(installed.split())
    assert "budget-engine" in installed.split()
    command = subprocess.run(
        [python.parent / "budget-engine", "doctor"],
        env=_clean(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (command.returncode, command.stdout) == (1, "")
    (line,) = command.stderr.splitlines()
    assert line.startswith("budget-engine: the package click is not installed"), "one line, and what to install"
