"""Scheduled changes of limits begin and end on the millisecond on every path, with every job dead."""

from __future__ import annotations

import os
import random
import re
from typing import Any, Final

import pytest

from engine.client.sync import BudgetClient
from engine.domain.budget import OwnLimits
from engine.domain.limit_changes import Step
from engine.domain.pacing import Pacing, compiled
from engine.domain.periods import DAY_MS, HOUR_MS, MINUTE_MS, at_ms, ms_of, next_month_ms
from engine.domain.schedule import Schedule
from engine.errors import BudgetError
from engine.live.admin import BrandPlan, CampaignPlan
from engine.live.keys import keys_of_brand
from tests.live.plant import BRAND, CAMPAIGN, Plant
from tests.live.test_one_more_budget import NOW, OTHER, WAYS, call

KEYS: Final = keys_of_brand(BRAND)
UNIT: Final = 1_000_000
CASES: Final = int(os.environ.get("RETRY_CASES", "60"))


@pytest.fixture
def noon(plant: Plant, clock: None) -> int:
    """A brand with two campaigns and 100 units a day, at noon of a month's first day."""
    at = next_month_ms(plant.live.now_ms()) + DAY_MS // 2
    plant.at(at)
    NOW[0] = at
    plant.brand()
    plant.campaign(OTHER)
    return at


def steps(
    plant: Plant,
    version: int,
    *plan: Step,
    daily: int | None = 100 * UNIT,
    monthly: int | None = None,
    pace: tuple[str, ...] = (),
) -> None:
    """Publishes the brand's steps."""
    brand = BrandPlan(BRAND, version, daily, monthly, False, False, pace, steps=plan)
    brought = plant.live.bring(plant.instance, brand, [])
    assert brought is not None
    assert not brought.ahead


def own_steps(plant: Plant, version: int, *plan: Step, limits: OwnLimits, pace: tuple[str, ...] = ()) -> None:
    """Publishes those of the first campaign."""
    campaign = CampaignPlan(CAMPAIGN, version, True, False, Schedule(), False, limits, pace=pace, steps=plan)
    brought = plant.live.bring(plant.instance, BrandPlan(BRAND, 0, None, None, False, False), [campaign])
    assert brought is not None
    assert CAMPAIGN not in brought.ahead


def schedule(plant: Plant, whose: str, version: int, *plan: Step, daily: int | None = 100 * UNIT) -> None:
    if whose == "brand":
        steps(plant, version, *plan, daily=daily)
    else:
        own_steps(plant, version, *plan, limits=OwnLimits(daily))


def told(plant: Plant) -> list[bytes]:
    entries: Any = plant.plain.xrange(KEYS.journal)
    return [fields[b"t"] for _, fields in entries if b"t" in fields]


@pytest.mark.parametrize("whose", ["brand", "campaign"])
@pytest.mark.parametrize("way", WAYS)
def test_a_limit_rises_and_falls_on_the_millisecond_on_every_path(
    plant: Plant, client: BudgetClient, noon: int, way: str, whose: str
) -> None:
    begin, end = noon + HOUR_MS, noon + 2 * HOUR_MS
    schedule(plant, whose, 2, Step(begin, 150 * UNIT, None), Step(end, 100 * UNIT, None))
    cause = b"8" if whose == "brand" else b"32"
    client.record_spend(CAMPAIGN, "100")
    # The first call of a dedup window takes the slow path; the one a millisecond after it may take the fast one.
    for at, passes in ((begin - 1, False), (begin, True), (begin + 1, True), (end - 1, True), (end, False)):
        plant.at(at)
        NOW[0] = at
        reply = call(plant, "try_spends", *WAYS[way](5))
        assert (b"x" in reply[1]) is not passes, (at - noon, reply)
        if not passes:
            assert reply[1].startswith(b"x" + cause + b"*")
    # Facts are counted all the same.
    assert b"x" not in call(plant, "record_spends", *WAYS[way](5))[1]


@pytest.mark.parametrize("whose", ["brand", "campaign"])
def test_a_limit_that_falls_below_what_is_spent_stops_at_its_instant_and_a_lifted_one_lets_all_pass(
    plant: Plant, client: BudgetClient, noon: int, whose: str
) -> None:
    schedule(plant, whose, 2, Step(noon + 1, 40 * UNIT, None), Step(noon + 2, None, None))
    assert client.try_spend(CAMPAIGN, "60")
    plant.at(noon + 1)
    cause = "daily_budget" if whose == "brand" else "campaign_daily_budget"
    assert client.try_spend(CAMPAIGN, "0.000001").reasons == (cause,)
    assert client.status(CAMPAIGN).reasons == (cause,)
    plant.at(noon + 2)
    assert client.status(CAMPAIGN)
    assert client.try_spend(CAMPAIGN, "1000")


