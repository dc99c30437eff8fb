"""A brand that a person paused is refused on every path, what is spent is counted, and its campaigns keep their own switches."""

from __future__ import annotations

from typing import Final

import pytest

from engine.client.sync import BudgetClient
from engine.domain.budget import OwnLimits
from engine.domain.money import MICROS
from engine.domain.periods import next_month_ms
from engine.domain.schedule import Schedule
from engine.live.admin import BrandPlan, CampaignPlan
from tests.live.plant import BRAND, CAMPAIGN, Plant
from tests.live.test_one_more_budget import NOW, OTHER, WAYS, call

OF: Final = b"%d:" % CAMPAIGN


def put(plant: Plant, version: int, *, paused: bool, archived: bool = False) -> None:
    plan = BrandPlan(BRAND, version, 10 * MICROS, 100 * MICROS, archived, False, paused=paused)
    brought = plant.live.bring(plant.instance, plan, [])
    assert brought is not None and not brought.ahead


@pytest.fixture(params=("plain", "with own limits"))
def now(plant: Plant, clock: None, request: pytest.FixtureRequest) -> int:
    """A brand with two campaigns, at an instant that stands still, in a shard of each layout."""
    at = next_month_ms(plant.live.now_ms()) + 12 * 3_600_000
    plant.at(at)
    NOW[0] = at
    plant.brand(daily="10", monthly="100")
    plant.campaign(OTHER)
    if request.param != "plain":
        plan = CampaignPlan(CAMPAIGN, 2, True, False, Schedule(), False, OwnLimits(5 * MICROS, None, None))
        assert plant.live.publish(plant.instance, BrandPlan(BRAND, 0, None, None, False, False), [plan])
    return at


@pytest.mark.parametrize("way", WAYS)
def test_a_paused_brand_refuses_every_spend_counts_every_fact_and_runs_again_when_resumed(
    plant: Plant, now: int, way: str
) -> None:
    put(plant, 2, paused=True)
    refused = call(plant, "try_spends", *WAYS[way](100))
    assert b"x4096" in refused[1] and b"k" not in refused[1]
    assert refused[3] == OF + b"4096"
    assert plant.spent() == 0
    counted = call(plant, "record_spends", *WAYS[way](100))
    assert b"x" not in counted[1] and counted[3] == OF + b"4096"
    spent = plant.spent()
    assert spent >= 100
    put(plant, 3, paused=False)
    assert b"x" not in call(plant, "try_spends", *WAYS[way](100))[1]
    assert plant.spent() == 2 * spent


def test_a_brand_may_be_archived_and_paused_and_each_ends_by_itself(plant: Plant, now: int) -> None:
    for version, paused, archived, mask in ((2, True, True, 4098), (3, True, False, 4096), (4, False, True, 2)):
        put(plant, version, paused=paused, archived=archived)
        assert call(plant, "try_spends", *WAYS["alone"](1))[1] == b"x%d*1" % mask
    put(plant, 5, paused=False)
    assert b"x" not in call(plant, "try_spends", *WAYS["alone"](1))[1]


def test_a_hold_that_was_open_is_settled_and_no_new_one_is_given_while_the_brand_is_paused(
    plant: Plant, client: BudgetClient, now: int
) -> None:
    assert client.reserve(CAMPAIGN, "2", 60, "bid-1").outcome == "accepted"
    put(plant, 2, paused=True)
    refused = client.reserve(CAMPAIGN, "1", 60, "bid-2")
    assert (refused.outcome, refused.reasons) == ("refused", ("brand_paused",))
    assert client.settle(f"{CAMPAIGN}:bid-1", "1.5").outcome == "settled"
    assert plant.spent() == 1_500_000


def test_another_plan_of_the_same_version_that_only_differs_in_the_pause_is_told(plant: Plant, now: int) -> None:
    put(plant, 2, paused=True)
    brought = plant.live.bring(plant.instance, BrandPlan(BRAND, 2, 10 * MICROS, 100 * MICROS, False, False), [])
    assert brought is not None and brought.ahead == {BRAND: 2}
