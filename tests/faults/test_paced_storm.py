"""Eight processes race for a paced budget while its day passes: nothing over the limit, and never more than one amount over the curve."""

from __future__ import annotations

from functools import partial

import pytest

from engine.domain.money import format_micros
from engine.domain.pacing import Pacing, compiled
from engine.domain.periods import MINUTE_MS, next_month_ms
from engine.live.admin import BrandPlan
from engine.live.keys import keys_of_brand
from tests.faults.crowd import CROWD_S, PROCESSES, Crowd, paced, rated
from tests.live.plant import BRAND, MOVABLE_CLOCK, Plant
from tests.model import pacing as model
from tests.processes.conftest import until

DAILY = 100_000_000
PARTS = compiled(Pacing("even", "asap"))


def tries_of(plant: Plant) -> int:
    """How many tries the shard has answered."""
    fields = plant.plain.hgetall(keys_of_brand(BRAND).shard)
    return sum(int(value) for name, value in fields.items() if name.startswith(b"count:"))


def has_tried(plant: Plant, wanted: int) -> bool:
    return tries_of(plant) >= wanted


def test_v14_a_storm_on_a_paced_budget_is_never_more_than_one_amount_over_its_curve(
    plant: Plant, clock: None, hot_url: str
) -> None:
    midnight = next_month_ms(plant.live.now_ms())
    plant.at(midnight)
    plant.brand(daily="100")
    plant.campaign(BRAND * 65536 + 2)
    assert plant.live.publish(plant.instance, BrandPlan(BRAND, 2, DAILY, None, False, False, PARTS), [])
    crowd = Crowd(paced, hot_url, MOVABLE_CLOCK)
    crowd.barrier.wait(CROWD_S)
    # The day in steps of eleven minutes and some, as fast as it goes, and past its end.
    for step in range(131):
        plant.at(midnight + step * (11 * MINUTE_MS + 77))
        wanted = tries_of(plant) + 24
        until(partial(has_tried, plant, wanted))
    crowd.over.value = 0
    told = crowd.told()
    crowd.end()
    spent = before = 0
    for entry in plant.entries():
        for spend in entry.spends():
            # The law of each entry, at its own instant.
            assert spent < model.allowed(PARTS, DAILY, entry.ms), (format_micros(spent), entry.ms)
            spent += spend.amount_micros
            before += 1
    assert before == sum(accepted for accepted, _ in told) and sum(tries for _, tries in told) > before
    assert DAILY - 700_000 < spent <= DAILY and plant.spent() == spent


@pytest.mark.long
def test_eight_bidders_that_obey_the_rate_spend_along_the_plan_and_are_refused_little(
    plant: Plant, clock: None, hot_url: str
) -> None:
    begins, minutes, ticks, offers = next_month_ms(plant.live.now_ms()) + 12 * 60 * MINUTE_MS, 20, 10, 3
    # Five times what the plan has: without a rate four of five tries would be refused.
    plan = model.allowed(PARTS, DAILY, begins + MINUTE_MS) - model.allowed(PARTS, DAILY, begins)
    price = 5 * plan // (ticks * offers * PROCESSES)
    plant.at(begins)
    plant.brand(daily="100")
    assert plant.live.publish(plant.instance, BrandPlan(BRAND, 2, DAILY, None, False, False, PARTS), [])
    plant.plain.hset(plant.key(), f"d:{begins // 86_400_000}", model.allowed(PARTS, DAILY, begins))
    crowd = Crowd(rated, hot_url, MOVABLE_CLOCK, minutes * ticks, offers, price)
    for tick in range(minutes * ticks):
        plant.at(begins + tick * MINUTE_MS // ticks + MINUTE_MS // ticks // 2)
        crowd.barrier.wait(CROWD_S)
        crowd.barrier.wait(CROWD_S)
    told = crowd.told()
    crowd.end()
    accepted, tried = sum(one for one, _ in told), sum(tries for _, tries in told)
    due = model.allowed(PARTS, DAILY, begins + minutes * MINUTE_MS)
    assert due - 2 * plan < plant.spent() <= due + price
    assert tried < minutes * ticks * offers * PROCESSES // 2
    assert accepted > tried * 6 // 10, (accepted, tried)
