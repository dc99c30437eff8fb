"""A whole system on empty real servers for each test: migrated, rebuilt, ready."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.live.scripts import swapping
from engine.wiring import System
from tests.live.plant import MOVABLE_CLOCK


@pytest.fixture
def ready(system: System) -> System:
    """The system after its first start: the rebuild of an empty log."""
    system.rebuilder.rebuild_missing()
    return system


@pytest.fixture
def clock(ready: System) -> Iterator[System]:
    """The same on a clock that `at(system, ms)` moves."""
    with swapping({"lib/clock.lua": MOVABLE_CLOCK}):
        yield ready


def at(system: System, ms: int) -> None:
    """Moves the clock of the `clock` fixture."""
    system.hot_redis.set("test:clock", ms)