@pytest.mark.parametrize("whose", ["brand", "campaign"])
def test_holds_leases_and_settles_see_the_limit_of_their_instant(
    plant: Plant, client: BudgetClient, noon: int, whose: str
) -> None:
    schedule(plant, whose, 2, Step(noon + 10, 10 * UNIT, None), Step(noon + 20, 30 * UNIT, None))
    assert client.reserve(CAMPAIGN, "8", hold_id="bid-1")
    plant.at(noon + 10)
    assert not client.reserve(CAMPAIGN, "3", hold_id="bid-2")
    assert client.reserve(CAMPAIGN, "2", hold_id="bid-3")
    plant.at(noon + 20)
    assert client.reserve(CAMPAIGN, "20", hold_id="bid-4")
    assert not client.try_spend(CAMPAIGN, "0.000001")
    assert client.settle(f"{CAMPAIGN}:bid-1", "8").outcome == "settled"
    assert client.release(f"{CAMPAIGN}:bid-4")
    assert client.try_spend(CAMPAIGN, "20")
    assert not client.try_spend(CAMPAIGN, "0.000001")


@pytest.mark.parametrize("whose", ["brand", "campaign"])
def test_the_call_after_a_step_tells_once_that_it_freed_or_used_up_a_budget_with_the_step_s_instant(
    plant: Plant, client: BudgetClient, noon: int, whose: str
) -> None:
    schedule(plant, whose, 2, Step(noon + 10, 150 * UNIT, None), Step(noon + 1000, 50 * UNIT, None))
    owner, name, field, key = (
        (BRAND, "daily_budget", "daily_at", KEYS.brand(BRAND))
        if whose == "brand"
        else (CAMPAIGN, "campaign_daily_budget", "own_daily_at", KEYS.campaign(CAMPAIGN))
    )
    client.record_spend(CAMPAIGN, "100")
    assert told(plant) == [b"%d:%s:exhausted" % (owner, name.encode())]
    plant.at(noon + 500)
    read = plant.live.read_campaign(CAMPAIGN)
    assert read is not None
    of = read.budget(name) if whose == "brand" else read.campaigns[CAMPAIGN].budgets[0]
    assert of is not None
    assert (of.limit, of.used_up, of.since_ms) == (150 * UNIT, False, noon + 10)
    assert client.try_spend(CAMPAIGN, "1")
    assert client.try_spend(CAMPAIGN, "1")
    assert told(plant)[1:] == [b"%d:%s:restored" % (owner, name.encode())]
    assert plant.plain.hget(key, field) == str(noon + 10).encode()
    plant.at(noon + 2000)
    assert not client.try_spend(CAMPAIGN, "1")
    assert len(told(plant)) == 2, "a refusal writes nothing"
    client.record_spend(CAMPAIGN, "1")
    client.record_spend(CAMPAIGN, "1")
    assert told(plant)[2:] == [b"%d:%s:exhausted" % (owner, name.encode())]
    assert plant.plain.hget(key, field) == str(noon + 1000).encode()


@pytest.mark.parametrize("whose", ["brand", "campaign"])
@pytest.mark.parametrize("amounts", [("20", "40"), ("20", "10", "30")])
def test_a_budget_that_a_step_raised_in_time_is_told_as_used_up_once_and_never_as_freed(
    plant: Plant, client: BudgetClient, noon: int, whose: str, amounts: tuple[str, ...]
) -> None:
    schedule(plant, whose, 2, Step(noon + 10, 150 * UNIT, None))
    owner, name = (BRAND, "daily_budget") if whose == "brand" else (CAMPAIGN, "campaign_daily_budget")
    client.record_spend(CAMPAIGN, "90")
    plant.at(noon + 500)
    for amount in amounts:
        assert told(plant) == []
        assert client.try_spend(CAMPAIGN, amount)
    assert told(plant) == [b"%d:%s:exhausted" % (owner, name.encode())]


