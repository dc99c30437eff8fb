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
from tests.twin.rolled import RolledMachine


class OverTheYears(RolledMachine):
    """With every move of the clock."""

    moves = {**RolledMachine.moves, **FAR_MOVES}


@pytest.fixture
def side(hot_redis: redis.Redis, hot_url: str) -> Iterator[LiveSide]:
    wire = ConnectionPool(hot_url)
    with swapping({"lib/clock.lua": MOVABLE_CLOCK}):
        yield LiveSide(hot_redis, wire)
    wire.close()
    hot_redis.flushall()


@pytest.mark.timeout(0)
@pytest.mark.parametrize("examples", [40, pytest.param(150, marks=pytest.mark.long)])
def test_redis_answers_as_the_twin_does(side: LiveSide, examples: int) -> None:
    run_state_machine_as_test(lambda: OverTheYears(side), settings=drawn(examples, 50))  # type: ignore[no-untyped-call]
