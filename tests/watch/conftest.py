"""Fixtures of the watch's tests: Redis with test data, a clock that runs on from any instant, and a ready watch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import redis

from engine.client.sync import BudgetClient
from engine.client.watch.watch import Watch
from engine.live.scripts import swapping
from tests.live.conftest import client, live, plain, plant, wire
from tests.live.plant import Plant
from tests.patience import PATIENCE_S

__all__ = ["client", "live", "plain", "plant", "wire"]

RUNNING_CLOCK = """
local function read_clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000) + (tonumber(redis.call('GET', 'test:shift') or '0'))
end
"""


@pytest.fixture
def watch(plant: Plant, client: BudgetClient) -> Iterator[Watch]:
    """A watch of all brands that has read everything."""
    with client.watch() as made:
        assert made.wait_ready(PATIENCE_S), made.why
        yield made


SetClock = Callable[[int], None]


@pytest.fixture
def set_clock(plain: redis.Redis) -> Iterator[SetClock]:
    """Sets the time that the scripts of this process read; it runs on from there."""

    def set_to(ms: int) -> None:
        seconds, micros = plain.time()
        plain.set("test:shift", ms - (seconds * 1000 + micros // 1000))

    with swapping({"lib/clock.lua": RUNNING_CLOCK}):
        yield set_to
    plain.delete("test:shift")


def until(true: Callable[[], bool], seconds: float = PATIENCE_S) -> float:
    """Waits until `true` returns True; returns the milliseconds. Fails after `seconds`."""
    began = time.perf_counter()
    while not true():
        assert time.perf_counter() - began < seconds, "it did not come"
        time.sleep(0.0002)
    return (time.perf_counter() - began) * 1000
