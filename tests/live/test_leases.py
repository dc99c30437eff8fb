"""Leases: a slice of a budget that is spent in memory, counted soon after, and never more than the budget."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine import AsyncBudgetClient, BudgetClient, InvalidAmount, InvalidInput, NotFound
from engine.client.leases.keeper import FLUSH_S
from engine.client.leases.lease import Lease
from engine.client.watch.snapshot import read_snapshot
from engine.domain.periods import next_day_ms
from engine.domain.schedule import Schedule
from engine.live.journal import decode
from engine.live.keys import keys_of_brand
from tests.live.plant import BRAND, CAMPAIGN, Plant
from tests.patience import PATIENCE_S, at_best

MICROS = 1_000_000


@pytest.fixture
def lessor(hot_url: str, plant: Plant) -> Iterator[BudgetClient]:
    client = BudgetClient.from_url(hot_url, timeout_ms=5000)
    yield client
    client.close()


def until(true: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.002)


def held(plant: Plant) -> int:
    return int(plant.plain.hget(keys_of_brand(BRAND).brand(BRAND), "held") or 0)


def logged(plant: Plant) -> list[int]:
    entries = [decode(*raw) for raw in plant.plain.xrange(keys_of_brand(BRAND).journal)]
    return [spend.amount_micros for entry in entries for spend in entry.spends()]


def burn(lease: Lease, micros: int, times: int) -> int:
    return sum(lease.try_spend(amount_micros=micros) for _ in range(times))


def test_what_a_lease_spends_is_counted_and_logged_one_by_one_and_the_rest_comes_back(
    plant: Plant, lessor: BudgetClient
) -> None:
    plant.brand(daily="10")
    with lessor.lease(CAMPAIGN, "4", 60, largest="4") as lease:
        assert (lease.why, held(plant)) == ((), 4 * MICROS)
        assert [lease.try_spend(amount) for amount in ("1", "0.5", "0.000001")] == [True] * 3
        assert lease.spent == Decimal("1.500001")
        assert lessor.try_spend(CAMPAIGN, "9").outcome == "refused"
    assert (plant.spent(), held(plant), logged(plant)) == (1_500_001, 0, [1_000_000, 500_000, 1])
    assert {spend.kind for spend in plant.entries()[-2].spends()} == {"spend"}, "drawn while its hold still covered it"
    assert lease.why == ("closed",)
    assert lease.try_spend("1") is False
    assert lessor.try_spend(CAMPAIGN, "8").outcome == "accepted"


def test_leases_of_many_threads_and_clients_spend_the_budget_to_its_last_micro_and_no_further(
    plant: Plant, lessor: BudgetClient, hot_url: str
) -> None:
    plant.brand(daily="50")
    spent = [0] * 6
    over = threading.Event()

    def spend(lease: Lease, mine: int) -> None:
        while not over.is_set():
            if lease.try_spend(amount_micros=10_000):
                spent[mine] += 10_000
            else:
                time.sleep(0.001)

    with BudgetClient.from_url(hot_url, timeout_ms=5000) as other:
        leases = [client.lease(CAMPAIGN, "1", 60, largest="5") for client in (lessor, other, other)]
        threads = [threading.Thread(target=spend, args=(leases[i // 2], i)) for i in range(6)]
        for thread in threads:
            thread.start()
        try:
            until(lambda: sum(spent) >= 50 * MICROS)
            # Whoever asks on is refused by the budget, and by nothing that passes.
            until(lambda: all(lease.why == ("daily_budget",) for lease in leases))
        finally:
            over.set()
        for thread in threads:
            thread.join()
        for lease in leases:
            lease.close()
    assert sum(spent) == plant.spent() == sum(logged(plant)) == 50 * MICROS
    assert held(plant) == 0


def test_a_pause_stops_a_lease_within_50_ms_and_gives_its_money_back(plant: Plant, lessor: BudgetClient) -> None:
    plant.brand(daily="10")
    lease = lessor.lease(CAMPAIGN, "4", 60)
    assert lease.try_spend("1")

    def pause(number: int) -> float:
        until(lambda: not lease.why)
        began = time.monotonic()
        plant.campaign(CAMPAIGN, enabled=False, version=2 * number + 2)
        # A refusal alone may have another cause that passes, such as slots that are all full for a moment.
        until(lambda: not lease.try_spend(amount_micros=1) and lease.why == ("manual",))
        took_s = time.monotonic() - began
        assert not lease.try_spend(amount_micros=1)
        until(lambda: held(plant) == 0)
        plant.campaign(CAMPAIGN, version=2 * number + 3)
        return took_s

    assert at_best(0.05, pause)
    until(lambda: not lease.why)


def test_a_lease_grows_with_its_burn_and_shrinks_when_it_rests(plant: Plant, lessor: BudgetClient) -> None:
    plant.brand(daily=None)
    lease = lessor.lease(CAMPAIGN, "1", 60, largest="1000")
    until(lambda: burn(lease, 100_000, 50) >= 0 and lease.held > 10)
    until(lambda: lease.held <= 1)


def test_a_budget_that_has_less_left_than_is_asked_for_is_leased_to_its_last_micro(
    plant: Plant, lessor: BudgetClient
) -> None:
    plant.brand(daily="1.5")
    lease = lessor.lease(CAMPAIGN, "4", 60)
    assert (held(plant), burn(lease, 100_000, 20)) == (1_500_000, 15)
    until(lambda: plant.spent() == 1_500_000)
    until(lambda: lease.why == ("daily_budget",))
    empty = lessor.lease(CAMPAIGN, "1", 60)
    assert (empty.try_spend("1"), empty.why) == (False, ("daily_budget",))
    plant.brand(daily="2", version=2)
    until(lambda: empty.try_spend(amount_micros=1) or lease.try_spend(amount_micros=1))


def test_a_lease_stops_at_midnight_and_goes_on_in_the_new_day(plant: Plant, hot_url: str, clock: None) -> None:
    midnight = next_day_ms(plant.live.now_ms())
    plant.at(midnight - 5000)
    plant.brand(daily="3")
    with BudgetClient.from_url(hot_url, timeout_ms=5000) as client:
        lease = client.lease(CAMPAIGN, "2", 600, largest="2")
        assert lease.try_spend("2")
        until(lambda: plant.spent() == 2 * MICROS)
        until(lambda: lease.try_spend("1"))
        until(lambda: plant.spent() == 3 * MICROS)
        assert lease.try_spend("0.1") is False
        plant.at(midnight + 1)
        until(lambda: lease.try_spend("2"))
        until(lambda: plant.spent() == 2 * MICROS)


@pytest.mark.parametrize("others", [0, 1])
def test_a_new_lease_has_its_money_at_once_however_long_the_first_snapshot_takes(
    others: int, plant: Plant, lessor: BudgetClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.brand(daily="10")
    plant.campaign(CAMPAIGN + 1)
    for _ in range(others):
        lessor.lease(CAMPAIGN + 1, "1", 60)

    def slow(*args: Any, **options: Any) -> Any:
        time.sleep(8 * FLUSH_S)
        return read_snapshot(*args, **options)

    monkeypatch.setattr("engine.client.watch.watch.read_snapshot", slow)
    with lessor.lease(CAMPAIGN, "4", 60) as lease:
        assert lease.why == ()
        assert lease.try_spend("1")


def test_a_campaign_outside_its_hours_gets_an_empty_lease(plant: Plant, lessor: BudgetClient) -> None:
    plant.brand(daily="10")
    plant.campaign(CAMPAIGN, schedule=Schedule.parse(plant.closed_now()), version=2)
    lease = lessor.lease(CAMPAIGN, "1", 60)
    assert (lease.try_spend("0.1"), lease.why, held(plant)) == (False, ("schedule",), 0)


def test_what_is_no_lease_is_refused_in_one_line(plant: Plant, lessor: BudgetClient, tmp_path: Path) -> None:
    plant.brand(daily="10")
    for amount in ("0", "-1", "1.0000001", 1, 1.0, None):
        with pytest.raises(InvalidAmount):
            lessor.lease(CAMPAIGN, amount)  # type: ignore[arg-type]  # that is what is tested
    for ttl in (0, 0.5, 86_401, True, "60"):
        with pytest.raises(InvalidInput):
            lessor.lease(CAMPAIGN, "1", ttl)  # type: ignore[arg-type]  # that is what is tested
    for largest in ("1", "0", "x", 3.0):
        with pytest.raises(InvalidInput, match="^largest "):
            lessor.lease(CAMPAIGN, "2", largest=largest)  # type: ignore[arg-type]  # that is what is tested
    with pytest.raises(NotFound):
        lessor.lease(CAMPAIGN + 40, "1")
    file = tmp_path / "file"
    file.write_text("x")
    for spool in (file, "", "a\0b", 5, b""):
        with pytest.raises(InvalidInput, match="^spool "):
            lessor.lease(CAMPAIGN, "1", spool=spool)  # type: ignore[arg-type]  # that is what is tested
        with pytest.raises(InvalidInput, match="^spool "):
            lessor.replay_spool(spool)  # type: ignore[arg-type]  # that is what is tested
    assert held(plant) == 0
    with lessor.lease(CAMPAIGN, "1") as lease:
        for amount in ("0", "x", 1.5, 3):
            with pytest.raises(InvalidAmount):
                lease.try_spend(amount)  # type: ignore[arg-type]  # that is what is tested
        with pytest.raises(InvalidAmount):
            lease.try_spend(amount_micros=0)
    assert plant.spent() == 0


def test_a_lease_is_taken_and_ended_under_asyncio(plant: Plant, hot_url: str) -> None:
    plant.brand(daily="10")

    async def work() -> None:
        async with AsyncBudgetClient.from_url(hot_url) as client:
            lease = await client.lease(CAMPAIGN, "4", largest="4")
            assert lease.try_spend("1.5")
            assert (await client.try_spend(CAMPAIGN, "7")).outcome == "refused"

    asyncio.run(work())
    assert (plant.spent(), held(plant)) == (1_500_000, 0)
