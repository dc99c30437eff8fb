"""Refunds: never more than was spent, no counter below 0, parts of a spend, and which of the conflicts it is."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from engine.client.sync import BudgetClient
from engine.domain.ids import ORDINALS, SHARDS
from engine.domain.periods import HOUR_MS, date_of, day_of, ms_of
from engine.errors import InvalidId, InvalidInput
from tests.live.plant import BRAND, CAMPAIGN, Plant

NOON = ms_of(datetime(2100, 3, 10, 12, tzinfo=UTC))


def today_of(plant: Plant) -> date:
    return date_of(day_of(plant.live.now_ms()))


def spends(plant: Plant, brand_id: int = BRAND) -> tuple[int, int]:
    """The brand's day and month in micros."""
    brand = plant.live.read_brand(brand_id, 1)
    assert brand is not None
    campaign = brand.campaigns[brand_id * ORDINALS + 1]
    assert (campaign.daily_spend, campaign.monthly_spend) >= (0, 0)
    return brand.daily_spend, brand.monthly_spend


def test_a_refund_of_an_event_that_never_was_gives_back_nothing_beyond_what_the_campaign_spent(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    plant.at(NOON)
    plant.brand(daily="10")
    plant.campaign(CAMPAIGN + 1)
    client.record_spend(CAMPAIGN, "3")
    client.record_spend(CAMPAIGN + 1, "7")
    entries = len(plant.entries())
    day, month = date(2100, 3, 10), date(2100, 3, 1)
    for amount, on, part, why in (
        ("1000000", day, None, "on that day"),
        ("3.000001", day, None, "on that day"),
        ("3.000001", day, "a-part", "on that day"),
        ("3.000001", month, None, "in that month"),
    ):
        answer = client.refund(CAMPAIGN, amount, "zz", spent_on=on, refund_id=part)
        assert (answer.outcome, why in answer.detail) == ("refused", True), answer
        assert (answer.daily_spend, answer.monthly_spend) == (Decimal(10), Decimal(10))
    assert len(plant.entries()) == entries
    assert client.try_spend(CAMPAIGN, "0.000001").outcome == "refused"


def test_a_day_that_is_not_yet_or_before_every_spend_is_bad_input_and_writes_nothing(
    plant: Plant, client: BudgetClient
) -> None:
    plant.brand()
    client.record_spend(CAMPAIGN, "3", event_id="win")
    entries = len(plant.entries())
    for day in (today_of(plant) + timedelta(days=1), date(1970, 1, 1), date(2013, 5, 5), date(2019, 12, 31)):
        for event in ("win", "zz"):
            with pytest.raises(InvalidInput, match=f"spent_on {day} is not a day of a spend"):
                client.refund(CAMPAIGN, "1", event, spent_on=day)
    assert len(plant.entries()) == entries


def test_the_answer_says_which_of_the_conflicts_it_is(plant: Plant, client: BudgetClient) -> None:
    plant.brand()
    plant.campaign(CAMPAIGN + 1)
    client.record_spend(CAMPAIGN, "3", event_id="win")
    client.record_spend(CAMPAIGN, "3", event_id="other")
    client.record_spend(CAMPAIGN + 1, "9")
    assert "more than was spent" in client.refund(CAMPAIGN, "4", "win").detail
    assert "another campaign" in client.refund(CAMPAIGN + 1, "1", "win").detail
    assert client.refund(CAMPAIGN, "3", "win").outcome == "refunded"
    for campaign, amount, why in ((CAMPAIGN, "2", "another amount"), (CAMPAIGN + 1, "3", "another campaign")):
        answer = client.refund(campaign, amount, "win")
        assert (answer.outcome, why in answer.detail) == ("conflict", True), answer
    assert spends(plant) == (12_000_000, 12_000_000)


def test_parts_of_a_spend_are_together_at_most_the_spend(plant: Plant, client: BudgetClient) -> None:
    plant.brand()
    client.record_spend(CAMPAIGN, "90")
    client.record_spend(CAMPAIGN, "10", event_id="win")
    for part, amount in (("one", "4"), ("two", "3"), ("one", "4"), (None, "2")):
        assert client.refund(CAMPAIGN, amount, "win", refund_id=part).outcome == "refunded"
    assert client.refund(CAMPAIGN, "2", "win", refund_id="three").outcome == "conflict"
    assert client.refund(CAMPAIGN, "3", "win", refund_id="one").outcome == "conflict"
    assert client.refund(CAMPAIGN, "1", "win", refund_id="three").outcome == "refunded"
    assert spends(plant) == (90_000_000, 90_000_000)
    with pytest.raises(InvalidId, match="refund_id"):
        client.refund(CAMPAIGN, "1", "win", refund_id="one,two")


def test_what_was_given_back_of_an_event_counts_over_the_turn_of_a_window(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    # A window's last minute, in each of the two hashes: one of them is read after the other.
    for turn in (0, 1):
        plant.at(NOON + turn * HOUR_MS + 59 * 60_000)
        plant.brand()
        client.record_spend(CAMPAIGN, "90")
        event = f"win-{turn}"
        client.record_spend(CAMPAIGN, "10", event_id=event)
        assert client.refund(CAMPAIGN, "4", event, refund_id="one").outcome == "refunded"
        plant.at(NOON + (turn + 1) * HOUR_MS)
        assert client.refund(CAMPAIGN, "4", event, refund_id="two").outcome == "refunded"
        assert client.refund(CAMPAIGN, "4", event, refund_id="three").outcome == "conflict"
        assert client.refund(CAMPAIGN, "2", event, refund_id="four").outcome == "refunded"


def test_a_refund_of_a_known_event_takes_no_counter_below_0_either(plant: Plant, client: BudgetClient) -> None:
    plant.brand()
    client.record_spend(CAMPAIGN, "5", event_id="win")
    # Somebody lowered the counter by hand.
    for field in plant.plain.hkeys(plant.key()):
        if field[:2] in (b"d:", b"m:"):
            plant.plain.hset(plant.key(), field, 4_000_000)
    answer = client.refund(CAMPAIGN, "5", "win")
    assert (answer.outcome, "the brand has spent" in answer.detail) == ("refused", True)
    assert spends(plant) == (4_000_000, 4_000_000)
    # A refusal is remembered nowhere: a smaller one goes through.
    assert client.refund(CAMPAIGN, "4", "win").outcome == "refunded"


def test_an_event_of_one_brand_is_none_of_another(plant: Plant, client: BudgetClient) -> None:
    other = (BRAND + SHARDS) * ORDINALS + 1
    plant.brand()
    plant.brand(brand_id=BRAND + SHARDS)
    client.record_spend(CAMPAIGN, "5", event_id="win")
    client.record_spend(other, "5")
    assert client.refund(other, "5", "win").outcome == "unknown_event"
    assert spends(plant, BRAND + SHARDS) == (5_000_000, 5_000_000)
