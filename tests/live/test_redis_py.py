"""The redis-py beside the client: one that it does not work with is refused before anything is sent, and every place that names the range agrees."""

from __future__ import annotations

import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import redis

from engine import BudgetError, WrongVersion
from engine.live.transport.connection import REDIS_PY, check_redis_py
from engine.wiring import System
from tests.docs.documents import README, ROOT
from tests.redis_py_range import STORY
from tests.redis_py_range import campaign as campaign  # noqa: PLC0414  # a fixture is used by its name

WANTED = ">={}.{},<{}".format(*REDIS_PY[0], REDIS_PY[1][0])


@pytest.mark.parametrize("version", ["8.1.0", "8.1", "8.1.0b1", "8.2.0", "8.10.3", redis.__version__])
def test_a_redis_py_of_the_range_is_taken(version: str) -> None:
    check_redis_py(version)


@pytest.mark.parametrize(
    "version", ["8.0.1", "7.1.0", "5.2.1", "3.5.3", "9.0.0", "10.0.0", "99.99.99", "", "new", None]
)
def test_a_redis_py_outside_the_range_is_refused_with_both_versions_named(version: object) -> None:
    with pytest.raises(WrongVersion) as refused:
        check_redis_py(version)
    said = str(refused.value)
    assert "\n" not in said
    assert f"redis-py {version!r} is installed and this client needs 8.1 or newer, below 9" in said
    assert "nothing was sent" in said
    assert f'pip install "redis{WANTED}"' in said


MAKERS = {
    "from_url": "engine.BudgetClient.from_url(url)",
    "from_env": "engine.BudgetClient.from_env()",
    "the seed's call": "engine.record_spend(65537, '1')",
    "asyncio": "engine.AsyncBudgetClient.from_url(url)",
    "asyncio from_env": "engine.AsyncBudgetClient.from_env()",
    "jobs": "__import__('engine.live.transport.pool').live.transport.pool.ConnectionPool(url)",
}


@pytest.mark.parametrize("made", MAKERS.values(), ids=MAKERS)
def test_no_client_is_made_beside_an_older_redis_py_and_nothing_is_sent(made: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"redis://127.0.0.1:{listening.getsockname()[1]}"
        code = (
            "import redis; redis.__version__ = '7.1.0'\n"
            "import engine\n"
            f"url = {url!r}\n"
            f"try: {made}\n"
            "except engine.BudgetError as error: print(type(error).__name__, error)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env={"REDIS_URL": url}, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("WrongVersion redis-py '7.1.0' is installed and this client needs 8.1 or newer")
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_a_bidder_without_hiredis_spends_holds_watches_and_leases(
    campaign: System, environment: dict[str, str], tmp_path: Path
) -> None:
    hidden = "import sys; sys.modules['hiredis'] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", hidden + STORY],
        env={"PYTHONPATH": str(ROOT), "REDIS_URL": environment["REDIS_URL"]},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "spent 6.250001\n"), done.stderr


def test_the_import_of_the_client_loads_no_asyncio_client_of_redis_py_by_itself() -> None:
    code = "import engine, sys; from engine.live.transport import aio; print(hasattr(aio, 'redis'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n", done.stderr


def test_both_wheels_and_the_readme_ask_for_the_redis_py_that_the_client_takes() -> None:
    for folder in (ROOT, ROOT / "clients" / "python"):
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert f"redis[hiredis]{WANTED}" in project["dependencies"], folder
    assert f"redis-py {WANTED}" in README.read_text(encoding="utf-8")


def test_the_refusal_is_a_budget_error() -> None:
    assert issubclass(WrongVersion, BudgetError)
