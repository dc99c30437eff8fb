"""Fault 6: a Redis that answers and refuses everything. Each call of each client is `Unavailable` and names what to repeat; the repeat counts once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from engine import AsyncBudgetClient, BudgetClient, Spend, Unavailable
from engine.client.aio import lanes
from tests.faults.refusals import EACH, REFUSALS
from tests.patience import PATIENCE_S, in_time
from tests.processes.conftest import Own, brand_of, own_servers, until, verified

TIMEOUT_MS = 1000
WORDS = {
    "LOADING": ("loading", "does not answer"),  # between two answers it reads on, for long on a busy machine
    "READONLY": ("read-only",),
    "MASTERDOWN": ("read-only", "with MASTER is down"),
    "OOM": ("is full",),
}
READS = ("status",)
"""Calls that count nothing: some of these servers answer them."""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    """One set of servers for all of these: each is well again after its test."""
    for made in own_servers(tmp_path_factory.mktemp("logs")):
        made.system.rebuilder.rebuild(range(64))
        yield made


class Path(NamedTuple):
    """A call, and the same call again with what its error named. counts: micros that it adds to the brand's spend."""

    name: str
    call: Callable[[], Any]
    again: Callable[[str], Any]
    micros: int


def paths_of(client: Any, campaigns: list[int], prefix: str, ids: dict[str, str]) -> list[Path]:
    """Every call of a client. ids: of a hold to be settled, one to be released, and a spend to be refunded."""
    one, few = campaigns[0], [Spend(campaign, "1") for campaign in campaigns]
    columns, amounts = campaigns, [1_000_000] * len(campaigns)
    million = 1_000_000
    return [
        Path("record", lambda: client.record_spend(one, "1"), lambda i: client.record_spend(one, "1", request_id=i), million),
        Path("try", lambda: client.try_spend(one, "1"), lambda i: client.try_spend(one, "1", request_id=i), million),
        Path(
            "record, named",
            lambda: client.record_spend(one, "1", request_id=f"{prefix}-named"),
            lambda i: client.record_spend(one, "1", request_id=i),
            million,
        ),
        Path(
            "record, event",
            lambda: client.record_spend(one, "1", event_id=f"{prefix}-e"),
            lambda i: client.record_spend(one, "1", event_id=f"{prefix}-e", request_id=i),
            million,
        ),
        Path("batch", lambda: client.record_spends(few), lambda i: client.record_spends(few, request_id=i), len(few) * million),
        Path("try batch", lambda: client.try_spends(few), lambda i: client.try_spends(few, request_id=i), len(few) * million),
        Path(
            "columns",
            lambda: client.record_spend_columns(columns, amounts),
            lambda i: client.record_spend_columns(columns, amounts, request_id=i),
            len(few) * million,
        ),
        Path(
            "try columns",
            lambda: client.try_spend_columns(columns, amounts),
            lambda i: client.try_spend_columns(columns, amounts, request_id=i),
            len(few) * million,
        ),
        Path("reserve", lambda: client.reserve(one, "1"), lambda i: client.reserve(one, "1", hold_id=i), 0),
        Path("settle", lambda: client.settle(ids["settle"], "1"), lambda i: client.settle(i, "1"), million),
        Path("release", lambda: client.release(ids["release"]), client.release, 0),
        Path("refund", lambda: client.refund(one, "1", ids["refund"]), lambda i: client.refund(one, "1", i), -million),
        Path("status", lambda: client.status(one), lambda _: client.status(one), 0),
    ]  # fmt: skip


class Blocking:
    """An asyncio client with the methods of the other, on an event loop of its own."""

    def __init__(self, url: str, timeout_ms: int = TIMEOUT_MS) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._client = AsyncBudgetClient.from_url(url, timeout_ms)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*args: Any, **more: Any) -> Any:
            return await getattr(self._client, name)(*args, **more)

        return lambda *args, **more: asyncio.run_coroutine_threadsafe(call(*args, **more), self._loop).result()

    def close(self) -> None:
        self.aclose()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def refused(call: Callable[[], Any]) -> Unavailable | None:
    """The error of a call; None where it has an answer."""
    began = time.monotonic()
    try:
        call()
    except Unavailable as error:
        assert in_time(time.monotonic() - began, TIMEOUT_MS / 1000)
        return error
    return None


def spent_of(own: Own, brands: list[int]) -> int:
    found = [own.system.live.read_brand(brand, 0) for brand in brands]
    return sum(brand.daily_spend for brand in found if brand is not None)


@pytest.mark.parametrize("kind", [BudgetClient, AsyncBudgetClient], ids=["sync", "asyncio"])
@pytest.mark.parametrize("word", EACH)
def test_fault_06_each_call_of_a_client_to_a_redis_that_refuses_names_what_to_repeat_and_the_repeat_counts_once(
    word: str, kind: type, own: Own
) -> None:
    made = [brand_of(own.system, f"{word} {kind.__name__} {i}", campaigns=1) for i in range(3)]
    brands, campaigns = [brand for brand, _ in made], [campaign for _, (campaign,) in made]
    url, prefix = own.environment["REDIS_URL"], f"{word}-{kind.__name__}"
    client: Any = BudgetClient.from_url(url, TIMEOUT_MS) if kind is BudgetClient else Blocking(url)
    one = campaigns[0]
    ids = {name: client.reserve(one, "2", 3600, f"{prefix}-{name}").hold_id for name in ("settle", "release")}
    ids["refund"] = f"{prefix}-refund"
    assert client.record_spend(one, "5", event_id=ids["refund"]).outcome == "recorded"
    lease = client.lease(one, "30", 600)
    until(lambda: lease.left >= 2, why=lambda: str(lease))
    paths = paths_of(client, campaigns, prefix, ids)
    with REFUSALS[word](own.hot), ThreadPoolExecutor(len(paths) + 1) as together:
        leased = sum(lease.try_spend("1") for _ in range(2))  # where its watch still hears of the server
        errors = list(together.map(refused, [path.call for path in paths]))
        opening = refused(lambda: client.lease(one, "1"))
    assert opening is not None
    for path, error in zip(paths, errors, strict=True):
        if error is None:
            assert path.name in READS, path.name
            continue
        assert any(each in str(error) for each in WORDS.get(word, (word,))), (path.name, str(error))
        assert error.request_id or path.name in READS, (path.name, str(error))
    for path, error in zip(paths, errors, strict=True):
        for _ in range(2):
            assert path.again(error.request_id if error else ""), path.name
    lease.close()
    client.close()
    assert spent_of(own, brands) == sum(path.micros for path in paths) + (5 + leased) * 1_000_000
    own.system.persister.drain_all()
    assert verified(own.system) == []


def test_fault_06_a_caller_whose_time_ends_between_two_tries_leaves_the_others_their_own_deadlines(
    own: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (campaign,) = brand_of(own.system, "between two tries", campaigns=1)
    monkeypatch.setattr(lanes, "PAUSE_S", 0.4)

    async def main() -> list[Any]:
        async with AsyncBudgetClient.from_url(own.environment["REDIS_URL"], TIMEOUT_MS) as client:
            with REFUSALS["READONLY"](own.hot):

                async def spend() -> Any:
                    return await client.record_spend(campaign, "1")

                calls = []
                for _ in range(6):
                    calls.append(asyncio.create_task(spend()))
                    await asyncio.sleep(0.15)
                done, late = await asyncio.wait(calls, timeout=PATIENCE_S / 4)
                for call in late:
                    call.cancel()
                assert late == set()
                return [call.exception() for call in done]

    assert {type(error) for error in asyncio.run(main())} == {Unavailable}
