"""Waiting awake: what it answers is what sleeping would have answered, and it is given up where it is in vain."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from engine import BudgetClient, InvalidInput, Spend
from engine.live.transport import busy_poll
from engine.live.transport.busy_poll import BusyPoll
from engine.live.transport.pool import ConnectionPool
from tests.live.plant import CAMPAIGN, Plant
from tests.live.test_leases import until

LONG_US = 60_000_000
FOR_EVER_S = 600.0
"""A call is awake for a tenth of its time at most."""
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    near, far = socket.socketpair()
    with near, far:
        yield near, far


@contextmanager
def one_awake(awake: BusyPoll, near: socket.socket) -> Iterator[tuple[threading.Thread, list[bytes | None]]]:
    """A thread that is awake for `near` by now, and what it will find."""
    found: list[bytes | None] = []
    thread = threading.Thread(target=lambda: found.append(awake.recv(near, 100, FOR_EVER_S)))
    thread.start()
    until(awake._alone.locked)
    yield thread, found
    thread.join()


def test_a_reply_that_comes_while_a_call_is_awake_is_taken(pair: Pair) -> None:
    near, far = pair
    later = threading.Timer(0.05, far.send, (b"reply",))
    later.start()
    assert BusyPoll(LONG_US).recv(near, 100, FOR_EVER_S) == b"reply"
    later.join()


def test_a_call_that_sent_much_waits_awake_for_longer(pair: Pair) -> None:
    near, far = pair
    assert BusyPoll(1).recv(near, 100, FOR_EVER_S) is None
    later = threading.Timer(0.05, far.send, (b"reply",))
    later.start()
    assert BusyPoll(1).recv(near, 100, FOR_EVER_S, sent=500_000_000) == b"reply"
    later.join()


def test_a_connection_that_ends_is_told_and_not_waited_for(pair: Pair) -> None:
    near, far = pair
    far.close()
    assert BusyPoll(LONG_US).recv(near, 100, timeout_s=60) == b""


class Clock:
    """A clock in milliseconds that goes on at each look for a reply, by `step`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.step = 0.6
        monkeypatch.setattr(busy_poll, "time", SimpleNamespace(perf_counter=lambda: self.now / 1000))
        monkeypatch.setattr(os, "sched_yield", self._look)

    def _look(self) -> None:
        self.now += self.step


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_no_reply_lets_the_call_sleep_and_after_each_try_in_vain_twice_as_many_sleep_at_once(
    pair: Pair, clock: Clock
) -> None:
    near, far = pair
    awake = BusyPoll(1000)
    for sleeping in (1, 2, 4, 8, 16, 32, 64, 128, 128):
        assert awake.recv(near, 1, 60) is None, "nothing was there to be found"
        far.send(b"x" * (sleeping + 1))
        assert [awake.recv(near, 1, 60) for _ in range(sleeping)] == [None] * sleeping
        assert near.recv(1000) == b"x" * (sleeping + 1)
    far.send(b"xy")
    assert awake.recv(near, 1, 60) == b"x", "a try that finds its reply: the next call is awake again"
    assert awake.recv(near, 1, 60) == b"y"
    assert awake.recv(near, 1, 60) is None, "nothing was there to be found"
    far.send(b"xy")
    assert (awake.recv(near, 1, 60), awake.recv(near, 1, 60)) == (None, b"x"), (
        "one sleeps, as after a first try in vain"
    )


@pytest.mark.parametrize(
    ("step", "sleeping"),
    [(0.6, 0), (1.2, 1), (5, 32)],
    ids=["in time", "a little late, as of a slow Redis", "late, as where another process had the processor"],
)
def test_a_reply_that_is_found_late_is_taken_and_the_next_calls_sleep_at_once(
    pair: Pair, clock: Clock, step: float, sleeping: int
) -> None:
    near, far = pair
    awake = BusyPoll(1000)
    clock.step = step
    far.send(b"x")
    assert awake.recv(near, 1, 60) == b"x"
    far.send(b"x")
    clock.step = 0
    asleep = 0
    while awake.recv(near, 1, 60) is None:
        asleep += 1
    assert asleep == sleeping


def test_one_thread_is_awake_at_a_time_and_the_others_sleep(pair: Pair) -> None:
    near, far = pair
    awake = BusyPoll(LONG_US)
    other, other_far = socket.socketpair()
    with other, other_far, one_awake(awake, near) as (first, found):
        other_far.send(b"looked at later")
        assert awake.recv(other, 100, 60) is None
        far.send(b"reply")
        first.join()
        assert found == [b"reply"]
        assert awake.recv(other, 100, 60) == b"looked at later"


def test_0_microseconds_never_look(pair: Pair) -> None:
    near, far = pair
    far.send(b"reply")
    assert BusyPoll(0).recv(near, 100, 60) is None


@pytest.mark.parametrize("microseconds", [-1, 1.5, True, None, "100"])
def test_a_time_awake_that_is_no_number_of_microseconds_is_refused(microseconds: object) -> None:
    with pytest.raises(InvalidInput, match="busy_poll_us"):
        BudgetClient.from_url("redis://localhost", busy_poll_us=microseconds)  # type: ignore[arg-type]


@pytest.mark.parametrize("microseconds", [0, 1, LONG_US])
def test_the_same_money_is_counted_however_long_a_call_is_awake(plant: Plant, hot_url: str, microseconds: int) -> None:
    plant.brand()
    with BudgetClient.from_url(hot_url, timeout_ms=20_000, busy_poll_us=microseconds) as client:
        assert client.record_spend(CAMPAIGN, "1").outcome == "recorded"
        assert [r.outcome for r in client.record_spends([Spend(CAMPAIGN, "1")] * 100)] == ["recorded"] * 100
        threads = [threading.Thread(target=client.record_spend, args=(CAMPAIGN, "1")) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert plant.spent() == 109_000_000


def test_a_forked_child_is_awake_whatever_its_parents_threads_were_doing(hot_url: str, pair: Pair) -> None:
    wire = ConnectionPool(hot_url, LONG_US)
    near, far = pair
    child, child_far = socket.socketpair()
    with child, child_far, one_awake(wire.awake, near):
        wire.forget()
        child_far.send(b"reply")
        assert wire.awake.recv(child, 100, 60) == b"reply"
        far.send(b"over")
