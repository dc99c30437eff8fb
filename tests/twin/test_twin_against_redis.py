"""The twin and a real Redis, side by side: the same calls, the same instants, the same answers, counters and journal."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from hypothesis.stateful import run_state_machine_as_test

from engine.live.scripts import swapping
from engine.live.transport.pool import ConnectionPool
from tests.live.plant import MOVABLE_CLOCK
from tests.twin.conftest import drawn
from tests.twin.instants import FAR_MOVES
from tests.twin.live_side import LiveSide
from tests.twin.paced import PacedMachine


class OverTheYears(PacedMachine):
    """With every move of the clock."""

    moves = {**PacedMachine.moves, **FAR_MOVES}


@pytest.fixture
def side(hot_redis: redis.Redis, hot_url: str) -> Iterator[LiveSide]:
    wire = ConnectionPool(hot_url)
    with swapping({"lib/clock.lua": MOVABLE_CLOCK}):
        yield LiveSide(hot_redis, wire)
    wire.close()
    hot_redis.flushall()


@pytest.mark.timeout(0)
def test_redis_answers_as_the_twin_does(side: LiveSide) -> None:
    run_state_machine_as_test(lambda: OverTheYears(side), settings=drawn(150, 50))  # type: ignore[no-untyped-call]
