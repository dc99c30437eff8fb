"""Refunds of events that Redis has forgotten: asked for by a bidder, decided by the spend log, given back once for good."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from engine.client.holds import RefundResult
from engine.domain.ids import shard_of
from engine.domain.periods import DAY_MS, HOUR_MS, day_of, ms_of
from engine.flows.catalog.check import check_all
from engine.flows.persist.persister import DrainStats
from engine.flows.persist.refunds import TRY_AGAIN_MS
from engine.jobs import persist_loop
from engine.ledger import audit, migrate
from engine.live.journal import decode
from engine.live.keys import keys_of_brand
from engine.wiring import System
from tests.flows.conftest import at
from tests.flows.test_holds_and_quarantine import poison
from tests.flows.test_persist import brand_with_campaigns, rows

NINE = ms_of(datetime(2030, 5, 15, 9, tzinfo=UTC))
TODAY, YESTERDAY = date(2030, 5, 15), date(2030, 5, 14)


def refund(
    system: System,
    campaign: int,
    amount: str = "2",
    event: str = "win",
    *,
    on: date | None = TODAY,
    part: str | None = None,
) -> RefundResult:
    return system.client.refund(campaign, amount, event, spent_on=on, refund_id=part)


def decided(system: System) -> None:
    """What persist does in a moment."""
    system.persister.drain_all()
    system.refund_desk.decide()
    system.persister.drain_all()
    system.refund_desk.decide()


def given_back(system: System) -> list[tuple[Any, ...]]:
    return rows(system, "SELECT event_id, amount_micros, kind FROM spend WHERE amount_micros < 0 ORDER BY n")


def states(system: System) -> list[tuple[Any, ...]]:
    return rows(system, "SELECT event_id, refund_id, state, cause FROM refund ORDER BY 1, 2")


def passes(system: System) -> None:
    check_all(system.publisher, system.status)
    assert {check.id: check.findings for check in system.verifier.verify() if check.findings} == {}


@pytest.fixture
def won(clock: System) -> tuple[System, int]:
    """A campaign that spent 10.00 at nine o'clock, 5.00 of it for the event `win`."""
    at(clock, NINE)
    _, (campaign, _) = brand_with_campaigns(clock, 2, daily=20_000_000)
    clock.client.record_spend(campaign, "5")
    clock.client.record_spend(campaign, "5", event_id="win")
    return clock, campaign


def test_one_refund_asked_for_again_after_hours_pays_once(won: tuple[System, int]) -> None:
    system, campaign = won
    assert refund(system, campaign).outcome == "refunded"
    for hours in (3, 6, 9, 30):
        at(system, NINE + hours * HOUR_MS)
        first = refund(system, campaign)
        assert (first.outcome, "spend log decides" in first.detail) == ("pending", True), hours
        assert refund(system, campaign).outcome == "pending"
        decided(system)
        assert refund(system, campaign).outcome == "refunded"
        assert given_back(system) == [("win", -2_000_000, "refund")]
    passes(system)


def test_a_forgotten_event_is_refunded_by_the_log_and_never_twice(won: tuple[System, int]) -> None:
    system, campaign = won
    for hours in (3, 6, 9):
        at(system, NINE + hours * HOUR_MS)
        before = refund(system, campaign)
        assert before.outcome == "pending"
        decided(system)
        after = refund(system, campaign)
        assert (after.outcome, after.daily_spend) == ("refunded", Decimal(8))
        assert given_back(system) == [("win", -2_000_000, "refund")]
        other = refund(system, campaign, "1")
        assert (other.outcome, "another amount" in other.detail) == ("conflict", True)
    passes(system)


def test_no_money_moves_while_a_refund_is_pending(won: tuple[System, int]) -> None:
    system, campaign = won
    at(system, NINE + 3 * HOUR_MS)
    answers = [refund(system, campaign) for _ in range(3)]
    assert {(a.outcome, a.daily_spend, a.monthly_spend) for a in answers} == {("pending", Decimal(10), Decimal(10))}
    keys = keys_of_brand(campaign >> 16)
    lines = [decode(*item).steps for item in system.hot_redis.xrange(keys.journal)]
    assert [line for line in lines if line] == [f"W,{campaign},win,2000000,{day_of(NINE)};"]
    passes(system)
    system.persister.drain_all()
    assert given_back(system) == []
    passes(system)


