"""Flights begin and end on the millisecond on every path, each with its own money, and whoever has none sees no difference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from engine.client.sync import BudgetClient
from engine.domain.budget import NO_LIMITS, OwnLimits
from engine.domain.flights import LAST_MS, PlannedFlight
from engine.domain.money import MAX_TOTAL_MICROS
from engine.domain.periods import DAY_MS, at_ms, next_month_ms
from engine.domain.schedule import Schedule
from engine.live.admin import BrandPlan, CampaignPlan
from engine.live.keys import keys_of_brand
from engine.live.packed import pack
from engine.live.scripts import LAYOUT, script
from engine.live.transport.pool import Call
from tests.live.plant import BRAND, CAMPAIGN, Plant
from tests.live.test_one_more_budget import NOW, OTHER, WAYS, alone, batch, call, packed

KEYS: Final = keys_of_brand(BRAND)
HASH: Final = KEYS.campaign(CAMPAIGN)


def fly(plant: Plant, version: int, *flights: PlannedFlight, limits: OwnLimits = NO_LIMITS) -> None:
    """Publishes flights of the first campaign."""
    plan = CampaignPlan(CAMPAIGN, version, True, False, Schedule(), False, limits, None, flights)
    brought = plant.live.bring(plant.instance, BrandPlan(BRAND, 0, None, None, False, False), [plan])
    assert brought is not None and not brought.uncounted


def counted(plant: Plant, *counters: int) -> list[int | None]:
    found: list[Any] = plant.plain.hmget(HASH, *(f"f:{counter}" for counter in counters))
    return [None if value is None else int(value) for value in found]


@pytest.fixture
def now(plant: Plant, clock: None) -> int:
    """A brand with two campaigns, at an instant that stands still, far from a day's end."""
    at = next_month_ms(plant.live.now_ms()) + 12 * 3_600_000
    plant.at(at)
    NOW[0] = at
    plant.brand(daily="10", monthly="100")
    plant.campaign(OTHER)
    return at


@pytest.mark.parametrize("way", WAYS)
def test_a_flight_is_spent_from_its_first_to_its_last_millisecond_and_not_around_it(
    plant: Plant, now: int, way: str
) -> None:
    fly(plant, 2, PlannedFlight(1, 1, now + 10, now + 20, 1000), PlannedFlight(2, 2, now + 30, now + 40, 1000))
    for ms, runs, start in (
        (9, False, 10),
        (10, True, 0),
        (19, True, 0),
        (20, False, 30),
        (29, False, 30),
        (30, True, 0),
    ):
        plant.at(now + ms)
        reply = call(plant, "try_spends", *WAYS[way](5))
        assert (b"x256" in reply[1]) is not runs, ms
        assert not runs or plant.entries()[-1].flights == {CAMPAIGN: 1 if ms < 20 else 2}
        assert reply[3] == b"%d:%d" % (CAMPAIGN, 0 if runs else 256)
        assert reply[4:] == ([] if runs else [b"%d:%d" % (CAMPAIGN, now + start)]), ms
        if not runs:  # a call that refuses nothing has it too
            assert call(plant, "record_spends", *WAYS[way](5))[4:] == reply[4:], ms
    plant.at(now + 40)
    reply = call(plant, "try_spends", *WAYS[way](5))
    # A third flight is in no plan, so it does not begin, and nobody knows when.
    assert b"x256" in reply[1] and len(reply) == 4
    spent = 5 if "alone" in way else 6
    assert counted(plant, 1, 2) == [2 * spent, spent]
    assert b"x" not in call(plant, "try_spends", "of-another", f"{OTHER},5000,,;")[1]


