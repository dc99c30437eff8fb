"""Fault 4: the persisting worker is killed after its read, after COPY, before and after COMMIT, before and after the trim."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from engine.wiring import System
from tests.faults.dying_worker import POINTS
from tests.faults.figures import Figures
from tests.faults.kills import kill_again_and_again
from tests.processes.conftest import Processes

KILLS = int(os.environ.get("TEST_KILLS", len(POINTS)))
SPENDS = int(os.environ.get("TEST_KILLS_SPENDS", "12000"))
SEED = int(os.environ.get("TEST_SEED", "20261123"))


@pytest.mark.timeout(180 + 10 * KILLS)
def test_fault_04_a_worker_killed_at_each_point_loses_and_doubles_nothing(
    system: System, processes: Processes, environment: dict[str, str], figures: Callable[[Figures], None]
) -> None:
    """`make kills` runs it with 100 kills over 1,000,000 spends."""
    figures(kill_again_and_again(system, processes, KILLS, SPENDS, SEED, environment))
