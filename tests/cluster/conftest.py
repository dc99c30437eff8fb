"""A Redis Cluster of three primaries with a replica each, and new test data for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.live.admin import LiveRedis
from engine.live.transport.protocol import Transport
from engine.live.transport.routed import open_transport
from engine.local.forming import wait_until_whole
from tests.cluster.load import plant_all, present
from tests.cluster.servers import Cluster, folder_in_memory, remove
from tests.live.plant import Plant


@pytest.fixture(autouse=True)
def _figures(request: pytest.FixtureRequest) -> Iterator[None]:
    """Shows the figures of each test at the end of the run."""
    present.append(request.node.user_properties)
    yield
    present.clear()


@pytest.fixture(scope="session")
def started() -> Iterator[Cluster]:
    folder = folder_in_memory()
    made: list[Cluster] = []
    try:
        made.append(Cluster(folder))
        yield made[0]
    finally:
        remove(folder, made)


@pytest.fixture
def cluster(started: Cluster) -> Cluster:
    """The cluster, complete and empty, with the first three nodes as primaries."""
    started.restore()
    return started


@pytest.fixture
def wire(cluster: Cluster) -> Iterator[Transport]:
    made = open_transport(cluster.url)
    yield made
    made.close()


@pytest.fixture
def live(wire: Transport) -> LiveRedis:
    return LiveRedis(wire)


@pytest.fixture
def plant(live: LiveRedis, cluster: Cluster) -> Plant:
    planted = plant_all(live, cluster.primaries[0])
    wait_until_whole([node.plain for node in cluster.nodes])
    return planted