@pytest.mark.parametrize("way", WAYS)
def test_a_flight_s_budget_refuses_what_it_has_no_room_for_and_the_next_begins_whole(
    plant: Plant, now: int, way: str
) -> None:
    fly(plant, 2, PlannedFlight(1, 1, now, now + 20, 100), PlannedFlight(2, 2, now + 20, now + 40, 100))
    assert call(plant, "try_spends", *WAYS[way](101))[1].endswith(b"x128*1")
    taken = 0 if "alone" in way else 1
    reply = call(plant, "try_spends", *WAYS[way](100 - 2 * taken))
    assert (b"x" in reply[1], reply[3]) == (False, b"%d:128" % CAMPAIGN)
    assert b"x128" in call(plant, "try_spends", *WAYS[way](1))[1]
    told = [(c.campaign_id, c.cause, c.direction) for entry in plant.entries() for c in entry.changes]
    assert told == [(CAMPAIGN, "flight_budget", "exhausted")]
    plant.at(now + 20)
    assert b"x" not in call(plant, "try_spends", *WAYS[way](99))[1]
    assert counted(plant, 1, 2) == [100, 99 + taken]


@pytest.mark.parametrize("way", WAYS)
def test_facts_pass_a_flight_s_budget_and_count_to_the_flight_they_fall_into(plant: Plant, now: int, way: str) -> None:
    fly(plant, 2, PlannedFlight(1, 1, now + 10, now + 20, 10), PlannedFlight(2, 2, now + 20, now + 30, 10))
    more = 0 if "alone" in way else 1
    for ms, mask, flight in ((0, 256, None), (10, 128, 1), (20, 128, 2), (30, 256, None)):
        plant.at(now + ms)
        reply = call(plant, "record_spends", *WAYS[way](50))
        assert (b"x" in reply[1], reply[3]) == (False, b"%d:%d" % (CAMPAIGN, mask))
        assert plant.entries()[-1].flights == (None if flight is None else {CAMPAIGN: flight})
    assert counted(plant, 1, 2, 0) == [50 + more, 50 + more, None]
    assert plant.spent() == 4 * (50 + more)


def test_what_a_flight_left_goes_on_into_the_next_where_it_is_so_set(
    plant: Plant, client: BudgetClient, now: int
) -> None:
    fly(plant, 2, PlannedFlight(1, 1, now, now + 20, 100), PlannedFlight(2, 1, now + 20, now + 40, 150))
    assert client.try_spend(CAMPAIGN, amount_micros=101).reasons == ("flight_budget",)
    assert client.try_spend(CAMPAIGN, amount_micros=70)
    plant.at(now + 20)
    # 30 of 100 are left, and 50 are its own.
    assert client.try_spend(CAMPAIGN, amount_micros=81).reasons == ("flight_budget",)
    assert client.try_spend(CAMPAIGN, amount_micros=80)
    assert counted(plant, 1, 2) == [150, None]


def test_holds_and_leases_are_bounded_by_the_flight_in_force_and_settle_into_it(plant: Plant, now: int) -> None:
    fly(plant, 2, PlannedFlight(1, 1, now, now + 20, 100), PlannedFlight(2, 2, now + 20, now + 90_000, 100))
    assert call(plant, "holds", f"R,{CAMPAIGN},bid-1,101,60000;R,{CAMPAIGN},bid-2,60,60000;")[1] == b"x128,a"
    assert call(plant, "try_spends", *alone(41))[1] == b"x128*1"
    assert call(plant, "lease", str(CAMPAIGN), "lease-1", "500", "60000", "1")[4] == b"40"
    plant.at(now + 20)
    # What is on hold may be settled in this flight, so it is kept free of it.
    assert call(plant, "try_spends", *alone(1))[1] == b"x128*1"
    call(plant, "holds", f"S,{CAMPAIGN},bid-2,55,;")
    drawn = call(plant, "draw_spends", "draw-1", *pack([CAMPAIGN], [CAMPAIGN], [30]), "lease-1", "")
    assert drawn[1] == b"k*1"
    assert [entry.flights for entry in plant.entries()[-2:]] == [{CAMPAIGN: 2}, {CAMPAIGN: 2}]
    assert counted(plant, 1, 2) == [0, 85]
    plant.at(now + 90_000)
    late = call(plant, "holds", f"R,{CAMPAIGN},bid-3,1,60000;L,{CAMPAIGN},bid-9,,;")
    assert late[1] == b"x256,n"
    assert call(plant, "lease", str(CAMPAIGN), "lease-2", "5", "60000", "1")[1] == b"x256"


