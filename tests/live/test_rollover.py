"""What a brand's day left is in the next day's limit on every path, from the first millisecond of that day on, with every job dead."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from engine.client.spends import Spend
from engine.client.sync import BudgetClient
from engine.domain.ids import shard_of
from engine.domain.limit_changes import Step
from engine.domain.pacing import Pacing, compiled
from engine.domain.periods import DAY_MS, HOUR_MS, day_of, next_month_ms
from engine.domain.rollover import Told
from engine.domain.zones import BrandZone, zone_text
from engine.live.admin import BrandPlan
from engine.live.keys import keys_of_brand
from engine.live.plans import LiveCarry
from engine.live.registry import stamps
from tests.live.plant import BRAND, CAMPAIGN, Plant
from tests.live.test_one_more_budget import NOW, OTHER, WAYS, call

KEYS: Final = keys_of_brand(BRAND)
UNIT: Final = 1_000_000


@pytest.fixture
def noon(plant: Plant, clock: None) -> int:
    """A brand with two campaigns, 100 units a day and a cap of 50, at noon of a month's first day."""
    at = next_month_ms(plant.live.now_ms()) + DAY_MS // 2
    plant.at(at)
    NOW[0] = at
    plant.brand()
    plant.campaign(OTHER)
    bring(plant, 2)
    return at


def bring(
    plant: Plant,
    version: int,
    *steps: Step,
    cap: int | None = 50 * UNIT,
    daily: int | None = 100 * UNIT,
    monthly: int | None = None,
    zone: str = "",
    pace: tuple[str, ...] = (),
) -> None:
    plan = BrandPlan(BRAND, version, daily, monthly, False, False, pace, zone, steps, rollover_cap=cap)
    brought = plant.live.bring(plant.instance, plan, [])
    assert brought is not None
    assert not brought.ahead


def go(plant: Plant, at: int) -> None:
    plant.at(at)
    NOW[0] = at


def state(plant: Plant) -> tuple[int | None, LiveCarry | None]:
    brand = plant.live.read_brand(BRAND, 0)
    assert brand is not None
    return brand.daily_limit, brand.carry


def told(plant: Plant) -> list[Told]:
    return [carry for entry in plant.entries() for carry in entry.carries]


def midnight(at: int, days: int = 1) -> int:
    return (day_of(at) + days) * DAY_MS


def test_the_first_call_of_a_day_tells_the_journal_what_is_carried_and_later_ones_find_it_written(
    client: BudgetClient, plant: Plant, noon: int
) -> None:
    assert client.try_spend(CAMPAIGN, "77").outcome == "accepted"
    go(plant, midnight(noon) - 1)
    assert state(plant) == (100 * UNIT, LiveCarry(50 * UNIT, 0))
    go(plant, midnight(noon))
    assert state(plant) == (123 * UNIT, LiveCarry(50 * UNIT, 23 * UNIT))
    assert client.try_spend(CAMPAIGN, "123.000001").reasons == ("daily_budget",)
    assert len(told(plant)) == 1, "a refusal writes nothing"
    accepted = client.try_spend(CAMPAIGN, "120")
    assert (accepted.outcome, str(accepted.daily_remaining)) == ("accepted", "3.000000")
    day = day_of(midnight(noon))
    assert told(plant)[1:] == [Told(BRAND, day, 23 * UNIT, 100 * UNIT)]
    assert plant.plain.hget(KEYS.brand(BRAND), "b") == f"50000000,{day},23000000,100000000".encode()
    assert client.try_spend(CAMPAIGN, "3").outcome == "accepted"
    assert client.try_spend(CAMPAIGN, "0.000001").reasons == ("daily_budget",)
    assert len(told(plant)) == 2


