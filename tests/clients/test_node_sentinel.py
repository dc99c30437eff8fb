"""The Node client behind Sentinel: the primary dies, freezes, is demoted or has a replica that lags, and each spend counts once."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.live.admin import LiveRedis
from engine.live.journal import decode
from engine.live.keys import shard_keys
from engine.live.transport.routed import open_transport
from tests.clients.test_node_cluster import spends_during
from tests.cluster.load import counted, figures, plant_all
from tests.cluster.sentinel import Watched
from tests.cluster.servers import Node, running, until

pytestmark = pytest.mark.timeout(240)
BEHIND_S = 1.0


@pytest.fixture(scope="module")
def started() -> Iterator[Watched]:
    with running(Watched) as made:
        yield made


@pytest.fixture
def sentinel(started: Watched) -> Watched:
    started.restore()
    return started


def logged(sentinel: Watched) -> Counter[str]:
    found: Counter[str] = Counter()
    for shard in range(64):
        for item in sentinel.primary.plain.xrange(shard_keys(shard).journal):
            found.update(spend.event_id for spend in decode(*item).spends() if spend.event_id)
    return found


def accounted(folder: Path, sentinel: Watched, what: str, fault: Callable[[], None], **waits: float) -> None:
    """Nothing that a bidder was told is counted is missing, and nothing is counted twice."""
    wire = open_transport(sentinel.url)
    live = LiveRedis(wire)
    plant_all(live, None)
    account = spends_during(folder, sentinel.url, fault, lambda: logged(sentinel), **waits)
    found = logged(sentinel)
    figures(f"Node behind Sentinel: {what}", account, found)
    assert counted(live) == sum(found.values())
    wire.close()


def pair(sentinel: Watched) -> tuple[Node, Node]:
    """The primary, and its replica that has all of it."""
    old = sentinel.primary
    old.wait_for_replica()
    return old, next(node for node in sentinel.nodes if node is not old)


def taken_over(sentinel: Watched, heir: Node) -> None:
    until(lambda: heir.role() == "master" and sentinel.primary is heir, 60)


@pytest.mark.long
def test_a_failover_by_hand_loses_no_spend_of_a_node_bidder(node_folder: Path, sentinel: Watched) -> None:
    accounted(node_folder, sentinel, "failover by hand", sentinel.fail_over)


def test_a_primary_dies_and_a_node_bidder_goes_on_with_its_heir(node_folder: Path, sentinel: Watched) -> None:
    def fault() -> None:
        old, heir = pair(sentinel)
        sentinel.hurry()
        old.kill()
        taken_over(sentinel, heir)

    accounted(node_folder, sentinel, "kill -9", fault)


@pytest.mark.long
def test_a_primary_freezes_and_wakes_and_a_node_bidder_stays_with_its_heir(
    node_folder: Path, sentinel: Watched
) -> None:
    def fault() -> None:
        old, heir = pair(sentinel)
        sentinel.hurry()
        old.signal(signal.SIGSTOP)
        taken_over(sentinel, heir)
        old.signal(signal.SIGCONT)

    accounted(node_folder, sentinel, "frozen, and awake again", fault)


def lagging(sentinel: Watched) -> Callable[[], None]:
    """A primary dies whose replica is behind, and the replica takes over."""

    def fault() -> None:
        old, heir = pair(sentinel)
        heir.signal(signal.SIGSTOP)
        time.sleep(BEHIND_S)
        sentinel.hurry()
        old.kill()
        heir.signal(signal.SIGCONT)
        taken_over(sentinel, heir)

    return fault


@pytest.mark.long
def test_what_a_replica_that_lags_never_had_is_sent_again_by_a_node_bidder(
    node_folder: Path, sentinel: Watched
) -> None:
    accounted(node_folder, sentinel, "a replica that lags", lagging(sentinel))


@pytest.mark.long
def test_a_node_bidder_that_closes_right_after_a_failover_sends_first_what_the_replica_never_had(
    node_folder: Path, sentinel: Watched
) -> None:
    accounted(node_folder, sentinel, "closed at once", lagging(sentinel), patience_s=0, after_s=0)
