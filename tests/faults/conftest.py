"""Faults that the engine must survive, each a test that can be run by its number; what they saw is printed at the end."""

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
    """Tells what a test saw, under its own name."""
    return lambda seen: tell(request.node, seen)