@pytest.mark.parametrize("whose", ["brand", "campaign"])
def test_a_step_that_the_catalog_took_over_leaves_the_plan_and_changes_nothing(
    plant: Plant, client: BudgetClient, noon: int, whose: str
) -> None:
    schedule(plant, whose, 2, Step(noon + 10, 150 * UNIT, None), Step(noon + 1000, 50 * UNIT, None))
    key = KEYS.brand(BRAND) if whose == "brand" else KEYS.campaign(CAMPAIGN)
    client.record_spend(CAMPAIGN, "120")
    plant.at(noon + 500)
    schedule(plant, whose, 3, Step(noon + 1000, 50 * UNIT, None), daily=150 * UNIT)
    assert plant.plain.hmget(key, "n1", "n2") == [str(noon + 1000).encode() + b",50000000,", None]
    assert b"".join(told(plant)).endswith(b"restored"), "the plan's message tells what the step did"
    assert client.try_spend(CAMPAIGN, "30")
    assert not client.try_spend(CAMPAIGN, "0.000001")
    schedule(plant, whose, 4, daily=150 * UNIT)
    assert plant.plain.hmget(key, "n1", "n2") == [None, None]
    plant.at(noon + 1000)
    client.record_spend(CAMPAIGN, "1")
    # The same version with other steps is kept against the plan.
    plan = BrandPlan(BRAND, 4, 150 * UNIT, None, False, False, steps=(Step(noon + 5000, 1, None),))
    if whose == "brand":
        brought = plant.live.bring(plant.instance, plan, [])
        assert brought is not None
        assert brought.ahead == {BRAND: 4}


@pytest.mark.parametrize("whose", ["brand", "campaign"])
@pytest.mark.parametrize("wrong", ["5,1", "1,-1,", "1,x,", ",1,1", "1,9000000000000001,", "9" * 17 + ",1,1"])
def test_publish_refuses_steps_that_are_malformed_and_a_stored_one_takes_the_shard_out_of_use(
    plant: Plant, client: BudgetClient, noon: int, wrong: str, whose: str
) -> None:
    class Wrong(Step):
        @property
        def compiled(self) -> str:
            return wrong

    with pytest.raises(BudgetError, match="publish"):
        schedule(plant, whose, 2, Wrong(1, 1, 1))
    with pytest.raises(BudgetError, match="publish"):
        schedule(plant, whose, 2, Step(noon + 10, 1, None), Step(noon + 10, 2, None))
    schedule(plant, whose, 2, Step(noon + 10, 1, None))
    plant.plain.hset(KEYS.brand(BRAND) if whose == "brand" else KEYS.campaign(CAMPAIGN), "n1", wrong)
    assert client.try_spend(CAMPAIGN, "1").outcome == "not_ready"
    assert plant.plain.hget(KEYS.shard, "mark") is None


@pytest.mark.parametrize("whose", ["brand", "campaign"])
def test_late_spends_are_checked_against_the_limit_at_the_end_of_their_day(
    plant: Plant, client: BudgetClient, noon: int, whose: str
) -> None:
    midnight = noon + DAY_MS // 2
    plant.plain.hset(KEYS.shard, mapping={"grace": "60"})
    schedule(plant, whose, 2, Step(noon + 10, 20 * UNIT, None), Step(midnight, 100 * UNIT, None))
    plant.at(midnight + MINUTE_MS)
    then = at_ms(midnight - 1)
    assert client.try_spend(CAMPAIGN, "20", occurred_at=then)
    assert not client.try_spend(CAMPAIGN, "0.000001", occurred_at=then)
    assert client.try_spend(CAMPAIGN, "100")
    assert not client.try_spend(CAMPAIGN, "0.000001")
    # A later plan keeps what was in force then.
    schedule(plant, whose, 3, daily=100 * UNIT)
    assert not client.try_spend(CAMPAIGN, "0.000001", occurred_at=then)


