"""Flights in a whole system: catalog, edges with every job dead, status, log, refunds, rebuild, verify, reconcile and watch."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from sqlalchemy import text

from engine.domain.flights import InvalidFlight
from engine.domain.ids import shard_of
from engine.domain.periods import DAY_MS, HOUR_MS, MINUTE_MS
from engine.errors import BudgetError, Conflict, InvalidBudget
from engine.flows.catalog.check import check_all
from engine.flows.verify.findings import Check
from engine.ledger import flights as ledger_flights
from engine.live.keys import keys_of_brand
from engine.wiring import System
from tests.flows.conftest import at
from tests.flows.test_persist import brand_with_campaigns, rows
from tests.flows.test_status_and_close import instant
from tests.patience import PATIENCE_S
from tests.processes.conftest import until

NOON = instant(2037, 11, 30, 12)


def two_flights(system: System, *, carries: bool = False) -> tuple[int, int]:
    """A campaign with flights from 12:00 to 13:00 and from 14:00 to 15:00, of 5 units each."""
    at(system, NOON)
    brand_id, (one,) = brand_with_campaigns(system)
    system.persister.drain_all()
    assert system.manage.add_flight(one, "anna", NOON, NOON + HOUR_MS, 5_000_000, carries).published
    assert system.manage.add_flight(one, "anna", NOON + 2 * HOUR_MS, NOON + 3 * HOUR_MS, 5_000_000, False).published
    return brand_id, one


def persisted(system: System) -> None:
    system.status.refresh(system.persister.drain_all().changed_brands)


def found(system: System, *ids: str) -> dict[str, Check]:
    return {check.id: check for check in system.verifier.verify() if check.id in ids or check.findings}


def test_two_flights_begin_and_end_with_every_job_dead_and_every_row_knows_its_flight(clock: System) -> None:
    _, one = two_flights(clock)
    spends = ((-1, "refused", 0), (0, "accepted", 1), (HOUR_MS - 1, "accepted", 1), (HOUR_MS, "refused", 0))
    spends += ((2 * HOUR_MS, "accepted", 2), (3 * HOUR_MS, "refused", 0))
    for after, outcome, _ in spends[1:]:
        at(clock, NOON + after)
        assert clock.client.try_spend(one, "2").outcome == outcome, after
    clock.client.record_spend(one, "1")
    assert found(clock, "V13")["V13"].findings == [], "with a backlog"
    persisted(clock)
    told = rows(clock, "SELECT flight, sum(spend_micros)::bigint FROM flight_entry GROUP BY 1 ORDER BY 1")
    assert told == [(1, 4_000_000), (2, 2_000_000)]
    assert rows(clock, "SELECT flight, spend_micros FROM flight_total ORDER BY 1") == told
    assert not found(clock)


def test_a_third_flight_begins_when_the_check_has_put_it_into_the_plan_and_not_before(
    clock: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, one = two_flights(clock)
    late = NOON + 4 * HOUR_MS
    clock.manage.add_flight(one, "anna", late, late + HOUR_MS, 5_000_000, False)
    at(clock, late)
    assert clock.client.try_spend(one, "1").reasons == ("flight",)
    monkeypatch.setattr(ledger_flights, "now_ms", lambda _: NOON + HOUR_MS + MINUTE_MS)
    assert clock.catalog.flights.move_on() == [one]
    assert clock.catalog.flights.move_on() == []
    clock.publisher.publish_pending()
    assert [flight.no for flight in clock.catalog.campaign(one).flights] == [2, 3]
    assert clock.client.try_spend(one, "1").outcome == "accepted"
    persisted(clock)
    assert not found(clock)
    # Where all are over, the last one stays: the campaign is outside its flights.
    monkeypatch.setattr(ledger_flights, "now_ms", lambda _: late + DAY_MS)
    clock.catalog.flights.move_on()
    clock.publisher.publish_pending()
    at(clock, late + DAY_MS)
    assert clock.client.try_spend(one, "1").reasons == ("flight",)


def test_status_says_flight_and_the_instant_at_which_it_began_or_ended(clock: System) -> None:
    _, one = two_flights(clock)
    at(clock, NOON + HOUR_MS + 7)
    check_all(clock.publisher, clock.status)
    campaign = clock.catalog.campaign(one)
    assert (campaign.status, campaign.reasons) == ("paused", ("flight",))
    assert rows(clock, "SELECT at FROM status_change ORDER BY id DESC LIMIT 1") == [
        (datetime(2037, 11, 30, 13, tzinfo=UTC),)
    ]
    view = clock.overview.campaign(one)
    assert view.sentence == "paused: outside its flights, again at 14:00 UTC"
    assert view.again_ms == NOON + 2 * HOUR_MS
    assert [(flight.no, flight.state) for flight in view.flights] == [(1, "over"), (2, "ahead")]
    at(clock, NOON + 2 * HOUR_MS + 7)
    clock.client.record_spend(one, "5")
    persisted(clock)
    check_all(clock.publisher, clock.status)
    assert clock.catalog.campaign(one).reasons == ("flight_budget",)
    assert not found(clock)


def test_a_rebuild_in_the_middle_of_a_flight_keeps_counters_plan_and_the_flight_of_each_event(clock: System) -> None:
    brand_id, one = two_flights(clock)
    clock.client.record_spend(one, "3", event_id="first")
    at(clock, NOON + 2 * HOUR_MS)
    clock.client.record_spend(one, "2", event_id="second")
    clock.client.reserve(one, "1", hold_id="bid")
    persisted(clock)
    keys = keys_of_brand(brand_id)
    before = clock.hot_redis.hgetall(keys.campaign(one))
    clock.hot_redis.delete(*keys.fixed, keys.campaign(one), keys.brand(brand_id))
    clock.rebuilder.rebuild([shard_of(brand_id)])
    after = clock.hot_redis.hgetall(keys.campaign(one))
    for field in (b"f1", b"f2", b"f:1", b"f:2", b"x"):
        assert (field, after.get(field)) == (field, before.get(field))
    assert clock.hot_redis.hget(keys.shard, "layout") == b"2"
    assert clock.client.try_spend(one, "2.000001").reasons == ("flight_budget",)
    assert clock.client.refund(one, event_id="second", amount="2").outcome == "refunded"
    assert clock.hot_redis.hmget(keys.campaign(one), "f:1", "f:2") == [b"3000000", b"0"]
    persisted(clock)
    assert not found(clock)


def test_a_refund_that_the_log_decides_goes_to_the_flight_of_its_spend(clock: System) -> None:
    brand_id, one = two_flights(clock)
    clock.client.record_spend(one, "3", event_id="first")
    persisted(clock)
    at(clock, NOON + 2 * HOUR_MS + 30 * MINUTE_MS)
    clock.client.record_spend(one, "4")
    day = datetime(2037, 11, 30, tzinfo=UTC).date()
    assert clock.client.refund(one, event_id="first", amount="2", spent_on=day).outcome == "pending"
    persisted(clock)
    clock.refund_desk.decide()
    assert clock.hot_redis.hmget(keys_of_brand(brand_id).campaign(one), "f:1", "f:2") == [b"1000000", b"4000000"]
    persisted(clock)
    assert rows(clock, "SELECT flight, spend_micros FROM flight_total ORDER BY 1") == [(1, 1_000_000), (2, 4_000_000)]
    assert not found(clock)


def test_what_a_flight_left_goes_on_and_a_rebuild_and_verify_know_it(clock: System) -> None:
    brand_id, one = two_flights(clock, carries=True)
    clock.client.record_spend(one, "1")
    assert [(of.state, of.spend) for of in clock.overview.flights(one)] == [("running", 1_000_000), ("ahead", 0)]
    at(clock, NOON + 2 * HOUR_MS)
    assert clock.client.try_spend(one, "9.000001").reasons == ("flight_budget",)
    assert clock.client.try_spend(one, "9").outcome == "accepted"
    persisted(clock)
    for views in (clock.overview.campaign(one).flights, clock.overview.flights(one)):
        assert [(of.state, of.spend, of.left) for of in views] == [
            ("over", 1_000_000, 4_000_000), ("running", 9_000_000, 0)
        ], "each its own, and what went on"  # fmt: skip
    clock.rebuilder.rebuild([shard_of(brand_id)])
    assert clock.client.try_spend(one, "0.000001").reasons == ("flight_budget",)
    assert not found(clock)


@pytest.mark.parametrize("zone", ["UTC", "Australia/Lord_Howe"])
def test_flights_that_share_a_counter_show_each_its_own_spend_also_where_one_replaces_another_in_an_hour(
    clock: System, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    at(clock, NOON)
    brand_id = clock.manage.create_brand("Aurora", None, None, None, "anna", time_zone=zone).row.id
    one, other = (c.id for c in clock.manage.create_campaigns(brand_id, ["one", "other"], "anna"))
    clock.persister.drain_all()
    edges = [NOON, NOON + DAY_MS + 17 * MINUTE_MS, NOON + DAY_MS + 40 * MINUTE_MS, NOON + 3 * DAY_MS]
    for starts, ends in pairwise(edges):
        assert clock.manage.add_flight(one, "anna", starts, ends, 5_000_000, True).published
    spends = ((0, 1), (DAY_MS, 2), (DAY_MS + 17 * MINUTE_MS - 1, 3), (DAY_MS + 17 * MINUTE_MS, 4))
    monkeypatch.setattr(ledger_flights, "now_ms", lambda _: edges[1] + 2 * MINUTE_MS)
    for after, units in (*spends, (DAY_MS + 39 * MINUTE_MS, 1), (DAY_MS + 40 * MINUTE_MS, 2), (2 * DAY_MS, 1)):
        at(clock, NOON + after)
        clock.client.record_spend(one, str(units))
        clock.client.record_spend(other, "7")
        if after == spends[-1][0]:
            clock.catalog.flights.move_on()
            clock.publisher.publish_pending()
    persisted(clock)
    for views in (clock.overview.flights(one), clock.overview.campaign(one).flights):
        assert [(of.spend, of.left) for of in views] == [(6_000_000, -1_000_000), (5_000_000, -1_000_000), (3_000_000, 1_000_000)]  # fmt: skip
    monkeypatch.setattr(ledger_flights, "now_ms", lambda _: NOON + 2 * DAY_MS)
    said = clock.overview.flight_effects(one, 3, {"budget_micros": 4_500_000})
    assert not any("used up already" in sentence for sentence in said)
    assert said[-1] == "what was spent 3.000000 stays counted to it"
    said = clock.overview.flight_effects(one, 3, {"budget_micros": 4_000_000})
    assert "that is used up already: the campaign stops at once" in said


def test_verify_names_a_flight_s_counter_that_is_wrong_and_reconcile_repairs_it(clock: System) -> None:
    brand_id, one = two_flights(clock)
    clock.client.record_spend(one, "4")
    persisted(clock)
    key = keys_of_brand(brand_id).campaign(one)
    clock.hot_redis.hincrby(key, "f:1", 7)
    assert {id_: check.difference_micros for id_, check in found(clock).items()} == {"V13": 7}
    done = clock.reconciler.reconcile()
    assert [repair.difference.field for repair in done.repairs] == ["f:1"]
    assert clock.hot_redis.hget(key, "f:1") == b"4000000"
    clock.persister.drain_all()
    assert not found(clock)
    with clock.db.begin() as conn:
        conn.execute(text("UPDATE flight_entry SET spend_micros = spend_micros - 1"))
    assert "entry" in str(found(clock)["V13"].findings[0])


def test_a_watch_crosses_the_edges_of_flights_by_itself(ready: System) -> None:
    _, (one, two) = brand_with_campaigns(ready, 2)
    now = ready.live.now_ms()
    with ready.client.watch() as watch:
        assert watch.wait_ready(PATIENCE_S)
        ready.manage.add_flight(one, "anna", now + 3_000, now + 4_500, 2_000_000, False)
        # The shard's first flight changes its layout: the watch reads the shard again, and is stale until it has.
        until(lambda: watch.status(one).reasons == ("flight",) and watch.may_bid(two))
        until(lambda: watch.may_bid(one))
        assert ready.live.now_ms() >= now + 2_990
        until(lambda: not watch.may_bid(one))
        assert ready.live.now_ms() >= now + 4_490
        no = ready.manage.add_flight(one, "anna", None, now + HOUR_MS, 2_000_000, False).row.flights[-1].no
        until(lambda: watch.may_bid(one))
        ready.client.record_spend(one, "2")
        until(lambda: not watch.may_bid(one))
        assert watch.status(one).reasons == ("flight_budget",)
        ready.manage.change_flight(one, no, "anna", budget_micros=3_000_000)
        until(lambda: watch.may_bid(one))
        ready.manage.change_flight(one, no, "anna", ends_ms=None)
        until(lambda: not watch.may_bid(one))
    with ready.client.watch() as watch:
        assert watch.wait_ready(PATIENCE_S)
        assert not watch.may_bid(one) and watch.may_bid(two)


def test_flights_that_do_not_fit_are_refused_by_name_and_value_and_nothing_changes(ready: System) -> None:
    _, (one, other) = brand_with_campaigns(ready, 2)
    now = ready.live.now_ms()
    manage = ready.manage
    manage.add_flight(one, "anna", now + HOUR_MS, now + 2 * HOUR_MS, None, False)
    version = ready.catalog.campaign(one).version
    for starts, ends, budget, kind, field, said in (
        (now + 90 * MINUTE_MS, now + 3 * HOUR_MS, 1, InvalidFlight, "starts_at", "overlaps flight 1"),
        (None, now + 61 * MINUTE_MS, 1, InvalidFlight, "ends_at", "overlaps flight 1"),
        (now + 5 * HOUR_MS, now + 5 * HOUR_MS, 1, InvalidFlight, "ends_at", "not after the begin"),
        (now - DAY_MS, now + 5 * HOUR_MS, 1, InvalidFlight, "starts_at", "in the past"),
        (now + 5 * HOUR_MS, now + 6 * HOUR_MS, -1, InvalidBudget, "budget", "-1"),
    ):
        with pytest.raises(BudgetError, match=said) as caught:
            manage.add_flight(one, "anna", starts, ends, budget, False)
        assert isinstance(caught.value, kind) and caught.value.field == field
        assert "\n" not in str(caught.value)
    with pytest.raises(Conflict, match="flight without ends"):
        manage.update_campaign(one, "anna", lifetime_budget_micros=5)
    manage.update_campaign(other, "anna", daily_budget_micros=5)
    assert (ready.catalog.campaign(one).version, len(ready.catalog.flights.of([one])[one])) == (version, 1)
    running = manage.add_flight(other, "anna", None, now + HOUR_MS, 7, False).row.flights[0].no
    with pytest.raises(InvalidFlight, match="its start is past"):
        manage.change_flight(other, running, "anna", starts_ms=now + MINUTE_MS)
    with pytest.raises(InvalidFlight, match="end it instead"):
        manage.remove_flight(other, running, "anna")
    manage.change_flight(other, running, "anna", ends_ms=None)
    with pytest.raises(InvalidFlight, match="changes no more"):
        manage.change_flight(other, running, "anna", budget_micros=9)
    assert manage.remove_flight(one, 1, "anna").row.flights == ()
    assert manage.add_flight(one, "anna", None, now + HOUR_MS, 7, False).row.flights[0].no == 2, (
        "numbers are not reused"
    )
    told = rows(
        ready,
        "SELECT old IS NULL, new IS NULL FROM catalog_change WHERE field = 'flight' AND entity_id = :c ORDER BY id",
        c=one,
    )
    assert told == [(True, False), (False, True), (True, False)]


def test_a_campaign_that_the_catalog_lost_comes_back_with_its_flights(clock: System) -> None:
    _, one = two_flights(clock, carries=True)
    planned = clock.catalog.campaign(one).flights
    with clock.db.begin() as conn:
        conn.execute(text("DELETE FROM status_change"))
        conn.execute(text("DELETE FROM flight"))
        conn.execute(text("DELETE FROM campaign WHERE id = :c"), {"c": one})
        conn.execute(text("UPDATE brand SET next_ordinal = 1"))
    clock.restored.take_back()
    assert clock.catalog.campaign(one).flights == planned


@pytest.mark.parametrize("wiped", [False, True])
def test_a_rebuild_in_the_middle_of_a_day_keeps_its_part_of_a_flight(clock: System, wiped: bool) -> None:
    at(clock, NOON)
    brand_id, (one,) = brand_with_campaigns(clock)
    clock.persister.drain_all()
    begins = NOON - 12 * HOUR_MS
    assert clock.manage.add_flight(one, "anna", begins, begins + 4 * DAY_MS, 8_000_000, False, "even").published
    assert clock.client.try_spend(one, "1.5")
    at(clock, NOON + DAY_MS)
    assert clock.client.try_spend(one, "2.2").reasons == ("campaign_daily_budget",)
    assert clock.client.try_spend(one, "1")
    persisted(clock)
    if wiped:
        clock.hot_redis.flushdb()
        at(clock, NOON + DAY_MS)
    clock.rebuilder.rebuild(range(64) if wiped else [shard_of(brand_id)])
    assert clock.client.try_spend(one, "1.17").reasons == ("campaign_daily_budget",)
    assert clock.client.try_spend(one, "1.16")
    persisted(clock)
    assert not found(clock)
