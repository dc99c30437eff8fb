"""Fixtures of the fault tests. Each fault that the engine must survive has a number, and figures printed at the end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.figures import Figures, tell
from tests.flows.conftest import clock
from tests.live.conftest import client, live, plain, plant, wire
from tests.processes.conftest import own, processes

__all__ = ["client", "clock", "live", "own", "plain", "plant", "processes", "wire"]


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Callable[[Figures], None]:
    """Reports a test's figures under its name."""
    return lambda seen: tell(request.node, seen)
