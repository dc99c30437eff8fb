"""Not of `make test`: installs the oldest, the newest and an older redis-py from the package index, each in an environment of its own, and lets a bidder spend with it.

Run by `make redis-versions`.
"""

from __future__ import annotations

import os
import subprocess
import venv
from pathlib import Path

import pytest

from engine.live.transport.connection import REDIS_PY
from engine.wiring import System
from tests.docs.documents import ROOT

(LEAST, BELOW) = (".".join(map(str, numbers)) for numbers in REDIS_PY)
RANGE = f"redis>={LEAST},<{BELOW}"
STORY = """
import asyncio, os
from engine import AsyncBudgetClient, BudgetClient, Spend

async def awaited():
    async with AsyncBudgetClient.from_env(timeout_ms=5000) as client:
        spends = await asyncio.gather(*(client.try_spend(65537, "1") for _ in range(3)))
        held = await client.reserve(65537, "1", 60)
        return [*spends, held, await client.release(held.hold_id), *await client.record_spends([Spend(65537, "0.1")] * 10)]

with BudgetClient.from_env(timeout_ms=5000) as client:
    answers = [client.record_spend(65537, "1", event_id="win"), client.try_spend(65537, "1")]
    answers += client.record_spends([Spend(65537, "0.1")] * 10)
    answers += [client.refund(65537, "1", "win"), client.status(65537), *asyncio.run(awaited())]
    assert all(answers), answers
    with client.watch() as watch:
        assert watch.wait_ready(60) and watch.may_bid(65537)
    with client.lease(65537, "1") as lease:
        assert lease.try_spend("0.25")
    assert not client.try_spend(65537, "1000")
    print("spent", client.try_spend(65537, "0.000001").daily_spend)
"""


def environment_with(folder: Path, wanted: str) -> Path:
    """The Python of a new environment that has nothing but one redis-py."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    words = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wanted]
    subprocess.run(words, check=True, timeout=170)
    return python


def told(python: Path, environment: dict[str, str], code: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [python, "-c", code],
        env={**clean, "PYTHONPATH": str(ROOT), "REDIS_URL": environment["REDIS_URL"]},
        cwd=python.parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def campaign(system: System) -> System:
    """A brand of 100 a day with one campaign, 65537."""
    system.rebuilder.rebuild()
    brand = system.manage.create_brand("Nordlicht", 100_000_000, None, None, "test").row
    system.manage.create_campaign(brand.id, "Launch", None, None, "test")
    return system


@pytest.mark.parametrize(
    "wanted", [f"redis=={LEAST}.0", f"redis[hiredis]=={LEAST}.0", RANGE, RANGE.replace("redis", "redis[hiredis]", 1)]
)
def test_a_bidder_spends_with_the_oldest_and_the_newest_redis_py_of_the_range(
    campaign: System, environment: dict[str, str], tmp_path: Path, wanted: str
) -> None:
    done = told(environment_with(tmp_path / "venv", wanted), environment, STORY)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "spent 6.250001\n"


@pytest.mark.parametrize("wanted", ["redis==7.1.0", f"redis<{LEAST}", "redis==4.6.0"])
def test_a_bidder_beside_an_older_redis_py_is_told_so_once_and_nothing_is_spent(
    campaign: System, environment: dict[str, str], tmp_path: Path, wanted: str
) -> None:
    done = told(environment_with(tmp_path / "venv", wanted), environment, STORY)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("engine.errors.WrongVersion: redis-py ")
    assert f"this client needs {LEAST} or newer" in last
    assert campaign.client.try_spend(65537, "100").outcome == "accepted", "nothing was counted before"