@pytest.mark.parametrize("way", [alone, batch, packed])
def test_a_refund_goes_to_the_flight_of_its_spend_whatever_flight_it_comes_in(
    plant: Plant, now: int, way: Callable[[int, str], tuple[str | bytes, ...]]
) -> None:
    fly(plant, 2, PlannedFlight(1, 1, now, now + 20, 100), PlannedFlight(2, 2, now + 20, now + 40, 100))
    assert b"x" not in call(plant, "record_spends", *way(60, "the-win"))[1]
    before = counted(plant, 1)[0] or 0
    plant.at(now + 20)
    assert call(plant, "record_spends", *alone(100))[3] == b"%d:128" % CAMPAIGN
    keys = (*KEYS.fixed, KEYS.brand(BRAND), KEYS.campaign(CAMPAIGN))
    given = plant.live.call_all([Call(script("refund"), keys, (LAYOUT, str(CAMPAIGN), "the-win", "60", "", ""))])[0]
    # The flight in force is as used up as before.
    assert (given[1], given[3]) == (b"k", b"%d:128" % CAMPAIGN)
    assert counted(plant, 1, 2) == [before - 60, 100]
    assert plant.entries()[-1].flights == {CAMPAIGN: 1}


def test_a_refund_in_its_own_flight_frees_it_and_no_flight_s_counter_goes_below_0(
    plant: Plant, client: BudgetClient, now: int
) -> None:
    fly(plant, 2, PlannedFlight(1, 1, now, now + 20, 100), PlannedFlight(2, 2, now + 20, now + 40, 100))
    client.record_spend(CAMPAIGN, amount_micros=100, event_id="one")
    assert client.status(CAMPAIGN).reasons == ("flight_budget",)
    assert client.refund(CAMPAIGN, event_id="one", amount_micros=30, refund_id="a").outcome == "refunded"
    assert client.status(CAMPAIGN).reasons == ()
    plant.at(now + 25)
    plant.plain.hset(HASH, "f:1", "5")
    refused = client.refund(CAMPAIGN, event_id="one", amount_micros=30, refund_id="b")
    assert refused.outcome == "refused" and "own budgets" in refused.detail


def test_retry_at_is_the_first_millisecond_at_which_a_refused_spend_passes(
    plant: Plant, client: BudgetClient, now: int
) -> None:
    fly(plant, 2, PlannedFlight(1, 1, now + 12_345, now + 20_000, 100))
    refused = client.try_spend(CAMPAIGN, amount_micros=1)
    assert (refused.reasons, refused.retry_at) == (("flight",), at_ms(now + 12_345))
    assert client.try_spends([(CAMPAIGN, "0.000001")] * 3)[1].retry_at == at_ms(now + 12_345)  # type: ignore[list-item]
    plant.at(now + 12_344)
    assert client.try_spend(CAMPAIGN, amount_micros=1).outcome == "refused"
    plant.at(now + 12_345)
    passed = client.try_spend(CAMPAIGN, amount_micros=1)
    assert (passed.outcome, passed.retry_at) == ("accepted", None)
    plant.at(now + 20_000)
    assert client.try_spend(CAMPAIGN, amount_micros=1).retry_at is None
    assert client.try_spend(OTHER, amount_micros=1).retry_at is None


def test_a_flight_that_is_moved_while_it_runs_keeps_what_it_spent(plant: Plant, client: BudgetClient, now: int) -> None:
    fly(plant, 2, PlannedFlight(1, 1, now, now + 20, 100))
    assert client.try_spend(CAMPAIGN, amount_micros=60)
    fly(plant, 3, PlannedFlight(1, 1, now, now + 50, 70))
    plant.at(now + 30)
    assert client.try_spend(CAMPAIGN, amount_micros=11).reasons == ("flight_budget",)
    assert client.try_spend(CAMPAIGN, amount_micros=10)
    fly(plant, 4, PlannedFlight(1, 1, now, now + 30, 70))
    assert client.try_spend(CAMPAIGN, amount_micros=1).reasons == ("flight",)
    fly(plant, 5)
    assert client.try_spend(CAMPAIGN, amount_micros=1).outcome == "accepted"
    assert counted(plant, 1) == [70]


