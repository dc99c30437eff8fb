"""Fixtures of the hot path's tests: Redis with test data, and a clock that can be moved."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from engine.client.sync import BudgetClient
from engine.live.admin import LiveRedis
from engine.live.scripts import swapping
from engine.live.transport.pool import ConnectionPool
from engine.speedups import speedups
from tests.live.plant import MOVABLE_CLOCK, Plant
from tests.speedups.compiled import compiled


@pytest.fixture
def plain(hot_redis: redis.Redis) -> redis.Redis:
    hot_redis.flushall()
    return hot_redis


@pytest.fixture
def wire(hot_url: str) -> Iterator[ConnectionPool]:
    made = ConnectionPool(hot_url)
    yield made
    made.close()


@pytest.fixture
def live(wire: ConnectionPool) -> LiveRedis:
    return LiveRedis(wire)


@pytest.fixture
def plant(live: LiveRedis, plain: redis.Redis) -> Plant:
    return Plant(live, plain)


@pytest.fixture
def client(wire: ConnectionPool) -> BudgetClient:
    return BudgetClient(wire, timeout_ms=5000)


@pytest.fixture(params=["compiled", "pure Python"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are packed by the compiled speedups, and in Python."""
    monkeypatch.setattr(speedups, "pack", compiled().pack if request.param == "compiled" else None)


@pytest.fixture
def clock(plain: redis.Redis) -> Iterator[None]:
    """Lets the scripts of this process read their time from a key, which `plant.at(ms)` sets."""
    with swapping({"lib/clock.lua": MOVABLE_CLOCK}):
        yield
    plain.delete("test:clock")
