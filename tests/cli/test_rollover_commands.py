"""Rollover on the command line: chosen, changed with what that does to today, and bad input refused by name."""

from __future__ import annotations

import pytest

from engine.domain.periods import day_of
from engine.live.keys import keys_of_brand
from engine.wiring import System
from tests.cli.conftest import Be

pytestmark = pytest.mark.usefixtures("ready")


def test_a_brand_carries_what_a_day_left_and_each_change_says_what_today_has(be: Be, ready: System) -> None:
    made = be("brand", "create", "Acme", "--daily", "100", "--rollover", "50", "--json")
    assert (made.document["rollover_cap"], made.document["carried"]) == ("50.000000", "0.000000")
    assert made.complaint == "nothing is carried into today; what today leaves is carried into tomorrow, at most 50.00"
    # Yesterday left 23.
    field = f"50000000,{day_of(ready.live.now_ms())},23000000,100000000"
    ready.hot_redis.hset(keys_of_brand(1).brand(1), "b", field)
    shown = be("brand", "show", "1", "--json").document
    assert (shown["daily_budget"], shown["carried"], shown["daily_remaining"]) == (
        "100.000000", "23.000000", "123.000000",
    )  # fmt: skip
    assert "today has 100.00 + 23.00 carried, at once" in be("brand", "show", "1").out
    assert "0.000000 of 123.000000 spent" in be("brand", "show", "1").out
    less = be("brand", "update", "1", "--rollover", "5.5")
    assert less.complaint == "today has 100.00 + 5.50 carried, at once; tomorrow gets what today leaves, at most 5.50"
    assert "100.00 + 5.50" in be("brand", "update", "1", "--daily", "100", "--rollover", "5.5").err
    none = be("brand", "update", "1", "--daily", "none")
    assert none.complaint == "nothing is carried while there is no daily budget or one of 0"
    off = be("brand", "update", "1", "--daily", "90", "--rollover", "none")
    assert off.complaint == "nothing is carried from day to day: today has 90.00"
    assert be("brand", "show", "1", "--json").document["rollover_cap"] is None


@pytest.mark.parametrize(
    ("cap", "complaint"),
    [
        ("-5", "rollover_cap '-5' is not a decimal amount"),
        ("much", "rollover_cap 'much' is not"),
        ("9000000001", "rollover_cap 9000000001.000000 is above the limit of 9000000000"),
        ("", "rollover_cap is empty"),
    ],
)
def test_a_cap_that_is_none_is_refused_by_name(be: Be, ready: System, cap: str, complaint: str) -> None:
    be("brand", "create", "Acme", "--daily", "100")
    for refused in (be("brand", "update", "1", "--rollover", cap), be("brand", "create", "New", "--rollover", cap)):
        assert refused.status == 2
        assert refused.complaint.startswith(complaint)
    assert [brand.rollover_cap_micros for brand in ready.catalog.brands()] == [None]


def test_a_cap_of_nothing_is_no_rollover(be: Be, ready: System) -> None:
    be("brand", "create", "Acme", "--daily", "100", "--rollover", "0")
    assert ready.catalog.brand(1).rollover_cap_micros is None
    assert not ready.hot_redis.hexists(keys_of_brand(1).brand(1), "b")