@pytest.mark.parametrize("whose", ["brand", "campaign"])
def test_a_late_spend_tells_once_what_a_step_did_to_the_present_day(
    plant: Plant, client: BudgetClient, noon: int, whose: str
) -> None:
    midnight = noon + DAY_MS // 2
    plant.plain.hset(KEYS.shard, mapping={"grace": "60"})
    schedule(plant, whose, 2, Step(noon + 10, 20 * UNIT, None), Step(midnight, 0, None))
    plant.at(midnight + MINUTE_MS)
    before = len(told(plant))
    for _ in range(2):
        assert client.record_spend(CAMPAIGN, "1", occurred_at=at_ms(midnight - 1))
    owner, name = (BRAND, "daily_budget") if whose == "brand" else (CAMPAIGN, "campaign_daily_budget")
    assert told(plant)[before:] == [b"%d:%s:exhausted" % (owner, name.encode())]
    field, key = ("daily_at", KEYS.brand(BRAND)) if whose == "brand" else ("own_daily_at", KEYS.campaign(CAMPAIGN))
    assert plant.plain.hget(key, field) == str(midnight).encode()


def test_a_paced_refusal_names_the_millisecond_at_which_steps_let_it_pass(
    plant: Plant, client: BudgetClient, noon: int
) -> None:
    draw = random.Random(20)
    names = 0
    for case in range(CASES):
        now = noon + draw.randrange(DAY_MS // 2 - 10 * MINUTE_MS)
        plant.at(noon)
        first = now + draw.choice((1, 500, 59_000, draw.randrange(1, HOUR_MS)))
        second = first + draw.choice((1, 1000, HOUR_MS))
        low, high = draw.randrange(1, 100), draw.randrange(1, 400)
        pace = compiled(Pacing(draw.choice(("even", "ahead")), draw.choice(("asap", "300", "100", "spread"))))
        brand_id = BRAND + 1 + case
        plant.plain.hset(keys_of_brand(brand_id).shard, "now", noon)
        campaign = brand_id * 65536 + 1
        plant.brand(brand_id=brand_id, daily="100")
        plan = (Step(first, low * UNIT, None), Step(second, high * UNIT, None))
        brand = BrandPlan(brand_id, 2, 100 * UNIT, None, False, False, pace, steps=plan)
        assert plant.live.bring(plant.instance, brand, []) is not None
        plant.at(now)
        client.record_spend(campaign, str(draw.randrange(30, 110)))
        refused = client.try_spend(campaign, "0.000001")
        if refused.reasons != ("pacing",) or refused.retry_at is None:
            continue
        names += 1
        at = ms_of(refused.retry_at)
        plant.at(at - 1)
        assert not client.try_spend(campaign, "0.000001"), (case, plan)
        plant.at(at)
        assert client.try_spend(campaign, "0.000001"), (case, plan)
    assert names > CASES // 4


@pytest.mark.parametrize("way", WAYS)
def test_the_curve_is_of_the_limit_in_force(plant: Plant, client: BudgetClient, noon: int, way: str) -> None:
    even = compiled(Pacing("even", "asap"))
    steps(plant, 2, Step(noon + 10, 200 * UNIT, None), Step(noon + 20, 50 * UNIT, None), pace=even)
    client.record_spend(CAMPAIGN, "60")
    for at, passes in ((noon, False), (noon + 10, True), (noon + 19, True), (noon + 20, False)):
        plant.at(at)
        NOW[0] = at
        refused = re.search(rb"x(\d+)", call(plant, "try_spends", *WAYS[way](5))[1])
        assert (refused is None) is passes
        assert refused is None or int(refused[1]) & 512
    steps(plant, 3, daily=50 * UNIT, pace=())


def test_a_shard_of_a_brand_with_steps_is_of_the_second_layout_and_watchers_are_told_the_next_step(
    plant: Plant, noon: int
) -> None:
    assert plant.plain.hget(KEYS.shard, "layout") == b"1"
    steps(plant, 2, Step(noon + 10, 200 * UNIT, None), Step(noon + 20, 50 * UNIT, None))
    assert plant.plain.hget(KEYS.shard, "layout") == b"2"
    own_steps(plant, 2, Step(noon + 15, 1, None), limits=OwnLimits(100 * UNIT))
    for at, brand, own in ((0, 10, 15), (10, 20, 15), (15, 20, None), (20, None, None)):
        plant.at(noon + at)
        from engine.live.scripts import LAYOUT, script
        from engine.live.transport.pool import Call

        keys = (KEYS.shard, KEYS.brand(BRAND), KEYS.campaign(CAMPAIGN))
        reply = plant.live.call_all([Call(script("read_watched"), keys, (LAYOUT,))])[0]
        for line, step in ((reply[4], brand), (reply[5], own)):
            tail = b"" if step is None else b":n=%d" % (noon + step)
            assert line.endswith(tail), (at, line)
            assert (b"n=" in line) is (step is not None)
