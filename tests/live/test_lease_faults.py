"""Leases under faults: killed, forked, cut off, forgotten, full."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from engine import BudgetClient, InvalidInput, Unavailable
from engine.client.leases.calls import GRANTED, Grant, asks_lease, read_grant
from engine.client.leases.keeper import Keeper
from engine.client.leases.lease import Lease
from engine.client.leases.slots import PER_SLOT, SLOTS, Slots
from engine.live.scripts import script
from engine.live.transport.pool import Call, ConnectionPool, Reply
from tests.live.plant import CAMPAIGN, Plant
from tests.live.test_leases import MICROS, burn, held, lessor, logged, until

__all__ = ["lessor"]

SHORT_S = 3
"""A lease's time, where a test waits for its end: long enough to spend from it first on a machine that pauses."""


def test_a_lease_that_dies_comes_back_to_the_budget_after_its_time(
    plant: Plant, lessor: BudgetClient, hot_url: str
) -> None:
    plant.brand(daily="10")

    def die(url: str) -> None:
        lease = BudgetClient.from_url(url).lease(CAMPAIGN, "6", SHORT_S)
        assert lease.try_spend("1")
        until(lambda: not lease.waiting)
        os.kill(os.getpid(), signal.SIGKILL)

    child = multiprocessing.get_context("fork").Process(target=die, args=(hot_url,))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert plant.spent() == MICROS
    until(lambda: lessor.try_spend(CAMPAIGN, "9").outcome == "accepted")


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


@contextmanager
def nothing_written(plant: Plant) -> Iterator[None]:
    """Redis answers reads only, until the end."""
    plant.plain.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
    try:
        yield
    finally:
        plant.plain.execute_command("CLIENT", "UNPAUSE")


def test_a_full_ring_refuses_until_redis_has_counted_and_loses_nothing(plant: Plant, lessor: BudgetClient) -> None:
    plant.brand(daily=None)
    lease = lessor.lease(CAMPAIGN, "1000", 60)
    with nothing_written(plant):
        taken = burn(lease, 1, SLOTS * PER_SLOT + 5000)
        assert PER_SLOT * (SLOTS - 1) <= taken <= PER_SLOT * SLOTS
        assert lease.why == ("backlog",)
    until(lambda: plant.spent() == taken)
    assert lease.try_spend("1")


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


def test_a_lease_that_cannot_be_counted_says_so_at_its_end_and_can_be_closed_again(
    plant: Plant, lessor: BudgetClient
) -> None:
    plant.brand(daily="10")
    lease = lessor.lease(CAMPAIGN, "4", 60)
    with nothing_written(plant):
        assert lease.try_spend("1")
        with pytest.raises(Unavailable, match="not counted"):
            lease.close(timeout=0.1)
    lease.close()
    assert (plant.spent(), held(plant)) == (MICROS, 0)


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
            plant.plain.script_load(script("lease").text)
    assert [spend.kind for entry in plant.entries() for spend in entry.spends()] == ["spend"] * 3
    assert (plant.spent(), held(plant)) == (3 * MICROS, 0)


def test_draws_that_nobody_can_tell_of_take_their_slots_and_no_others(
    plant: Plant, lessor: BudgetClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.brand(daily=None)
    unanswered: list[Call] = []
    ask = Keeper._answers

    def answers(self: Keeper, calls: list[Call]) -> Sequence[Reply | None]:
        replies = ask(self, calls)
        unanswered.extend(call for call, reply in zip(calls, replies, strict=True) if reply is None)
        return replies

    monkeypatch.setattr(Keeper, "_answers", answers)
    lease = lessor.lease(CAMPAIGN, "10", 60, largest="10", spool=tmp_path)
    assert lease.try_spend(amount_micros=3)
    until(lambda: plant.spent() == 3)
    # Its next draw seems to have been sent an hour ago.
    lease._clock = (plant.live.now_ms() - 3_600_000, time.monotonic())
    with nothing_written(plant):
        assert lease.try_spend(amount_micros=4)
        until(lambda: any(call.script.name == "draw_spends" for call in unanswered))
    until(lambda: lease.lost == 4)
    for _ in range(SLOTS + 5):
        assert lease.try_spend(amount_micros=1)
        until(lambda: not lease.waiting)
    lease.close()
    assert plant.spent() == 3 + SLOTS + 5
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
        lease = BudgetClient.from_url(hot_url).lease(CAMPAIGN, "6", SHORT_S)
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
    until(lambda: lessor.reserve(CAMPAIGN, "8.5").outcome == "accepted")


def test_what_may_still_be_spent_never_covers_what_waits_to_be_counted(wire: ConnectionPool) -> None:
    lease = Lease(
        Keeper(wire),
        CAMPAIGN,
        "lease.a",
        Slots.in_memory(CAMPAIGN, "lease.a"),
        {CAMPAIGN},
        amount=4,
        largest=4,
        ttl_s=60,
    )
    for _ in range(2):
        # The second answer comes while the three are on their way.
        lease.granted(Grant(GRANTED, 4, 1), time.monotonic())
        lease.try_spend(amount_micros=3)
    assert (lease.spent, lease.left) == (Decimal("0.000003"), Decimal("0.000001"))
    assert lease.try_spend(amount_micros=1)