@pytest.mark.parametrize(
    ("event", "amount", "other", "on", "why"),
    [
        ("never", "1", False, TODAY, "no spend of this event"),
        ("win", "5.000001", False, TODAY, "more than was spent"),
        ("win", "1", True, TODAY, "another campaign"),
        ("win", "1", False, YESTERDAY, "the day before or after"),
        ("win", "1", False, date(2030, 4, 1), "before the brand began"),
        ("win", "1", False, date(2020, 1, 1), "before the brand began"),
    ],
)
def test_what_the_log_does_not_know_is_refused_with_its_cause_and_nothing_moves(
    won: tuple[System, int], event: str, amount: str, other: bool, on: date, why: str
) -> None:
    system, campaign = won
    with system.db.begin() as conn:
        conn.execute(text("UPDATE brand SET created_at = '2030-05-10'"))
    system.client.record_spend(campaign + 1, "9")
    at(system, NINE + 3 * HOUR_MS)
    asked = campaign + other
    assert refund(system, asked, amount, event, on=on).outcome == "pending"
    decided(system)
    answer = refund(system, asked, amount, event, on=on)
    assert (answer.outcome, why in answer.detail, answer.daily_spend) == ("refused", True, Decimal(19)), answer
    assert given_back(system) == []
    passes(system)
    # A refusal uses up nothing: the right call goes through.
    assert refund(system, campaign).outcome == "pending"
    decided(system)
    assert refund(system, campaign).outcome == "refunded"
    assert given_back(system) == [("win", -2_000_000, "refund")]


def test_parts_of_a_forgotten_spend_are_together_at_most_the_spend(won: tuple[System, int]) -> None:
    system, campaign = won
    assert refund(system, campaign, "2", part="one").outcome == "refunded"
    at(system, NINE + 3 * HOUR_MS)
    for part, amount in (("one", "2"), ("two", "2"), ("three", "2"), ("four", "1")):
        assert refund(system, campaign, amount, part=part).outcome == "pending"
    decided(system)
    outcomes = [
        refund(system, campaign, a, part=p).outcome
        for p, a in (("one", "2"), ("two", "2"), ("three", "2"), ("four", "1"))
    ]
    assert outcomes == ["refunded", "refunded", "refused", "refunded"]
    assert sum(row[1] for row in given_back(system)) == -5_000_000
    assert states(system) == [
        ("win", "four", "applied", None),
        ("win", "one", "applied", None),
        ("win", "three", "refused", "xs"),
        ("win", "two", "applied", None),
    ]
    passes(system)


def test_a_refund_of_yesterday_goes_to_the_month_and_of_last_month_to_none(won: tuple[System, int]) -> None:
    system, campaign = won
    at(system, NINE + DAY_MS)
    assert refund(system, campaign).outcome == "pending"
    decided(system)
    answer = refund(system, campaign)
    assert (answer.outcome, answer.daily_spend, answer.monthly_spend) == ("refunded", Decimal(0), Decimal(8))
    passes(system)
    at(system, NINE + 20 * DAY_MS)
    assert refund(system, campaign, "1", part="later").outcome == "pending"
    decided(system)
    answer = refund(system, campaign, "1", part="later")
    assert (answer.outcome, answer.monthly_spend) == ("refunded", Decimal(0))
    assert given_back(system) == [("win", -2_000_000, "correction"), ("win", -1_000_000, "correction")]
    passes(system)


