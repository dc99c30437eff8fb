"""A flight that is spread evenly has a part for each day: what was left when the day began, by the day's share of the time left."""

from __future__ import annotations

import pytest

from engine.domain.budget import OwnLimits
from engine.domain.flights import PlannedFlight, part_of_day
from engine.domain.limit_changes import Step
from engine.domain.money import MAX_TOTAL_MICROS
from engine.domain.periods import DAY_MS, HOUR_MS, next_month_ms
from engine.domain.schedule import Schedule
from engine.live.admin import BrandPlan, CampaignPlan
from tests.live.plant import BRAND, CAMPAIGN, Plant
from tests.live.test_flights import HASH, fly
from tests.live.test_one_more_budget import NOW, WAYS, call

DAILY, FLIGHT = 32, 128


@pytest.fixture
def midnight(plant: Plant, clock: None) -> int:
    """A brand with a campaign, at a midnight that stands still."""
    at = next_month_ms(plant.live.now_ms())
    moves(plant, at)
    plant.brand(daily="1000000", monthly="10000000")
    return at


def moves(plant: Plant, at: int) -> None:
    plant.at(at)
    NOW[0] = at


def asks(plant: Plant, way: str, micros: int) -> bytes:
    """What a try of an amount is told at last: `k`, or `x` and the mask of its causes."""
    reply = call(plant, "try_spends", *WAYS[way](micros))
    return reply[1].split(b",")[-1].split(b"*")[0]  # type: ignore[no-any-return]


def even(no: int, starts: int, ends: int, limit: int, counter: int | None = None) -> PlannedFlight:
    return PlannedFlight(no, no if counter is None else counter, starts, ends, limit, True)


@pytest.mark.parametrize("way", ["alone", "alone with an event id"])
def test_each_day_has_its_share_of_what_is_left_and_the_last_all_of_it(plant: Plant, midnight: int, way: str) -> None:
    fly(plant, 2, even(1, midnight, midnight + 4 * DAY_MS, 1000))
    assert asks(plant, way, 251) == b"x%d" % DAILY
    assert asks(plant, way, 250) == b"k"
    assert asks(plant, way, 1) == b"x%d" % DAILY
    moves(plant, midnight + DAY_MS - 1)
    assert asks(plant, way, 1) == b"x%d" % DAILY
    moves(plant, midnight + DAY_MS)
    assert asks(plant, way, 100) == b"k"
    assert asks(plant, way, 150) == b"x%d" % DAILY, "a third of 750, rounded down"
    assert asks(plant, way, 149) == b"k", "the part stays what it was in the morning"
    moves(plant, midnight + 2 * DAY_MS)
    assert asks(plant, way, 251) == b"x%d" % DAILY, "501 are left, and two days"
    assert asks(plant, way, 250) == b"k"
    moves(plant, midnight + 3 * DAY_MS)
    assert asks(plant, way, 252) == b"x%d" % (DAILY + FLIGHT)
    assert asks(plant, way, 251) == b"k"
    moves(plant, midnight + 4 * DAY_MS)
    assert asks(plant, way, 1) == b"x256"


@pytest.mark.parametrize("way", WAYS)
def test_on_every_path_no_more_is_spent_in_a_day_than_its_part(plant: Plant, midnight: int, way: str) -> None:
    fly(plant, 2, even(1, midnight, midnight + 4 * DAY_MS, 1000))
    for day, part in enumerate((250, 250, 250, 250)):
        moves(plant, midnight + day * DAY_MS)
        for _ in range(12):
            asks(plant, way, 30)
        spent = int(plant.plain.hget(HASH, f"d:{(midnight + day * DAY_MS) // DAY_MS}"))  # type: ignore[arg-type]
        # What is left of a day's part goes into the days after it.
        assert part - 30 < spent <= 250 + 30 * day, (day, spent)
        assert spent <= 1000 // (4 - day)
    assert int(plant.plain.hget(HASH, "f:1")) <= 1000  # type: ignore[arg-type]


def test_the_first_day_counts_from_the_flight_s_begin_and_facts_pass_the_part(plant: Plant, midnight: int) -> None:
    fly(plant, 2, even(1, midnight + 12 * HOUR_MS, midnight + 2 * DAY_MS, 900))
    assert call(plant, "record_spends", *WAYS["alone"](70))[1].startswith(b"k"), "outside of it"
    moves(plant, midnight + 12 * HOUR_MS)
    assert asks(plant, "alone", 300) == b"x%d" % DAILY, "a third, rounded down to a ten-millionth"
    assert asks(plant, "alone", 299) == b"k"
    assert call(plant, "record_spends", *WAYS["alone"](100))[1].startswith(b"k")
    moves(plant, midnight + DAY_MS)
    left = 900 - 299 - 100
    assert asks(plant, "alone", left + 1) == b"x%d" % (DAILY + FLIGHT)
    assert asks(plant, "alone", left) == b"k"


