"""Guessing passwords is slow, and nobody who has the right one waits for more than a few seconds because of others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from engine.ledger.logins import Count
from engine.wiring import System
from tests.web.conftest import HERE, PASSWORD, Visitor
from web.throttle import LONGEST_LINE_S, LONGEST_WAIT_S, Key, Throttle, keys_of


class Kept:
    """Counts in memory, with a clock that the test moves."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._rows: dict[str, Count] = {}

    @contextmanager
    def locked(self, keys: Sequence[str]) -> Iterator[tuple[float, dict[str, Count]]]:
        rows = {key: self._rows[key] for key in keys if key in self._rows}
        yield self._clock(), rows
        for key in keys:
            self._rows.pop(key, None)
        self._rows |= rows


def with_clock(visitor: Visitor) -> list[float]:
    """Gives the throttle of a visitor's process a clock that the test moves."""
    now = [0.0]
    visitor.client.application.extensions["login_throttle"] = Throttle(Kept(lambda: now[0]))
    return now


def test_wrong_passwords_wait_and_a_try_that_is_told_to_wait_is_not_looked_at(guarded: Callable[[], Visitor]) -> None:
    visitor = guarded()
    now = with_clock(visitor)
    assert [visitor.post("/login", actor="Mia", password="guess")[0] for _ in range(6)] == [401] * 5 + [429]
    status, page = visitor.post("/login", actor="Mia", password=PASSWORD)
    assert status == 429 and "try again in 1 s" in page
    now[0] += 1
    assert visitor.post("/login", actor="Mia", password=PASSWORD)[0] == 200


def test_the_wait_doubles_to_four_seconds_and_is_forgotten() -> None:
    now = [0.0]
    throttle = Throttle(Kept(lambda: now[0]))
    keys = (Key(("address", "a", ""), 5),)
    assert [throttle.take(keys) for _ in range(5)] == [0] * 5
    waits = []
    for _ in range(6):
        waits.append(throttle.take(keys))
        now[0] += waits[-1]
        assert throttle.take(keys) == 0
    assert waits == [1, 2, 4, 4, 4, 4]
    assert throttle.take((Key(("address", "b", ""), 5),)) == 0
    now[0] += 1000
    assert throttle.take(keys) == 0


def test_behind_an_address_that_is_under_attack_who_has_logged_in_before_gets_in_at_once(
    guarded: Callable[[], Visitor],
) -> None:
    mia, attacker, elsewhere = guarded(), guarded(), guarded()
    with_clock(attacker)
    for visitor in (mia, attacker, elsewhere):
        visitor.client.application.extensions["login_throttle"] = attacker.client.application.extensions[
            "login_throttle"
        ]
    mia.post("/login", actor="Mia", password=PASSWORD)
    mia.post("/logout", "/")
    # Under names of any kind: none of them is hers.
    assert 429 in [attacker.post("/login", actor=f"guest {i}", password="guess")[0] for i in range(20)]
    assert elsewhere.post("/login", actor="Mia", password=PASSWORD)[0] == 200, "in a browser that is new to her"
    # Under her own name, from her own address.
    assert 429 in [attacker.post("/login", actor="Mia", password="guess")[0] for _ in range(20)]
    assert mia.post("/login", actor="Mia", password=PASSWORD)[0] == 200, "in the browser that she has used before"


def test_whoever_is_new_behind_an_attacked_address_waits_four_seconds_at_most(guarded: Callable[[], Visitor]) -> None:
    visitor = guarded()
    now = with_clock(visitor)
    for i in range(200):
        visitor.post("/login", actor=f"guest {i % 7}", password="guess")
        now[0] += 0.3
    now[0] += LONGEST_WAIT_S
    assert visitor.post("/login", actor="Noa", password=PASSWORD)[0] == 200


