"""A packed call over several brands of a shard: each is judged, counted and told by its own budgets."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine import BudgetClient, Spend
from engine.domain.ids import ORDINALS, SHARDS
from engine.domain.money import MAX_TOTAL_MICROS
from engine.domain.periods import day_of
from engine.errors import InvalidInput
from tests.live.plant import BRAND, Plant

NO_LIMIT, SMALL_MONTH, SMALL_DAY = BRAND, BRAND + SHARDS, BRAND + 2 * SHARDS


def campaign(brand: int) -> int:
    return brand * ORDINALS + 1


def batch(*brands: int, each: int = 10, micros: int = 10) -> list[Spend]:
    return [Spend(campaign(brand), None, None, micros) for _ in range(each) for brand in brands]


@pytest.fixture
def three(plant: Plant) -> Plant:
    plant.brand(brand_id=NO_LIMIT)
    plant.brand(brand_id=SMALL_MONTH, daily="1", monthly="0.000050")
    plant.brand(brand_id=SMALL_DAY, daily="0.000070", monthly="1")
    return plant


def test_a_packed_batch_over_several_brands_is_judged_by_each_brand_s_own_budgets(
    three: Plant, client: BudgetClient
) -> None:
    answers = client.try_spends(batch(NO_LIMIT, SMALL_MONTH, SMALL_DAY))
    accepted = {
        brand: [a.outcome for a in answers if a.campaign_id == campaign(brand)].count("accepted")
        for brand in (NO_LIMIT, SMALL_MONTH, SMALL_DAY)
    }
    assert accepted == {NO_LIMIT: 10, SMALL_MONTH: 5, SMALL_DAY: 7}
    assert {b: three.spent(b) for b in accepted} == {NO_LIMIT: 100, SMALL_MONTH: 50, SMALL_DAY: 70}
    for used_up in (SMALL_MONTH, SMALL_DAY):
        outcomes = {(a.campaign_id // ORDINALS, a.outcome) for a in client.try_spends(batch(NO_LIMIT, used_up))}
        assert outcomes == {(NO_LIMIT, "accepted"), (used_up, "refused")}
    assert {b: three.spent(b) for b in accepted} == {NO_LIMIT: 300, SMALL_MONTH: 50, SMALL_DAY: 70}


def test_a_packed_batch_that_fits_over_several_brands_tells_each_brand_s_own_figures(
    three: Plant, client: BudgetClient
) -> None:
    spends = [*batch(NO_LIMIT, each=3), *batch(SMALL_MONTH, each=4), *batch(SMALL_DAY, each=6)]
    answers = client.try_spends(spends)
    assert {a.outcome for a in answers} == {"accepted"}
    told = {
        a.campaign_id // ORDINALS: (a.daily_spend, a.monthly_spend, a.daily_remaining, a.monthly_remaining)
        for a in answers
    }
    assert told == {
        NO_LIMIT: (Decimal("0.00003"), Decimal("0.00003"), None, None),
        SMALL_MONTH: (Decimal("0.00004"), Decimal("0.00004"), Decimal("0.99996"), Decimal("0.00001")),
        SMALL_DAY: (Decimal("0.00006"), Decimal("0.00006"), Decimal("0.00001"), Decimal("0.99994")),
    }


def test_of_several_brands_in_a_packed_batch_only_the_one_whose_budget_runs_out_stops_and_is_told(
    three: Plant, client: BudgetClient
) -> None:
    answers = client.record_spends(batch(NO_LIMIT, SMALL_MONTH, each=5))
    reasons = {a.campaign_id // ORDINALS: a.reasons for a in answers}
    assert reasons == {NO_LIMIT: (), SMALL_MONTH: ("monthly_budget",)}
    assert client.status(campaign(SMALL_MONTH)).reasons == ("monthly_budget",)
    again = client.record_spends(batch(NO_LIMIT, SMALL_MONTH, each=5))
    assert {a.campaign_id // ORDINALS: a.reasons for a in again} == reasons
    told = [(c.brand_id, c.cause) for entry in three.entries() for c in entry.changes]
    assert told == [(SMALL_MONTH, "monthly_budget")]


def test_a_packed_batch_that_would_leave_the_exact_numbers_is_refused_whole(three: Plant, client: BudgetClient) -> None:
    day = f"d:{day_of(three.live.now_ms())}"
    three.plain.hset(three.key(SMALL_DAY), day, str(MAX_TOTAL_MICROS - 99))
    with pytest.raises(InvalidInput, match="total"):
        client.record_spends(batch(NO_LIMIT, SMALL_DAY))
    assert (three.spent(NO_LIMIT), three.spent(SMALL_DAY)) == (0, MAX_TOTAL_MICROS - 99)
    answers = client.record_spends(batch(NO_LIMIT, SMALL_DAY, each=9))
    assert {a.outcome for a in answers} == {"recorded"}
    assert (three.spent(NO_LIMIT), three.spent(SMALL_DAY)) == (90, MAX_TOTAL_MICROS - 9)


def test_events_of_several_brands_in_a_packed_batch_are_remembered_each_by_its_own_brand(
    three: Plant, client: BudgetClient
) -> None:
    spends = [Spend(campaign(brand), None, f"win-{i}", 5) for i in range(8) for brand in (NO_LIMIT, SMALL_DAY)]
    assert {a.outcome for a in client.record_spends(spends)} == {"recorded"}
    assert {a.outcome for a in client.record_spends(spends)} == {"duplicate"}
    alone = [client.record_spend(spend.campaign_id, amount_micros=5, event_id=spend.event_id) for spend in spends]
    assert {a.outcome for a in alone} == {"duplicate"}
    assert (three.spent(NO_LIMIT), three.spent(SMALL_DAY)) == (40, 40)
    logged = [(s.campaign_id, s.event_id) for entry in three.entries() for s in entry.spends()]
    assert logged == [(spend.campaign_id, spend.event_id) for spend in spends]
