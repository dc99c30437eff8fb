"""Redis counted, and its answer cannot be read: the caller gets a BudgetError with the id under which a repeat counts nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import AsyncBudgetClient, BudgetClient, BudgetError, Spend, Unavailable, UnreadableReply
from engine.client.batches import in_order, pieces_of
from engine.client.leases.slots import Slots
from engine.client.outcomes import outcomes_of
from engine.live.replies import Figures, spend_results
from tests.live.plant import BRAND, CAMPAIGN, Plant
from tests.patience import PATIENCE_S
from tests.proxy import Proxy

OTHER = (BRAND + 1) * 65536 + 1


def reply(*parts: bytes) -> bytes:
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


SPOILED = {
    "nothing": b"*0\r\n",
    "no array": b"*-1\r\n",
    "a number": b":5\r\n",
    "a status": b"+OK\r\n",
    "one word": reply(b"ok"),
    "no figures": reply(b"ok", b"k*1"),
    "numbers": b"*4\r\n:1\r\n:2\r\n:3\r\n:4\r\n",
    "nils": b"*4\r\n$2\r\nok\r\n$-1\r\n$-1\r\n$-1\r\n",
    "an unknown outcome": reply(b"ok", b"?*1", b"", b""),
    "no outcome": reply(b"ok", b"", b"", b""),
    "outcomes of other spends": reply(b"ok", b"k*3", b"81:1:1::", b"5308417:0"),
    "a cause that is no number": reply(b"ok", b"k*1", b"81:1:1::", b"5308417:x"),
    "bytes that are no text": reply(b"ok", b"\xff*1", b"81:1:1::", b"5308417:0"),
    "a refusal without its causes": reply(b"ok", b"x*1", b"81:1:1::", b"5308417:0"),
    "not ready without a reason": reply(b"not_ready"),
    "a wrong version without its number": reply(b"wrong_version"),
    "a set of lists": b"*1\r\n%1\r\n*0\r\n:1\r\n",
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
}


@pytest.fixture
def proxy(hot_port: int) -> Iterator[Proxy]:
    made = Proxy(hot_port)
    yield made
    made.close()


@pytest.fixture
def url(proxy: Proxy, hot_url: str, hot_port: int) -> str:
    return hot_url.replace(f":{hot_port}", f":{proxy.port}")


def one_line(error: BudgetError) -> str:
    assert "\n" not in str(error)
    return str(error)


SPENDS: dict[str, Callable[[Any, str | None], Any]] = {
    "record_spend": lambda client, request: client.record_spend(CAMPAIGN, "1", request_id=request),
    "try_spend": lambda client, request: client.try_spend(CAMPAIGN, "1", request_id=request),
    "record_spends": lambda client, request: client.record_spends([Spend(CAMPAIGN, "0.5")] * 2, request_id=request),
    "record_spends packed": lambda client, request: client.record_spends(
        [Spend(CAMPAIGN, "0.1")] * 10, request_id=request
    ),
    "try_spends": lambda client, request: client.try_spends([Spend(CAMPAIGN, "0.5")] * 2, request_id=request),
    "record_spend_columns": lambda client, request: client.record_spend_columns(
        [CAMPAIGN] * 10, [100_000] * 10, request_id=request
    ),
    "try_spend_columns": lambda client, request: client.try_spend_columns(
        [CAMPAIGN] * 2, [500_000] * 2, request_id=request
    ),
}
OTHERS: dict[str, Callable[[Any], Any]] = {
    "reserve": lambda client: client.reserve(CAMPAIGN, "1", 60, "h"),
    "settle": lambda client: client.settle(f"{CAMPAIGN}:h", "1"),
    "release": lambda client: client.release(f"{CAMPAIGN}:g"),
    "refund": lambda client: client.refund(CAMPAIGN, "1", "win"),
    "status": lambda client: client.status(CAMPAIGN),
}


@pytest.mark.parametrize("spoiled", SPOILED.values(), ids=SPOILED)
def test_a_spend_whose_answer_cannot_be_read_is_told_under_its_id_and_counts_once(
    plant: Plant, client: BudgetClient, proxy: Proxy, url: str, spoiled: bytes
) -> None:
    plant.brand()
    with BudgetClient.from_url(url, timeout_ms=300) as through:
        through.status(CAMPAIGN)
        proxy.spoiled = spoiled
        for call in SPENDS.values():
            before = plant.spent()
            with pytest.raises(Unavailable) as caught:
                call(through, None)
            assert plant.spent() == before + 1_000_000, "Redis had counted it"
            said = one_line(caught.value)
            assert f"with request_id {caught.value.request_id}" in said
            assert "nothing is counted twice" in said
            assert call(client, caught.value.request_id)
            assert plant.spent() == before + 1_000_000


@pytest.mark.parametrize("spoiled", SPOILED.values(), ids=SPOILED)
def test_holds_refunds_and_status_end_in_a_budget_error_when_their_answer_cannot_be_read(
    plant: Plant, client: BudgetClient, proxy: Proxy, url: str, spoiled: bytes
) -> None:
    plant.brand()
    client.reserve(CAMPAIGN, "1", 60, "g")
    client.record_spend(CAMPAIGN, "1", event_id="win")
    with BudgetClient.from_url(url, timeout_ms=300) as through:
        proxy.spoiled = spoiled
        for name, call in OTHERS.items():
            with pytest.raises(Unavailable) as caught:
                call(through)
            assert ("nothing is counted twice" in one_line(caught.value)) == (name != "status")
        with pytest.raises(Unavailable):
            through.lease(CAMPAIGN, "1")
    for name, call in OTHERS.items():
        assert bool(call(client)) == (name != "reserve"), "the same call again, whose answer arrives"
    assert plant.spent() == 1_000_000, "the win was given back, the hold was settled, each once"


@pytest.mark.parametrize("spoiled", SPOILED.values(), ids=SPOILED)
def test_under_asyncio_an_answer_that_cannot_be_read_is_told_in_the_same_way(
    plant: Plant, client: BudgetClient, proxy: Proxy, url: str, spoiled: bytes
) -> None:
    plant.brand()
    client.record_spend(CAMPAIGN, "1", event_id="win")
    client.reserve(CAMPAIGN, "1", 60, "g")
    before = plant.spent()

    async def story() -> None:
        async with AsyncBudgetClient.from_url(url, timeout_ms=300) as through:
            await through.status(CAMPAIGN)
            proxy.spoiled = spoiled
            told: list[Unavailable] = []
            for call in SPENDS.values():
                with pytest.raises(Unavailable, match="with request_id .*nothing is counted twice") as caught:
                    await call(through, None)
                told.append(caught.value)
            for other in OTHERS.values():
                with pytest.raises(Unavailable):
                    await other(through)
            proxy.spoiled = None
            for call, error in zip(SPENDS.values(), told, strict=True):
                assert error.request_id in one_line(error)
                assert await call(through, error.request_id)
            for name, other in OTHERS.items():
                assert bool(await other(through)) == (name != "reserve")

    asyncio.run(story())
    assert plant.spent() == before + len(SPENDS) * 1_000_000, (
        "a win given back and a hold settled make up for each other"
    )


def test_what_cannot_be_read_is_of_its_own_class_and_no_repeat_is_wasted_on_it(
    plant: Plant, proxy: Proxy, url: str
) -> None:
    plant.brand()
    before = len(plant.entries())
    with BudgetClient.from_url(url, timeout_ms=5000) as through:
        proxy.spoiled = SPOILED["no array"]
        with pytest.raises(UnreadableReply, match="which no script does"):
            through.record_spend(CAMPAIGN, "1")
        proxy.spoiled = SPOILED["one word"]
        with pytest.raises(UnreadableReply, match="IndexError"):
            through.record_spend(CAMPAIGN, "1")
    assert len(plant.entries()) == before + 2, "each was sent and counted once"


def test_of_a_batch_over_two_shards_the_answers_that_can_be_read_are_given(plant: Plant, client: BudgetClient) -> None:
    pieces, size = pieces_of([Spend(CAMPAIGN, "1"), Spend(OTHER, "1"), Spend(CAMPAIGN, "1")])
    whole = [b"ok", b"k*2", b"81:2000000:2000000::", b"5308417:0"]
    with pytest.raises(UnreadableReply, match="a batch of 3 spends.*with request_id mine") as caught:
        in_order(pieces, [whole, [b"ok"]], "recorded", size, "mine")
    one, two, three = caught.value.answers
    assert (bool(one), two, bool(three)) == (True, None, True)
    with pytest.raises(UnreadableReply, match="a batch of 3 spends.*with request_id mine") as caught:
        outcomes_of(pieces, [whole, [b"ok", b"k*1", b"82:1:1::", b""]], "recorded", size, "mine")
    one, two, three = caught.value.answers
    assert (bool(one), two, bool(three)) == (True, None, True)


def test_figures_that_cannot_be_read_are_told_when_they_are_asked_for_and_the_outcome_stands() -> None:
    (answer,) = spend_results([b"ok", b"k*1", b"81:x:1::", b"5308417:0"], [CAMPAIGN], "recorded")
    assert (answer.outcome, bool(answer)) == ("recorded", True)
    for name in ("daily_spend", "monthly_spend", "daily_remaining", "monthly_remaining"):
        with pytest.raises(UnreadableReply, match="the outcome stands"):
            getattr(answer, name)
    assert "figures unreadable" in repr(answer)
    with pytest.raises(AttributeError):
        Figures(b"81:1:1::").other  # noqa: B018


def test_a_lease_goes_on_trying_while_its_answers_cannot_be_read_and_counts_its_spends_once(
    plant: Plant, proxy: Proxy, url: str
) -> None:
    plant.brand()
    with BudgetClient.from_url(url, timeout_ms=2000) as through, through.lease(CAMPAIGN, "5") as lease:
        proxy.spoiled = SPOILED["one word"]
        assert lease.try_spend("1")
        with pytest.raises(Unavailable):
            lease.close(0.3)
        proxy.spoiled = None
        lease.close(10)
    assert plant.spent() == 1_000_000


@pytest.mark.parametrize("spoiled", [SPOILED["one word"], SPOILED["numbers"], SPOILED["another protocol"]])
def test_a_spool_whose_answers_cannot_be_read_stays_for_the_next_try(
    plant: Plant, client: BudgetClient, proxy: Proxy, url: str, tmp_path: Path, spoiled: bytes
) -> None:
    plant.brand()
    slots = Slots.in_file(tmp_path, CAMPAIGN, "lease.dead.1")
    slots.words[slots.first] = 1_000_000
    slots.seal(1)
    slots.close()
    with BudgetClient.from_url(url, timeout_ms=300) as through:
        proxy.spoiled = spoiled
        with pytest.raises(Unavailable, match="nothing is counted twice"):
            through.replay_spool(tmp_path)
    assert client.replay_spool(tmp_path).spends == 1
    assert plant.spent() == 1_000_000


def test_a_watch_that_hears_what_it_cannot_read_is_stale_and_heals(plant: Plant, proxy: Proxy, url: str) -> None:
    plant.brand()
    with BudgetClient.from_url(url, timeout_ms=2000) as through:
        proxy.spoiled = SPOILED["one word"]
        with through.watch(campaigns=[CAMPAIGN]) as watch:
            assert not watch.wait_ready(0.5)
            assert not watch.may_bid(CAMPAIGN)
            proxy.spoiled = None
            assert watch.wait_ready(PATIENCE_S)
            assert watch.may_bid(CAMPAIGN)
