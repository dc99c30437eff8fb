"""Bidders of the release before and of this one on the same Redis, while one after the other is replaced."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.wiring import System
from tests.faults.figures import Figures, tell
from tests.patience import PATIENCE_S
from tests.processes.conftest import ROOT, brand_of, rows, until, verified
from tests.releases.bidder import SHARED

RELEASES = ROOT / "tests" / "releases"
BIDDER = RELEASES / "bidder.py"
ROUNDS = 60
"""Each bidder makes so many rounds at least beside those of the other release."""


class Bidder:
    """One bidder's process on a client that lies in `code`."""

    def __init__(self, name: str, code: Path, words: list[str]) -> None:
        self.code = code
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(BIDDER), words[0], name, *words[1:]],
            env={**os.environ, "PYTHONPATH": str(code)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def began(self) -> None:
        """Waits for its first round, and sees that it runs the client it is meant to run."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.stderr and self.process.stderr.read()
        assert json.loads(line)["engine"].startswith(f"{self.code}{os.sep}")

    def ended(self) -> dict[str, Any]:
        """Asks it to end; what it was answered."""
        self.process.send_signal(signal.SIGTERM)
        said, wrong = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == 0, wrong
        answers: dict[str, Any] = json.loads(said)
        return answers


@pytest.fixture
def release_before(tmp_path: Path) -> Path:
    """The client of the release before, unpacked."""
    (archive,) = RELEASES.glob("client-*.zip")
    zipfile.ZipFile(archive).extractall(tmp_path / "before")
    return tmp_path / "before"


@pytest.fixture
def bidder(environment: dict[str, str]) -> Iterator[Callable[..., Bidder]]:
    """Starts bidders, and ends those that a failed test left."""
    made: list[Bidder] = []

    def start(name: str, code: Path, *campaigns: int) -> Bidder:
        made.append(Bidder(name, code, [environment["REDIS_URL"], *map(str, campaigns)]))
        return made[-1]

    yield start
    for one in made:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()


def test_bidders_replaced_one_after_the_other_by_the_next_release_lose_double_and_are_refused_nothing(
    ready: System, bidder: Callable[..., Bidder], release_before: Path, request: pytest.FixtureRequest
) -> None:
    _, (plain, shared) = brand_of(ready, "Plain", 2)
    tight_brand, (tight,) = brand_of(ready, "Tight", 1, daily=3_000_000)

    def spent() -> int:
        return sum(counted(ready, campaign) for campaign in (plain, shared))

    olds = [bidder(f"old-{i}", release_before, plain, shared, tight) for i in range(3)]
    for one in olds:
        one.began()
    answers, news = [], []
    for number, old in enumerate(olds):
        news.append(bidder(f"new-{number}", ROOT, plain, shared, tight))
        news[-1].began()
        # Both go on for a while; a person raises the tight budget meanwhile, and persist runs.
        goal = spent() + ROUNDS * 81_000
        until(lambda goal=goal: spent() >= goal)  # type: ignore[misc]
        ready.manage.update_brand(tight_brand, "test", daily_budget_micros=3_000_000 * (number + 2))
        ready.persister.drain_all()
        answers.append(old.ended())
    answers += [new.ended() for new in news]
    ready.persister.drain_all()

    told = {
        kind: sum((Counter(each[kind]) for each in answers), Counter[str]())
        for kind in ("plain", "shared", "tight", "batch")
    }
    rounds = sum(each["rounds"] for each in answers)
    assert told["plain"] == {"recorded": rounds}
    assert told["batch"] == {"recorded": 40 * rounds}
    assert set(told["shared"]) == {"recorded", "duplicate"} and told["shared"]["recorded"] == SHARED
    assert set(told["tight"]) <= {"accepted", "refused"}
    want = {
        plain: rounds * 1_000 + rounds * 40 * 2_000,
        shared: SHARED * 10_000,
        tight: told["tight"]["accepted"] * 70_000,
    }
    assert {campaign: counted(ready, campaign) for campaign in want} == want, (
        "what they were answered is what Redis counted"
    )
    assert want[tight] <= 12_000_000, "no release takes more than the budget that was in force"
    logged = dict(rows(ready, "SELECT campaign_id, sum(amount_micros)::bigint FROM spend_log GROUP BY 1"))
    assert logged == want, "and what the log has"
    assert verified(ready) == []
    tell(request.node, Figures(attempts=43 * rounds, acknowledged=43 * rounds, more=f"{len(olds)} bidders replaced"))


def counted(system: System, campaign_id: int) -> int:
    """What Redis counted of a campaign today."""
    brand = system.live.read_campaign(campaign_id)
    assert brand is not None
    return brand.campaigns[campaign_id].daily_spend