def test_flights_take_the_place_of_a_lifetime_budget_and_give_it_back(
    plant: Plant, client: BudgetClient, now: int
) -> None:
    plan = CampaignPlan(OTHER + 1, 1, True, False, Schedule(), True, OwnLimits(None, None, 100))
    of_brand = BrandPlan(BRAND, 0, None, None, False, False)
    plant.live.bring(plant.instance, of_brand, [plan])
    flight = PlannedFlight(1, 1, now, now + 20, 100)
    both = CampaignPlan(OTHER + 1, 2, True, False, Schedule(), False, OwnLimits(None, None, 100), None, (flight,))
    with pytest.raises(Exception, match="limits of campaign"):
        plant.live.bring(plant.instance, of_brand, [both])
    alone_ = CampaignPlan(OTHER + 1, 2, True, False, Schedule(), False, NO_LIMITS, None, (flight,))
    plant.live.bring(plant.instance, of_brand, [alone_])
    assert plant.plain.hmget(KEYS.campaign(OTHER + 1), "f:0", "f:1") == [None, b"0"]


@pytest.mark.parametrize(
    ("field", "value"), [("f:1", None), ("f1", "1,1,5"), ("f1", "x"), ("f:1", "0x10"), ("f1", "1,1,0x1,9,9")]
)
def test_a_flight_or_its_counter_that_is_malformed_takes_the_shard_out_of_use(
    plant: Plant, client: BudgetClient, now: int, field: str, value: str | None
) -> None:
    fly(plant, 2, PlannedFlight(1, 1, now, now + 20, 100))
    if value is None:
        plant.plain.hdel(HASH, field)
    else:
        plant.plain.hset(HASH, field, value)
    assert client.try_spend(CAMPAIGN, amount_micros=1).detail == "lost"


def test_flights_that_overlap_or_end_before_they_begin_are_published_nowhere(plant: Plant, now: int) -> None:
    for flights in (
        (PlannedFlight(1, 1, now + 20, now + 10, 100),),
        (PlannedFlight(1, 1, now, now + 20, 100), PlannedFlight(2, 2, now + 19, now + 30, 100)),
    ):
        with pytest.raises(Exception, match="limits of campaign"):
            fly(plant, 2, *flights)
    assert plant.plain.hmget(HASH, "v", "x", "f1") == [b"1", None, None]


def test_the_fields_of_flights_stay_small_and_nothing_of_them_is_there_without(plant: Plant, now: int) -> None:
    assert plant.plain.hmget(HASH, "x", "f1", "f2") == [None] * 3
    assert plant.plain.hget(KEYS.shard, "layout") == b"1"
    widest = PlannedFlight(65535, 65535, LAST_MS - 1, LAST_MS, MAX_TOTAL_MICROS)
    fly(plant, 2, widest)
    assert plant.plain.hget(KEYS.shard, "layout") == b"2"
    fields: dict[bytes, bytes] = plant.plain.hgetall(HASH)
    assert fields[b"f1"] == widest.compiled.encode() and all(len(value) <= 64 for value in fields.values())


def test_daily_and_monthly_limits_hold_beside_flights(plant: Plant, client: BudgetClient, now: int) -> None:
    fly(plant, 2, PlannedFlight(1, 1, now, now + 3 * DAY_MS, 100), limits=OwnLimits(40, None, None))
    assert client.try_spend(CAMPAIGN, amount_micros=40)
    assert client.try_spend(CAMPAIGN, amount_micros=1).reasons == ("campaign_daily_budget",)
    plant.at(now + DAY_MS)
    assert client.try_spend(CAMPAIGN, amount_micros=40)
    plant.at(now + 2 * DAY_MS)
    assert client.try_spend(CAMPAIGN, amount_micros=30).reasons == ("flight_budget",)
    assert client.status(CAMPAIGN).reasons == ()
