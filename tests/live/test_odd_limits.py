"""A limit in Redis that is no number never opens a budget, whichever call meets it first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engine import BudgetClient, Spend
from tests.live.plant import BRAND, Plant

ODD = ("abc", "nan", "inf", "-1", "1e308", "0x10", " 7", "9" * 40, "1.5", b"\x00\xff", "\u0663")
CALLS: dict[str, Callable[[BudgetClient, int], Any]] = {
    "try_spend": lambda client, campaign: client.try_spend(campaign, "15"),
    "try_spend of an event": lambda client, campaign: client.try_spend(campaign, "15", event_id="win"),
    "record_spend": lambda client, campaign: client.record_spend(campaign, "15"),
    "try_spends": lambda client, campaign: client.try_spends([Spend(campaign, "7.5")] * 2)[0],
    "try_spends packed": lambda client, campaign: client.try_spends([Spend(campaign, "1.5")] * 10)[0],
    "record_spends packed": lambda client, campaign: client.record_spends([Spend(campaign, "1.5")] * 10)[0],
    "try_spend_columns": lambda client, campaign: client.try_spend_columns([campaign] * 10, [1_500_000] * 10)[0],
    "reserve": lambda client, campaign: client.reserve(campaign, "15", 60, "hold"),
}


@pytest.mark.parametrize("field", ["daily", "monthly"])
@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_a_limit_that_is_no_number_counts_nothing_on_any_path_and_takes_its_shard_out_of_use(
    plant: Plant, client: BudgetClient, odd: str | bytes, field: str
) -> None:
    for brand, (name, call) in enumerate(CALLS.items(), BRAND):
        plant.brand(brand_id=brand, daily="10", monthly="10")
        assert client.record_spend(brand * 65536 + 1, "1")
        before = plant.plain.hgetall(plant.key(brand))
        plant.plain.hset(plant.key(brand), field, odd)
        answer = call(client, brand * 65536 + 1)
        assert (answer.outcome, bool(answer)) == ("not_ready", False), name
        plant.plain.hset(plant.key(brand), field, before[field.encode()])
        assert plant.plain.hgetall(plant.key(brand)) == before, name
