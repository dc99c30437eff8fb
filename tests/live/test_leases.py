"""Leases: a slice of a budget that is spent in memory, counted soon after, and never more than the budget."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from engine import AsyncBudgetClient, BudgetClient, InvalidAmount, InvalidInput, NotFound, Unavailable
from engine.domain.periods import next_day_ms
from engine.domain.schedule import Schedule
from engine.live.journal import decode
from engine.live.keys import keys_of_brand
from engine.live.leases.calls import asks_lease, read_grant
from engine.live.leases.lease import Lease
from engine.live.leases.slots import PER_SLOT, SLOTS, Slots
from tests.live.plant import BRAND, CAMPAIGN, Plant

MICROS = 1_000_000


@pytest.fixture
def lessor(hot_url: str, plant: Plant) -> Iterator[BudgetClient]:
    client = BudgetClient.from_url(hot_url, timeout_ms=2000)
    yield client
    client.close()


def until(true: Callable[[], object], seconds: float = 5) -> None:
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
    spent: list[int] = []

    def spend(lease: Lease) -> None:
        mine, last = 0, time.monotonic()
        while time.monotonic() - last < 1.5:
            if lease.try_spend(amount_micros=10_000):
                mine, last = mine + 10_000, time.monotonic()
            else:
                time.sleep(0.001)
        spent.append(mine)

    with BudgetClient.from_url(hot_url, timeout_ms=2000) as other:
        leases = [client.lease(CAMPAIGN, "1", 60, largest="5") for client in (lessor, other, other)]
        threads = [threading.Thread(target=spend, args=(lease,)) for lease in leases for _ in range(2)]
        for thread in threads:
            thread.start()
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
    took_ms = []
    for version in (2, 4, 6):
        until(lambda: not lease.why)
        began = time.monotonic()
        plant.campaign(CAMPAIGN, enabled=False, version=version)
        while lease.try_spend(amount_micros=1):
            pass
        took_ms.append((time.monotonic() - began) * 1000)
        assert lease.why == ("manual",)
        until(lambda: held(plant) == 0)
        plant.campaign(CAMPAIGN, version=version + 1)
    assert sorted(took_ms)[1] < 50
    until(lambda: not lease.why)


def test_a_lease_grows_with_its_burn_and_shrinks_when_it_rests(plant: Plant, lessor: BudgetClient) -> None:
    plant.brand(daily=None)
    lease = lessor.lease(CAMPAIGN, "1", 60, largest="1000")
    end = time.monotonic() + 1
    while time.monotonic() < end:
        burn(lease, 100_000, 50)
        time.sleep(0.002)
    assert lease.held > 10
    until(lambda: lease.held <= 1, 10)


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


def test_a_lease_that_dies_comes_back_to_the_budget_after_its_time(
    plant: Plant, lessor: BudgetClient, hot_url: str
) -> None:
    plant.brand(daily="10")

    def die(url: str) -> None:
        lease = BudgetClient.from_url(url).lease(CAMPAIGN, "6", 1)
        assert lease.try_spend("1")
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    child = multiprocessing.get_context("fork").Process(target=die, args=(hot_url,))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert plant.spent() == MICROS
    until(lambda: lessor.try_spend(CAMPAIGN, "9").outcome == "accepted", 3)


def test_spends_in_a_spool_are_counted_once_after_a_kill_by_whoever_comes_next(
    plant: Plant, lessor: BudgetClient, hot_url: str, tmp_path: Path
) -> None:
    plant.brand(daily=None)
    told = tmp_path / "told"

    def die(url: str) -> None:
        lease = BudgetClient.from_url(url).lease(CAMPAIGN, "500", 60, spool=tmp_path)
        with told.open("wb", buffering=0) as file:
            while True:
                if lease.try_spend(amount_micros=7):
                    file.write(b".")

    for _ in range(5):
        child = multiprocessing.get_context("fork").Process(target=die, args=(hot_url,))
        child.start()
        until(lambda: told.exists() and told.stat().st_size > 5000)
        os.kill(child.pid or 0, signal.SIGKILL)
        child.join()
        acknowledged = told.stat().st_size
        before = plant.spent()
        found = lessor.replay_spool(tmp_path)
        assert found.files == 1
        assert found.doubtful == ()
        # One more than was told: it was taken, and the kill came before the word.
        assert 0 <= plant.spent() - 7 * acknowledged - 7 * extra(plant) <= 7, (before, found)
        assert lessor.replay_spool(tmp_path) == (0, 0, 0, ())
        assert held(plant) == 0
        told.unlink()
        plant.plain.set("test:counted", plant.spent())
    assert sum(logged(plant)) == plant.spent()


def extra(plant: Plant) -> int:
    return int(plant.plain.get("test:counted") or 0) // 7


def test_a_spool_of_a_living_process_is_left_alone(plant: Plant, lessor: BudgetClient, tmp_path: Path) -> None:
    plant.brand(daily=None)
    with lessor.lease(CAMPAIGN, "5", 60, spool=tmp_path) as lease:
        assert lease.try_spend("1")
        assert lessor.replay_spool(tmp_path).files == 0
    assert list(tmp_path.iterdir()) == []
    assert plant.spent() == MICROS


def test_a_draw_that_was_sent_longer_ago_than_redis_remembers_is_not_counted_again_but_named(
    plant: Plant, lessor: BudgetClient, tmp_path: Path
) -> None:
    plant.brand(daily=None)
    slots = Slots.in_file(tmp_path, CAMPAIGN, "lease.old")
    slots.words[slots.first] = 5
    assert slots.turn(1)
    (draw,) = slots.waiting()
    slots.sent(draw, plant.live.now_ms() - 3_600_000)
    slots.close()
    assert lessor.replay_spool(tmp_path) == (1, 0, 0, ("lease.old/1",))
    assert [path.suffix for path in tmp_path.iterdir()] == [".doubtful"]
    assert plant.spent() == 0


def test_a_full_ring_refuses_until_redis_has_counted_and_loses_nothing(plant: Plant, lessor: BudgetClient) -> None:
    plant.brand(daily=None)
    lease = lessor.lease(CAMPAIGN, "1000", 60)
    plant.plain.execute_command("CLIENT", "PAUSE", "700", "ALL")
    taken = burn(lease, 1, SLOTS * PER_SLOT + 5000)
    assert PER_SLOT * (SLOTS - 1) <= taken <= PER_SLOT * SLOTS
    assert lease.why == ("backlog",)
    until(lambda: plant.spent() == taken)
    assert lease.try_spend("1")


def test_a_lease_stops_at_midnight_and_goes_on_in_the_new_day(plant: Plant, hot_url: str, clock: None) -> None:
    midnight = next_day_ms(plant.live.now_ms())
    plant.at(midnight - 5000)
    plant.brand(daily="3")
    with BudgetClient.from_url(hot_url, timeout_ms=2000) as client:
        lease = client.lease(CAMPAIGN, "2", 600, largest="2")
        assert lease.try_spend("2")
        until(lambda: plant.spent() == 2 * MICROS)
        until(lambda: lease.try_spend("1"))
        until(lambda: plant.spent() == 3 * MICROS)
        assert lease.try_spend("0.1") is False
        plant.at(midnight + 1)
        until(lambda: lease.try_spend("2"), 8)
        until(lambda: plant.spent() == 2 * MICROS)


def test_a_campaign_outside_its_hours_gets_an_empty_lease(plant: Plant, lessor: BudgetClient) -> None:
    plant.brand(daily="10")
    plant.campaign(CAMPAIGN, schedule=Schedule.parse(plant.closed_now()), version=2)
    lease = lessor.lease(CAMPAIGN, "1", 60)
    assert (lease.try_spend("0.1"), lease.why, held(plant)) == (False, ("schedule",), 0)


def test_a_forked_child_spends_nothing_from_its_parents_lease(plant: Plant, lessor: BudgetClient) -> None:
    plant.brand(daily="10")
    with lessor.lease(CAMPAIGN, "4", 60) as lease:
        child = os.fork()
        if child == 0:
            refused = not lease.try_spend("1") and lease.why == ("forked",)
            mine = lessor.lease(CAMPAIGN, "2", 60)
            taken = mine.try_spend("1")
            mine.close()
            os._exit(0 if refused and taken else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert lease.try_spend("1")
    assert (plant.spent(), held(plant)) == (2 * MICROS, 0)


def test_what_is_no_lease_is_refused_in_one_line(plant: Plant, lessor: BudgetClient, tmp_path: Path) -> None:
    plant.brand(daily="10")
    for amount in ("0", "-1", "1.0000001", 1, 1.0, None):
        with pytest.raises(InvalidAmount):
            lessor.lease(CAMPAIGN, amount)  # type: ignore[arg-type]  # that is what is tested
    for ttl in (0, 0.5, 86_401, True, "60"):
        with pytest.raises(InvalidInput):
            lessor.lease(CAMPAIGN, "1", ttl)  # type: ignore[arg-type]  # that is what is tested
    with pytest.raises(InvalidInput):
        lessor.lease(CAMPAIGN, "2", largest="1")
    with pytest.raises(NotFound):
        lessor.lease(CAMPAIGN + 40, "1")
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(InvalidInput):
        lessor.lease(CAMPAIGN, "1", spool=file)
    assert held(plant) == 0
    with lessor.lease(CAMPAIGN, "1") as lease:
        for amount in ("0", "x", 1.5, 3):
            with pytest.raises(InvalidAmount):
                lease.try_spend(amount)  # type: ignore[arg-type]  # that is what is tested
        with pytest.raises(InvalidAmount):
            lease.try_spend(amount_micros=0)
    assert plant.spent() == 0


def test_a_lease_that_cannot_be_counted_says_so_at_its_end_and_can_be_closed_again(
    plant: Plant, lessor: BudgetClient
) -> None:
    plant.brand(daily="10")
    lease = lessor.lease(CAMPAIGN, "4", 60)
    plant.plain.execute_command("CLIENT", "PAUSE", "600", "ALL")
    assert lease.try_spend("1")
    with pytest.raises(Unavailable, match="not counted"):
        lease.close(timeout=0.1)
    lease.close()
    assert (plant.spent(), held(plant)) == (MICROS, 0)


def test_a_lease_is_taken_and_ended_under_asyncio(plant: Plant, hot_url: str) -> None:
    plant.brand(daily="10")

    async def work() -> None:
        async with AsyncBudgetClient.from_url(hot_url) as client:
            lease = await client.lease(CAMPAIGN, "4", largest="4")
            assert lease.try_spend("1.5")
            assert (await client.try_spend(CAMPAIGN, "7")).outcome == "refused"

    asyncio.run(work())
    assert (plant.spent(), held(plant)) == (1_500_000, 0)


def test_a_call_that_a_broken_connection_delivers_late_does_not_shrink_a_lease_that_was_filled_since(
    plant: Plant,
) -> None:
    plant.brand(daily="10")

    def set_to(micros: int, number: int) -> tuple[str, int]:
        grant = read_grant(plant.live.call_all([asks_lease(CAMPAIGN, "lease.a", micros, 60_000, number)])[0])
        return grant.outcome, grant.held

    assert [set_to(5, 1), set_to(9, 3), set_to(2, 2), set_to(9, 3)] == [("granted", n) for n in (5, 9, 9, 9)]
    assert set_to(0, 4) == ("ended", 0)
    assert held(plant) == 0


def test_a_hold_is_given_back_only_when_its_spends_are_drawn_also_where_redis_forgot_the_scripts(
    plant: Plant, lessor: BudgetClient
) -> None:
    plant.brand(daily="10")
    for _ in range(3):
        with lessor.lease(CAMPAIGN, "4", 60) as lease:
            assert lease.try_spend("1")
            plant.plain.script_flush()
    assert [spend.kind for entry in plant.entries() for spend in entry.spends()] == ["spend"] * 3
    assert (plant.spent(), held(plant)) == (3 * MICROS, 0)


def test_draws_that_nobody_can_tell_of_take_their_slots_and_no_others(
    plant: Plant, lessor: BudgetClient, tmp_path: Path
) -> None:
    plant.brand(daily=None)
    lease = lessor.lease(CAMPAIGN, "10", 60, largest="10", spool=tmp_path)
    assert lease.try_spend(amount_micros=3)
    until(lambda: plant.spent() == 3)
    # Its next draw seems to have been sent an hour ago.
    lease._clock = (plant.live.now_ms() - 3_600_000, time.monotonic())
    plant.plain.execute_command("CLIENT", "PAUSE", "2500", "ALL")
    assert lease.try_spend(amount_micros=4)
    until(lambda: lease.lost == 4, 10)
    for _ in range(3 * SLOTS):
        assert lease.try_spend(amount_micros=1)
        until(lambda: not lease.waiting)
    lease.close()
    assert plant.spent() == 3 + 3 * SLOTS
    assert [path.suffix for path in tmp_path.iterdir()] == [".doubtful"]


def test_a_spool_that_does_not_fit_on_its_disk_is_refused_and_leaves_nothing(
    plant: Plant, lessor: BudgetClient, tmp_path: Path
) -> None:
    plant.brand(daily="10")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(InvalidInput, match="cannot be used"):
            lessor.lease(CAMPAIGN, "1", spool=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (list(tmp_path.iterdir()), held(plant)) == ([], 0)


def test_without_a_spool_a_kill_loses_at_most_what_was_given_out_since_the_last_draw(
    plant: Plant, lessor: BudgetClient, hot_url: str
) -> None:
    plant.brand(daily="10")
    told, teller = multiprocessing.Pipe(duplex=False)

    def die() -> None:
        lease = BudgetClient.from_url(hot_url).lease(CAMPAIGN, "6", 1)
        assert lease.try_spend("1")
        until(lambda: not lease.waiting)
        lease.try_spend("0.5")
        teller.send(lease.waiting)
        os.kill(os.getpid(), signal.SIGKILL)

    child = multiprocessing.get_context("fork").Process(target=die)
    child.start()
    child.join()
    assert told.recv() <= Decimal("0.5")
    assert plant.spent() in (MICROS, MICROS + 500_000)
    until(lambda: lessor.reserve(CAMPAIGN, "8.5").outcome == "accepted", 3)