def test_new_names_and_many_addresses_do_not_make_guesses_free() -> None:
    now = [0.0]
    throttle = Throttle(Kept(lambda: now[0]))
    made_up = [throttle.take(keys_of("10.0.0.1", f"guest {i}", False, None)) for i in range(100)]
    assert made_up.count(0) == 5
    scattered = [throttle.take(keys_of(f"10.0.{i // 250}.{i % 250}", "Mia", True, None)) for i in range(1000)]
    assert scattered.count(0) == 50
    assert throttle.take(keys_of("10.0.0.1", "Lea", True, None)) == 0
    assert throttle.take(keys_of("10.0.0.1", "Mia", True, "her browser")) == 0


def test_the_many_addresses_of_one_ipv6_machine_are_one_guesser_and_a_mapped_address_is_the_same() -> None:
    throttle = Throttle(Kept(lambda: 0.0))
    tried = [throttle.take(keys_of(f"2001:db8:1:2::{i:x}", "Mia", True, None)) for i in range(500)]
    assert tried.count(0) == 5
    assert throttle.take(keys_of("2001:db8:1:3::1", "Mia", True, None)) == 0, "the next machine"
    mixed = [throttle.take(keys_of(one, "Lea", True, None)) for one in ("192.0.2.1", "::ffff:192.0.2.1") * 5]
    assert mixed.count(0) == 5


def test_many_tries_in_the_same_instant_are_not_all_free() -> None:
    throttle = Throttle(Kept(lambda: 0.0))
    keys = keys_of("10.0.0.1", "Mia", True, None)
    assert [throttle.take(keys) for _ in range(8)].count(0) == 5


def test_a_browsers_mark_that_is_made_up_or_anothers_counts_for_nothing(
    ready: System, guarded: Callable[[], Visitor]
) -> None:
    mia, lea = guarded(), guarded()
    with_clock(mia)
    mia.post("/login", actor="Mia", password=PASSWORD)
    mark = mia.client.get_cookie("budget_engine_browser", path="/login")
    assert mark is not None and mark.http_only
    for value in ("made up", mark.value):
        lea.client.set_cookie("budget_engine_browser", value, path="/login")
        tries = [lea.post("/login", actor=f"Lea {value[:4]}", password="guess")[0] for _ in range(7)]
        assert 429 in tries
    assert lea.client.get("/", base_url=HERE).status_code == 302, "the mark logs nobody in"


def test_a_failed_login_is_in_the_log_with_name_and_address(
    guarded: Callable[[], Visitor], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "web"):
        guarded().post("/login", actor="Mia", password="guess-not-shown")
    (line,) = [record for record in caplog.records if record.message == "login refused"]
    assert (line.__dict__["actor"], line.__dict__["address"]) == ("Mia", "127.0.0.1")
    assert "guess-not-shown" not in caplog.text + str([record.__dict__ for record in caplog.records])


@pytest.mark.parametrize("attackers", [1, 2, 10, pytest.param(400, marks=pytest.mark.long)])
@pytest.mark.parametrize("known", [True, False])
def test_who_has_the_right_password_gets_a_try_within_a_minute_however_often_others_ask(
    attackers: int, known: bool
) -> None:
    now = [0.0]
    throttle = Throttle(Kept(lambda: now[0]))
    due, guesses, attempts = 300.0, 0, 0
    while now[0] < 300 + LONGEST_LINE_S + 1:
        for i in range(attackers):
            guesses += throttle.take(keys_of(f"10.0.{i // 250}.{i % 250}", "Mia", known, None)) == 0
        if now[0] >= due:
            wait = throttle.take(keys_of("192.168.7.7", "Mia", known, None))
            attempts += 1
            if not wait:
                break
            due = now[0] + wait
        now[0] += 0.25 if attackers < 100 else 1
    else:
        pytest.fail("the right password was never looked at")
    assert attempts <= 3
    assert guesses <= 50 + now[0] / LONGEST_WAIT_S * 2 + attackers
