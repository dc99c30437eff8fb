"""Fixtures of the flows' tests: a ready system whose clock can be moved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from engine.domain.periods import at_ms
from engine.live.scripts import swapping
from engine.wiring import System
from tests.live.plant import MOVABLE_CLOCK


@pytest.fixture
def clock(ready: System) -> Iterator[System]:
    """The ready system, with scripts on a clock that `at(system, ms)` sets."""
    with swapping({"lib/clock.lua": MOVABLE_CLOCK}):
        yield ready


def at(system: System, ms: int) -> None:
    """Sets the clock of the `clock` fixture, in epoch milliseconds."""
    system.hot_redis.set("test:clock", ms)


def born_on_the_moved_clock(system: System) -> None:
    """Sets the brands' created_at to the moved clock; otherwise a close would begin at the day of the test run."""
    moved: Any = system.hot_redis.get("test:clock")
    if moved is not None:
        with system.db.begin() as conn:
            conn.execute(text("UPDATE brand SET created_at = :at WHERE created_at < :at"), {"at": at_ms(int(moved))})
