"""Faults that the engine must survive, each a test that can be run by its number; what they saw is printed at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.figures import SEEN, Figures, tell
from tests.flows.conftest import clock, ready
from tests.live.conftest import client, live, plain, plant, wire
from tests.processes.conftest import own, processes

__all__ = ["client", "clock", "live", "own", "plain", "plant", "processes", "ready", "wire"]


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Callable[[Figures], None]:
    """Tells what a test saw, under its own name."""
    return lambda seen: tell(request.node.name.removeprefix("test_"), seen)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if SEEN:
        terminalreporter.section("faults: what was seen")
        for line in SEEN:
            terminalreporter.write_line(line)