@pytest.mark.parametrize("way", WAYS)
def test_each_path_lets_a_day_spend_its_budget_and_its_carry_and_not_a_micro_more(
    way: str, client: BudgetClient, plant: Plant, noon: int
) -> None:
    client.record_spend(CAMPAIGN, "77")
    go(plant, midnight(noon))
    # A batch has a spend of a micro before the other.
    beside = 0 if "alone" in way else 1
    assert call(plant, "try_spends", *WAYS[way](123 * UNIT + 1))[1].endswith(b"x8*1")
    client.record_spend(CAMPAIGN, "100")
    assert call(plant, "try_spends", *WAYS[way](23 * UNIT - 2 * beside + 1))[1].endswith(b"x8*1")
    assert b"x" not in call(plant, "try_spends", *WAYS[way](23 * UNIT - 3 * beside))[1]
    assert plant.spent() == 123 * UNIT
    assert call(plant, "try_spends", *WAYS[way](1))[1].endswith(b"x8*%d" % (1 + beside))


def test_days_without_a_call_carry_up_to_the_cap_and_a_month_begins_with_nothing(
    client: BudgetClient, plant: Plant, noon: int
) -> None:
    bring(plant, 3, cap=250 * UNIT)
    client.record_spend(CAMPAIGN, "100")
    carried = []
    for days in range(1, 5):
        go(plant, midnight(noon, days))
        _, carry = state(plant)
        carried.append(carry and carry.carried // UNIT)
    assert carried == [0, 100, 200, 250]
    go(plant, next_month_ms(noon) - 1)
    assert state(plant) == (350 * UNIT, LiveCarry(250 * UNIT, 250 * UNIT))
    go(plant, next_month_ms(noon))
    assert state(plant) == (100 * UNIT, LiveCarry(250 * UNIT, 0))
    assert client.try_spend(CAMPAIGN, "100.000001").reasons == ("daily_budget",)
    assert client.try_spend(CAMPAIGN, "100").outcome == "accepted"


def test_the_monthly_budget_is_never_passed_by_a_carry(client: BudgetClient, plant: Plant, noon: int) -> None:
    bring(plant, 3, monthly=140 * UNIT)
    client.record_spend(CAMPAIGN, "50")
    go(plant, midnight(noon))
    assert client.try_spend(CAMPAIGN, "90.000001").reasons == ("monthly_budget",)
    assert client.try_spend(CAMPAIGN, "90").outcome == "accepted"


def test_another_cap_or_budget_takes_effect_at_once_and_what_yesterday_left_stays_as_it_was(
    client: BudgetClient, plant: Plant, noon: int
) -> None:
    client.record_spend(CAMPAIGN, "20")
    go(plant, midnight(noon))
    # The budget of yesterday was 100, whenever today another one is published.
    bring(plant, 3, daily=10 * UNIT)
    assert state(plant) == (60 * UNIT, LiveCarry(50 * UNIT, 50 * UNIT))
    bring(plant, 4, cap=70 * UNIT)
    assert state(plant) == (170 * UNIT, LiveCarry(70 * UNIT, 70 * UNIT))
    bring(plant, 5, cap=5 * UNIT)
    assert state(plant) == (105 * UNIT, LiveCarry(5 * UNIT, 5 * UNIT))
    client.record_spend(CAMPAIGN, "105")
    bring(plant, 6, cap=None)
    assert state(plant) == (100 * UNIT, None)
    assert not plant.plain.hexists(KEYS.brand(BRAND), "b")
    bring(plant, 7)
    assert state(plant) == (100 * UNIT, LiveCarry(50 * UNIT, 0)), "what begins today carries from tomorrow on"
    assert [carry.left // UNIT for carry in told(plant)] == [0, 80, 0]


@pytest.mark.parametrize("way", WAYS)
def test_each_path_tells_the_carry_of_a_day_once(way: str, client: BudgetClient, plant: Plant, noon: int) -> None:
    client.record_spend(CAMPAIGN, "77")
    for later in (midnight(noon), midnight(noon) + 5, midnight(noon, 2)):
        go(plant, later)
        # The first call after so long is no fast path's, because the memory of calls has ended. What is refused renews it and begins no day.
        assert client.try_spend(CAMPAIGN, "1000").outcome == "refused"
        for verb in ("try_spends", "record_spends"):
            call(plant, verb, *WAYS[way](7))
    assert [(carry.day - day_of(noon), carry.before) for carry in told(plant)] == [
        (0, None),
        (1, 100 * UNIT),
        (2, 123 * UNIT),
    ]


def test_a_budget_of_nothing_stops_a_brand_whatever_is_carried(client: BudgetClient, plant: Plant, noon: int) -> None:
    client.record_spend(CAMPAIGN, "77")
    go(plant, midnight(noon))
    client.record_spend(CAMPAIGN, "1")
    bring(plant, 3, daily=0)
    assert state(plant) == (0, LiveCarry(50 * UNIT, 23 * UNIT))
    for way in ("alone", "packed"):
        assert b"x8" in call(plant, "try_spends", *WAYS[way](1))[1]


@pytest.mark.parametrize(("daily", "left"), [(None, None), (0, 0)])
def test_no_daily_budget_and_one_of_nothing_carry_nothing_and_get_nothing(
    daily: int | None, left: int | None, client: BudgetClient, plant: Plant, noon: int
) -> None:
    go(plant, midnight(noon))
    bring(plant, 3, daily=daily)
    assert state(plant)[0] == left
    assert (client.try_spend(CAMPAIGN, "1").outcome == "accepted") is (daily is None)
    go(plant, midnight(noon, 2))
    bring(plant, 4)
    assert state(plant) == (100 * UNIT, LiveCarry(50 * UNIT, 0))


def test_scheduled_changes_and_a_carry_are_exact_together_over_days_without_a_call(
    client: BudgetClient, plant: Plant, noon: int
) -> None:
    at = (midnight(noon, 2) + 3 * HOUR_MS, midnight(noon, 4))
    bring(plant, 3, Step(at[0], 10 * UNIT, None), Step(at[1], 40 * UNIT, None), cap=500 * UNIT)
    client.record_spend(CAMPAIGN, "90")
    limits = []
    for instant in (midnight(noon), at[0] - 1, at[0], midnight(noon, 3), at[1] - 1, at[1], midnight(noon, 5)):
        go(plant, instant)
        limits.append((state(plant)[0] or 0) // UNIT)
    # Left on the days: 10, 110, 10 + 110, 10 + 120, 40 + 130.
    assert limits == [110, 210, 120, 130, 130, 170, 210]


def test_a_paced_day_is_planned_with_its_carry(client: BudgetClient, plant: Plant, noon: int) -> None:
    bring(plant, 3, pace=compiled(Pacing("even", "asap")), cap=20 * UNIT)
    go(plant, midnight(noon) + 12 * HOUR_MS)
    limit, _ = state(plant)
    assert limit == 120 * UNIT
    spent = 0
    while client.try_spend(CAMPAIGN, "1").outcome == "accepted":
        spent += 1
    assert spent == 61, "a little more than half of 120 by noon"


def test_a_brand_with_a_time_zone_has_its_own_days(client: BudgetClient, plant: Plant, noon: int) -> None:
    bring(plant, 3, zone=zone_text("Asia/Kolkata", noon))
    client.record_spend(CAMPAIGN, "77")
    ends = midnight(noon) - int(5.5 * HOUR_MS)
    go(plant, ends - 1)
    assert client.try_spend(CAMPAIGN, "23.000001").reasons == ("daily_budget",)
    go(plant, ends)
    assert client.try_spend(CAMPAIGN, "123.000001").reasons == ("daily_budget",)
    assert client.try_spend(CAMPAIGN, "123").outcome == "accepted"


def test_a_day_that_a_new_zone_goes_over_leaves_no_budget(client: BudgetClient, plant: Plant, noon: int) -> None:
    pago, own = BrandZone.of("Pacific/Pago_Pago"), midnight(noon, 2) + 11 * HOUR_MS
    at = own - 12 * HOUR_MS
    bring(plant, 3, zone=pago.text(noon), cap=500 * UNIT)
    go(plant, at)
    client.record_spend(CAMPAIGN, "77")
    carried_here = state(plant)[1]
    assert carried_here is not None
    bring(plant, 4, zone=pago.changed("Pacific/Kiritimati", at).text(at), cap=500 * UNIT)
    go(plant, own - 1)
    assert state(plant)[0] == 100 * UNIT + carried_here.carried
    go(plant, own)
    here = client.try_spend(CAMPAIGN, "1")
    assert here.figures is not None
    assert here.figures.daily_limit == 100 * UNIT + carried_here.carried + 23 * UNIT
    assert told(plant)[-1].day == day_of(own - 12 * HOUR_MS) + 2
    go(plant, own + 23 * HOUR_MS)
    assert state(plant)[0] == here.figures.daily_limit + 99 * UNIT


def test_a_zone_that_is_published_days_after_a_day_that_never_was_still_knows_that(
    client: BudgetClient, plant: Plant, noon: int
) -> None:
    pago, own = BrandZone.of("Pacific/Pago_Pago"), midnight(noon, 2) + 11 * HOUR_MS
    zones = pago.changed("Pacific/Kiritimati", own - DAY_MS)
    bring(plant, 3, zone=zones.text(own - DAY_MS), cap=500 * UNIT)
    go(plant, own - HOUR_MS)
    client.record_spend(CAMPAIGN, "77")
    carried_here = state(plant)[1]
    assert carried_here is not None
    go(plant, own + 3 * DAY_MS)
    left = carried_here.carried + 23 * UNIT + 3 * 100 * UNIT
    assert state(plant)[0] == 100 * UNIT + left
    assert zones.text(own + 3 * DAY_MS) != zones.text(own - DAY_MS)
    bring(plant, 4, zone=zones.text(own + 3 * DAY_MS), cap=500 * UNIT)
    assert state(plant)[0] == 100 * UNIT + left


def test_what_was_carried_is_not_left_of_yesterday_for_a_late_try(
    client: BudgetClient, plant: Plant, noon: int
) -> None:
    assert stamps(plant.live, plant.instance, [shard_of(BRAND)], grace_minutes=60)
    client.record_spend(CAMPAIGN, "20")
    ends = midnight(noon)
    go(plant, ends)
    assert tries_late(client, ends, 30 * UNIT + 1) is False
    assert tries_late(client, ends, 30 * UNIT) is True
    assert state(plant) == (150 * UNIT, LiveCarry(50 * UNIT, 50 * UNIT))


def tries_late(client: BudgetClient, ends: int, micros: int) -> bool:
    when = datetime.fromtimestamp((ends - 1) / 1000, UTC)
    return client.try_spends([Spend(CAMPAIGN, str(micros / UNIT), occurred_at=when)])[0].outcome == "accepted"


def test_a_counter_that_is_pruned_leaves_its_carry_in_redis_and_in_the_journal(
    client: BudgetClient, plant: Plant, noon: int
) -> None:
    client.record_spend(CAMPAIGN, "90")
    day = day_of(noon)
    go(plant, midnight(noon, 3))
    before = state(plant)
    removed = plant.live.prune(plant.instance, BRAND % 64, [KEYS.brand(BRAND), KEYS.campaign(CAMPAIGN)], [f"d:{day}"])
    assert removed == 2
    assert state(plant) == before == (150 * UNIT, LiveCarry(50 * UNIT, 50 * UNIT))
    assert told(plant)[1:] == [Told(BRAND, day + 3, 150 * UNIT, 150 * UNIT)]
    assert plant.entries()[-1].n == int(plant.plain.hget(KEYS.shard, "n") or 0)


def test_a_malformed_carry_takes_the_shard_out_of_use_and_opens_no_budget(
    client: BudgetClient, plant: Plant, noon: int
) -> None:
    odd: Sequence[Any] = (
        "",
        "1",
        "50,1,2",
        "-5,20000,0,",
        "50000000,20000,1e3,",
        "50000000,20000,0,0x1",
        "9" * 20 + ",1,1,",
    )
    for value in odd:
        plant.plain.hset(KEYS.brand(BRAND), "b", value)
        assert plant.live.read_brand(BRAND, 0) is None, value