def test_a_pending_refund_and_what_was_refunded_of_an_event_outlive_a_rebuild(won: tuple[System, int]) -> None:
    system, campaign = won
    assert refund(system, campaign, "2", part="one").outcome == "refunded"
    system.client.record_spend(campaign, "4", event_id="later")
    at(system, NINE + HOUR_MS // 2)
    system.persister.drain_all()
    system.hot_redis.flushall()
    at(system, NINE + HOUR_MS // 2)
    system.rebuilder.rebuild_missing()
    assert refund(system, campaign, "4", part="two").outcome == "conflict"
    assert refund(system, campaign, "3", part="two").outcome == "refunded"
    at(system, NINE + 3 * HOUR_MS)
    assert refund(system, campaign, "4", "later").outcome == "pending"
    system.persister.drain_all()
    system.hot_redis.flushall()
    at(system, NINE + 3 * HOUR_MS)
    system.rebuilder.rebuild_missing()
    n = system.live.read_shard(shard_of(campaign >> 16)).n
    assert refund(system, campaign, "4", "later").outcome == "pending"
    assert system.live.read_shard(shard_of(campaign >> 16)).n == n
    decided(system)
    assert refund(system, campaign, "4", "later").outcome == "refunded"
    assert sum(row[1] for row in given_back(system)) == -9_000_000
    passes(system)


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("hours", [0, 3])
@pytest.mark.parametrize(
    "place", ["before the decision", "after it", "after the money went back", "before the memory is told"]
)
def test_a_desk_that_is_killed_anywhere_gives_back_once(
    won: tuple[System, int], monkeypatch: pytest.MonkeyPatch, place: str, hours: int
) -> None:
    system, campaign = won
    at(system, NINE + 3 * HOUR_MS)
    assert refund(system, campaign).outcome == refund(system, campaign, "9", "never").outcome == "pending"
    system.persister.drain_all()
    desk = system.refund_desk
    names = {
        "before the decision": "_judge",
        "after it": "_to_give_back",
        "after the money went back": "_tell",
        "before the memory is told": "_tell",
    }
    with monkeypatch.context() as patch:

        def dies(*_: object) -> None:
            raise Killed

        patch.setattr(desk, names[place], dies)
        with pytest.raises(Killed):
            desk.decide()
    if place == "after the money went back":
        system.client.record_spend(campaign, "1")
    # What was given back may stay in the journal for longer than its memory lasts.
    at(system, NINE + (3 + hours) * HOUR_MS + TRY_AGAIN_MS)
    for _ in range(3):
        desk.decide()
    assert rows(system, "SELECT count(*) FROM refund WHERE state IN ('waiting', 'applied')")[0][0] <= 1
    for _ in range(4):
        at(system, NINE + (3 + hours) * HOUR_MS + 2 * TRY_AGAIN_MS)
        decided(system)
    assert given_back(system) == [("win", -2_000_000, "refund")]
    assert states(system) == [("never", "", "refused", "xu"), ("win", "", "applied", None)]
    passes(system)


def test_an_approved_refund_whose_shard_was_wiped_before_it_was_persisted_is_given_back_after_the_rebuild(
    won: tuple[System, int],
) -> None:
    system, campaign = won
    at(system, NINE + 3 * HOUR_MS)
    assert refund(system, campaign).outcome == "pending"
    system.persister.drain_all()
    system.refund_desk.decide()
    system.hot_redis.flushall()
    at(system, NINE + 3 * HOUR_MS + TRY_AGAIN_MS)
    system.rebuilder.rebuild_missing()
    decided(system)
    answer = refund(system, campaign)
    assert (answer.outcome, answer.daily_spend) == ("refunded", Decimal(8))
    assert given_back(system) == [("win", -2_000_000, "refund")]
    passes(system)


def test_a_refund_waits_while_its_spend_may_lie_in_quarantine(won: tuple[System, int]) -> None:
    system, campaign = won
    poison(system, campaign >> 16, {"r": "x", "b": f"{campaign},nonsense;"})
    at(system, NINE + 3 * HOUR_MS)
    assert refund(system, campaign).outcome == "pending"
    decided(system)
    assert states(system) == [("win", "", "waiting", None)]
    ((row_id,),) = rows(system, "SELECT id FROM quarantine")
    system.quarantined.drop([row_id], "test", "nonsense")
    decided(system)
    assert states(system) == [("win", "", "applied", None)]


def test_a_bidder_of_an_older_version_repeats_a_pending_refund_without_harm(won: tuple[System, int]) -> None:
    """Its script knows two parts of a value: what waits is another content to it, so a conflict."""
    system, campaign = won
    at(system, NINE + 3 * HOUR_MS)
    refund(system, campaign)
    keys = keys_of_brand(campaign >> 16)
    name = f"-{campaign >> 16}:win"
    found = [system.hot_redis.hget(key, name) for key in keys.events]
    assert f"{campaign},2000000,w".encode() in found
    decided(system)
    found = [system.hot_redis.hget(key, name) for key in keys.events]
    assert f"{campaign},2000000".encode() in found
    assert shard_of(campaign >> 16) == 1


def test_refunds_that_an_older_version_paid_twice_are_named(won: tuple[System, int]) -> None:
    system, campaign = won
    brand_id = campaign >> 16
    for line in (f"F,{campaign},win,2000000,{day_of(NINE)}",) * 2 + (f"F,{campaign},win,1000000,{day_of(NINE)},one",):
        poison(system, brand_id, {"h": f"{line};"})
    system.persister.drain_all()
    with system.db.connect() as conn:
        (again,) = audit.events_again(conn, TODAY)
    assert (again.brand_id, again.event_id, again.kind, again.times, again.again_micros) == (
        brand_id, "win", "refund", 2, -2_000_000,
    )  # fmt: skip
    found = {check.id: check for check in system.verifier.verify()}
    assert found["V4"].findings == [f"brand {brand_id} refund of event win: -2000000 micros counted again"]


def test_refunds_of_a_log_that_is_older_than_the_table_are_known_to_it(won: tuple[System, int]) -> None:
    system, campaign = won
    assert refund(system, campaign).outcome == "refunded"
    system.persister.drain_all()
    migrate.downgrade(system.db, "0004")
    migrate.upgrade(system.db)
    assert states(system) == [("win", "", "applied", None)]
    at(system, NINE + 3 * HOUR_MS)
    assert refund(system, campaign).outcome == "pending"
    decided(system)
    assert refund(system, campaign).outcome == "refunded"
    assert given_back(system) == [("win", -2_000_000, "refund")]


def test_an_old_redis_that_comes_back_gives_back_nothing_twice_and_keeps_both_parts(won: tuple[System, int]) -> None:
    system, campaign = won
    keys = keys_of_brand(campaign >> 16)
    system.persister.drain_all()
    old = {key: system.hot_redis.dump(key) for key in system.hot_redis.keys(f"{keys.tag}*")}
    for part in ("one", "two"):
        assert refund(system, campaign, "1", part=part).outcome == "refunded"
    system.persister.drain_all()
    # Redis of a moment ago: the bidders, who had their answers, ask for both again, and for a third.
    for key, content in old.items():
        system.hot_redis.restore(key, 0, content, replace=True)
    at(system, NINE + 1000)
    for part in ("two", "one", "three"):
        assert refund(system, campaign, "1", part=part).outcome == "refunded"
    assert refund(system, campaign, "1", "forgotten").outcome == "pending"
    for _ in range(2):
        system.persister.drain()
        system.rebuilder.rebuild_missing()
    assert [row[1] for row in given_back(system)] == [-1_000_000] * 3
    assert [row[:3] for row in states(system)] == [
        ("forgotten", "", "waiting"),
        *(("win", part, "applied") for part in ("one", "three", "two")),
    ]
    passes(system)


def test_the_persist_job_decides_what_is_pending(won: tuple[System, int]) -> None:
    system, campaign = won
    at(system, NINE + 3 * HOUR_MS)
    assert refund(system, campaign).outcome == "pending"
    loop, passes_left = persist_loop(system), [True] * 40

    def should_stop() -> bool:
        return not (passes_left and passes_left.pop()) or refund(system, campaign).outcome == "refunded"

    loop.run(should_stop, DrainStats())
    assert (refund(system, campaign).outcome, loop.alarm()) == ("refunded", "")


def test_refunds_whose_events_are_of_many_days_are_decided_in_one_pass(won: tuple[System, int]) -> None:
    system, campaign = won
    at(system, NINE + DAY_MS)
    system.client.record_spend(campaign, "3", event_id="next")
    at(system, NINE + DAY_MS + 3 * HOUR_MS)
    for event, on in (("win", TODAY), ("next", date(2030, 5, 16)), ("next", TODAY), ("win", YESTERDAY)):
        assert refund(system, campaign, "1", event, on=on, part=f"of-{on}").outcome == "pending"
    system.persister.drain_all()
    done = system.refund_desk.decide()
    assert (done.approved, done.refused, done.brands) == (2, 2, {campaign >> 16})
    system.persister.drain_all()
    assert given_back(system) == [("win", -1_000_000, "correction"), ("next", -1_000_000, "refund")]
    passes(system)
