"""Fault 6 with more than one server: one that refuses every call is named, with what to repeat; the repeat counts once, and other nodes go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

import pytest

from engine import AsyncBudgetClient, BudgetClient, Unavailable
from engine.domain.ids import brand_of
from engine.live.admin import LiveRedis
from engine.live.transport.routed import open_transport
from tests.cluster.load import campaign_of, plant_all
from tests.cluster.refusing import BEHIND_SENTINEL, EACH, refuses
from tests.cluster.sentinel import Watched
from tests.cluster.servers import Cluster, running
from tests.faults import refusals
from tests.faults.test_fault_06_refusing_redis import READS, WORDS, Blocking, paths_of
from tests.patience import PATIENCE_S, in_time
from tests.processes.conftest import until

pytestmark = pytest.mark.timeout(240)
MILLION = 1_000_000
TIMEOUT_MS = 3000
"""Long enough for a busy machine to hear the refusal."""
KINDS = pytest.mark.parametrize("kind", [BudgetClient, AsyncBudgetClient], ids=["sync", "asyncio"])
SAID = WORDS | {"CLUSTERDOWN": ("is down",), "TRYAGAIN": ("rehashing",)}
# A node that loads does not hear the others yet, and may say this first.
SAID |= {"LOADING": (*WORDS["LOADING"], "is down")}
SAID |= {word: (*WORDS[word], "it is a replica now") for word in ("READONLY", "MASTERDOWN")}


@pytest.fixture(scope="module")
def alone() -> Iterator[Cluster]:
    """Three nodes without replicas: nobody takes over from one that refuses. Each is well again after its test."""
    with running(lambda folder: Cluster(folder, 3, 0)) as made:
        yield made


@contextmanager
def opened(url: str, kind: type) -> Iterator[Any]:
    """A client, closed also where a test fails: else it would send again in the next one what a flush took."""
    made: Any = BudgetClient.from_url(url, TIMEOUT_MS) if kind is BudgetClient else Blocking(url, TIMEOUT_MS)
    with closing(made):
        yield made


def refused(call: Callable[[], Any]) -> Unavailable | None:
    """The error of a call; None where it has an answer."""
    began = time.monotonic()
    try:
        call()
    except Unavailable as error:
        assert in_time(time.monotonic() - began, TIMEOUT_MS / 1000)
        return error
    return None


def answered(call: Callable[[], Any]) -> Any:
    """The answer to a call that names what it counts, repeated as bidders do until it has one."""
    until_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return call()
        except Unavailable:
            assert time.monotonic() < until_s


def each_call_is_named_and_counts_once(
    word: str, client: Any, live: LiveRedis, campaigns: list[int], block: AbstractContextManager[None], well: list[int]
) -> None:
    """campaigns: the first is on the server that refuses. well: campaigns on nodes that do not."""
    one, prefix = campaigns[0], f"{word}-{type(client).__name__}"
    ids = {name: f"{prefix}-{name}" for name in ("settle", "release", "refund")}
    for name in ("settle", "release"):
        ids[name] = answered(lambda name=name: client.reserve(one, "2", 3600, ids[name])).hold_id
    assert answered(lambda: client.record_spend(one, "5", event_id=ids["refund"]))
    lease = answered(lambda: client.lease(one, "30", 600))
    until(lambda: lease.left >= 2, why=lambda: str(lease))
    for campaign in well:
        assert answered(lambda campaign=campaign: client.record_spend(campaign, "1", event_id=f"{prefix}-well"))
    paths = paths_of(client, campaigns, prefix, ids)
    with block, ThreadPoolExecutor(len(paths) + len(well) + 1) as together:
        leased = sum(lease.try_spend("1") for _ in range(2))
        others = [together.submit(client.try_spend, campaign, "1", event_id=f"{prefix}-other") for campaign in well]
        errors = list(together.map(refused, [path.call for path in paths]))
        opening = refused(lambda: client.lease(one, "1"))
    assert opening is not None
    assert {other.result().outcome for other in others} <= {"accepted"}, "other nodes go on"
    said = [any(each in str(error) for each in SAID.get(word, (word,))) for error in errors if error]
    assert sum(said) > len(said) / 2, list(map(str, errors))
    for path, error in zip(paths, errors, strict=True):
        if error is None:
            assert path.name in READS, path.name
            continue
        assert error.request_id or path.name in READS, (path.name, str(error))
        if well and len(error.answers) > 1:
            assert [answer is not None for answer in error.answers] == [False, True, True], path.name
    for path, error in zip(paths, errors, strict=True):
        for _ in range(2):
            named = error.request_id if error else ""
            assert answered(lambda path=path, named=named: path.again(named)), path.name
    lease.close()
    found = [live.read_brand(brand_of(campaign), 0) for campaign in campaigns]
    spent = sum(brand.daily_spend for brand in found if brand is not None)
    assert spent == sum(path.micros for path in paths) + (5 + leased + 2 * len(well)) * MILLION


@KINDS
@pytest.mark.parametrize("word", EACH)
def test_each_call_to_a_node_that_refuses_names_what_to_repeat_and_the_other_nodes_answer(
    word: str, kind: type, alone: Cluster
) -> None:
    alone.restore()
    wire = open_transport(alone.url)
    live = LiveRedis(wire)
    plant_all(live, None)
    campaigns = [campaign_of(alone.shards_of(node)[0]) for node in alone.primaries]
    block = refuses(word, alone, alone.primaries[0])
    with opened(alone.url, kind) as client:
        each_call_is_named_and_counts_once(word, client, live, campaigns, block, campaigns[1:])
    wire.close()


@pytest.fixture(scope="module")
def sentinel() -> Iterator[Watched]:
    with running(Watched) as made:
        yield made


@KINDS
@pytest.mark.parametrize("word", refusals.EACH)
def test_each_call_to_a_primary_behind_sentinel_that_refuses_names_what_to_repeat(
    word: str, kind: type, sentinel: Watched
) -> None:
    sentinel.restore()
    wire = open_transport(sentinel.url)
    live = LiveRedis(wire)
    plant_all(live, None)
    campaigns = [campaign_of(shard) for shard in (1, 2, 3)]
    node = sentinel.primary
    block = BEHIND_SENTINEL.get(word, refusals.REFUSALS[word])(node)
    with opened(sentinel.url, kind) as client:
        each_call_is_named_and_counts_once(word, client, live, campaigns, block, [])
    wire.close()