def test_a_flight_that_goes_on_has_parts_of_what_the_one_before_left_and_an_own_budget_still_bounds_it(
    plant: Plant, midnight: int
) -> None:
    before = PlannedFlight(1, 1, midnight, midnight + DAY_MS, 500)
    chain = (before, even(2, midnight + DAY_MS, midnight + 3 * DAY_MS, 1500, 1))
    fly(plant, 2, *chain)
    assert asks(plant, "alone", 300) == b"k"
    moves(plant, midnight + DAY_MS)
    assert asks(plant, "alone", 601) == b"x%d" % DAILY
    fly(plant, 3, *chain, limits=OwnLimits(daily=50))
    assert asks(plant, "alone", 51) == b"x%d" % DAILY
    fly(plant, 4, *chain)
    assert asks(plant, "alone", 600) == b"k"


def test_what_is_on_hold_takes_of_the_part(plant: Plant, midnight: int) -> None:
    fly(plant, 2, even(1, midnight, midnight + 2 * DAY_MS, 200))
    assert call(plant, "holds", f"R,{CAMPAIGN},bid-1,101,60000;")[1] == b"x%d" % DAILY
    assert call(plant, "holds", f"R,{CAMPAIGN},bid-2,60,60000;")[1] == b"a"
    assert asks(plant, "alone", 41) == b"x%d" % DAILY
    assert asks(plant, "alone", 40) == b"k"


def test_a_used_up_part_is_told_once_and_a_publish_frees_it_only_where_it_is_larger(
    plant: Plant, midnight: int
) -> None:
    flight = even(1, midnight, midnight + 2 * DAY_MS, 200)
    fly(plant, 2, flight)
    assert asks(plant, "alone", 100) == b"k"
    told = plant.entries()[-1].changes
    assert [(change.campaign_id, change.cause, change.direction) for change in told] == [
        (CAMPAIGN, "campaign_daily_budget", "exhausted")
    ]
    entries = len(plant.entries())
    fly(plant, 3, flight)
    fly(plant, 4, flight, limits=OwnLimits(monthly=5000))
    assert len(plant.entries()) == entries, "nothing turned"
    fly(plant, 5, flight._replace(limit=300))
    assert len(plant.entries()) == entries + 1
    assert asks(plant, "alone", 50) == b"k"


@pytest.mark.parametrize("limit", [1, 999, 10_000_000, 8_999_999_999_999_999])
@pytest.mark.parametrize("days", [1, 7, 365, 365_000])
def test_a_part_is_exact_at_any_size(plant: Plant, midnight: int, limit: int, days: int) -> None:
    flight = even(1, midnight, midnight + days * DAY_MS, limit)
    part = part_of_day(flight, 0, 0, midnight)
    assert 0 <= limit // days - part <= limit // 10_000_000 + 1 < MAX_TOTAL_MICROS
    fly(plant, 2, flight)
    near = max(part - 1, 0)
    for field in (f"d:{midnight // DAY_MS}", "f:1"):
        plant.plain.hset(HASH, field, str(near))
    assert asks(plant, "alone", 2)[:1] == b"x"
    assert asks(plant, "alone", 1)[:1] == (b"k" if part else b"x")


def test_a_publish_after_a_step_frees_no_part_of_a_day(plant: Plant, midnight: int) -> None:
    flight, step = even(1, midnight, midnight + 2 * DAY_MS, 200), Step(midnight + HOUR_MS, 1000, None)

    def bring(version: int, *flights: PlannedFlight) -> None:
        plan = CampaignPlan(
            CAMPAIGN, version, True, False, Schedule(), False, OwnLimits(), None, flights, steps=(step,)
        )
        brought = plant.live.bring(plant.instance, BrandPlan(BRAND, 0, None, None, False, False), [plan])
        assert brought is not None
        assert CAMPAIGN not in brought.ahead

    bring(2, flight)
    moves(plant, midnight + 2 * HOUR_MS)
    assert asks(plant, "alone", 100) == b"k"
    entries = len(plant.entries())
    bring(3, flight, even(2, flight.ends_ms, flight.ends_ms + DAY_MS, 50))
    assert len(plant.entries()) == entries, "the day's part is used up before and after"
    assert asks(plant, "alone", 1) == b"x%d" % DAILY
