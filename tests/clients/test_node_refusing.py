"""Fault 6 with the Node client: a server, node or primary that refuses every call. Each error names what to repeat; the repeat counts once."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from engine.domain.ids import brand_of
from engine.live.admin import LiveRedis
from engine.live.transport.routed import open_transport
from tests.cluster.load import campaign_of, plant_all
from tests.cluster.refusing import BEHIND_SENTINEL, EACH, loading, refuses
from tests.cluster.sentinel import Watched
from tests.cluster.servers import Cluster, Node, running
from tests.faults import refusals
from tests.patience import PATIENCE_S
from tools.node_client import node

pytestmark = [pytest.mark.timeout(240), pytest.mark.long]
MILLION = 1_000_000
COUNTED = {"record": 1, "try": 1, "record, named": 1, "record, event": 1, "settle": 1, "refund": -1}
"""Millions that a call adds to the spend of its campaigns. A batch adds one for each campaign."""
BATCHES = ("batch", "try batch", "columns", "try columns")
READS = ("status",)


class Bidder:
    """A program with the Node client that goes on by a step for each line it is given."""

    def __init__(self, folder: Path, url: str, campaigns: list[int], prefix: str) -> None:
        args = [node(), "dist-test/refusing.js", url, ",".join(map(str, campaigns)), prefix]
        self.process = subprocess.Popen(
            args, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def line(self) -> str:
        assert self.process.stdout is not None and self.process.stderr is not None
        return self.process.stdout.readline() or pytest.fail(self.process.stderr.read())

    def step(self) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write("on\n")
        self.process.stdin.flush()
        found: dict[str, Any] = json.loads(self.line())
        return found


def counts_once(
    folder: Path, word: str, url: str, campaigns: list[int], block: AbstractContextManager[None], *, alone: bool
) -> None:
    """campaigns: the first one's server refuses. alone: the others are on servers that do not."""
    wire = open_transport(url)
    live = LiveRedis(wire)
    plant_all(live, None)
    bidder = Bidder(folder, url, campaigns, word)
    try:
        assert bidder.line() == "ready\n"
        with block:
            errors = bidder.step()
        again = bidder.step()
        assert bidder.process.wait(PATIENCE_S) == 0
    finally:
        bidder.process.kill()
        bidder.process.communicate()
    for name, error in errors.items():
        if error is None:
            assert name in READS, name
            continue
        assert error["kind"] == "Unavailable", (name, error)
        assert error["requestId"] or name in READS, (name, error)
        if name in BATCHES and alone:
            assert error["answers"] == [False, *[True] * (len(campaigns) - 1)], (name, error)
    assert {name: told for name, told in again.items() if told != [None, None]} == {}
    brands = [live.read_brand(brand_of(campaign), 0) for campaign in campaigns]
    spent = sum(brand.daily_spend for brand in brands if brand is not None)
    assert spent == (sum(COUNTED.values()) + len(BATCHES) * len(campaigns) + 5 + len(campaigns) - 1) * MILLION
    wire.close()


@pytest.fixture(scope="module")
def one() -> Iterator[Node]:
    with running(lambda folder: Node(folder / "one")) as made:
        yield made


@pytest.fixture(scope="module")
def three() -> Iterator[Cluster]:
    with running(lambda folder: Cluster(folder, 3, 0)) as made:
        yield made


@pytest.fixture(scope="module")
def sentinel() -> Iterator[Watched]:
    with running(Watched) as made:
        yield made


@pytest.mark.parametrize("word", refusals.EACH)
def test_each_call_of_a_node_client_to_a_redis_that_refuses_names_what_to_repeat(
    word: str, node_folder: Path, one: Node
) -> None:
    one.plain.flushall()
    campaigns = [campaign_of(shard) for shard in (1, 2, 3)]
    block = loading(one) if word == "LOADING" else refusals.REFUSALS[word](one)
    counts_once(node_folder, word, one.url, campaigns, block, alone=False)


@pytest.mark.parametrize("word", EACH)
def test_each_call_of_a_node_client_to_a_node_that_refuses_names_what_to_repeat_and_other_nodes_answer(
    word: str, node_folder: Path, three: Cluster
) -> None:
    three.restore()
    campaigns = [campaign_of(three.shards_of(node)[0]) for node in three.primaries]
    block = refuses(word, three, three.primaries[0])
    counts_once(node_folder, word, three.url, campaigns, block, alone=True)


@pytest.mark.parametrize("word", refusals.EACH)
def test_each_call_of_a_node_client_to_a_primary_behind_sentinel_that_refuses_names_what_to_repeat(
    word: str, node_folder: Path, sentinel: Watched
) -> None:
    sentinel.restore()
    campaigns = [campaign_of(shard) for shard in (1, 2, 3)]
    block = BEHIND_SENTINEL.get(word, refusals.REFUSALS[word])(sentinel.primary)
    counts_once(node_folder, word, sentinel.url, campaigns, block, alone=False)
