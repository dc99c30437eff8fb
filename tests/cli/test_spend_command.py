"""One spend on the command line: counted, refused or told apart, with the brand's figures after it."""

from __future__ import annotations

import pytest

from engine.wiring import System
from tests.cli.conftest import Be


@pytest.fixture(autouse=True)
def acme(be: Be, ready: System) -> None:
    """A brand of 100 a day with one campaign, 65537."""
    be("brand", "create", "Acme", "--daily", "100")
    be("campaign", "create", "1", "Spring")


def test_a_spend_answers_in_the_contracts_shape(be: Be) -> None:
    done = be("spend", "65537", "12.5", "--json")
    assert done.status == 0
    assert done.document == {
        "outcome": "recorded",
        "reasons": [],
        "daily_spend": "12.500000",
        "monthly_spend": "12.500000",
        "daily_remaining": "87.500000",
        "monthly_remaining": None,
    }


def test_an_accepted_try_is_counted_and_a_refused_one_is_not(be: Be) -> None:
    accepted = be("spend", "65537", "60", "--try", "--json")
    assert (accepted.status, accepted.document["outcome"]) == (0, "accepted")
    refused = be("spend", "65537", "40.000001", "--try", "--json")
    assert (refused.status, refused.document["outcome"]) == (1, "refused")
    assert refused.document["reasons"] == ["daily_budget"]
    assert refused.document["daily_spend"] == "60.000000"
    assert be("spend", "65537", "40", "--try").status == 0


def test_an_event_counts_once_and_another_amount_under_its_id_is_a_conflict(be: Be) -> None:
    assert be("spend", "65537", "1", "--event-id", "win-1").status == 0
    again = be("spend", "65537", "1", "--event-id", "win-1", "--json")
    assert (again.status, again.document["outcome"], again.document["daily_spend"]) == (0, "duplicate", "1.000000")
    other = be("spend", "65537", "2", "--event-id", "win-1", "--json")
    assert (other.status, other.document["outcome"], other.document["daily_spend"]) == (1, "conflict", "1.000000")


def test_a_fact_past_the_budget_is_counted_and_says_what_it_did(be: Be) -> None:
    done = be("spend", "65537", "100.5")
    assert done.status == 0
    assert "now paused: daily_budget" in done.out
    assert "-0.500000 left" in done.out


def test_a_campaign_that_nobody_made_is_an_answer_with_status_1(be: Be) -> None:
    done = be("spend", "65538", "1", "--json")
    assert (done.status, done.document["outcome"], done.document["daily_spend"]) == (1, "unknown_campaign", "0.000000")


def test_a_shard_that_is_being_rebuilt_is_an_answer_with_status_1(be: Be, system: System) -> None:
    system.live.unmark(system.instance, 1, "test")
    done = be("spend", "65537", "1", "--json")
    assert (done.status, done.document["outcome"]) == (1, "not_ready")


BAD_AMOUNTS = [
    "nan", "inf", "1e3", "0x10", "-1", "0", "+5", " 1", "1_000", "١٢", "1.0000001", "10000000", "", "1.", "9" * 200,
]  # fmt: skip
BAD_EVENT_IDS = ["", "a b", "{17}", "a\nb", "x" * 65]


def test_zeros_after_the_sixth_decimal_are_spent_as_the_same_money(be: Be) -> None:
    assert be("spend", "65537", "2.7500000000", "--json").document["daily_spend"] == "2.750000"
    assert be("spend", "65537", "2.7500001").status == 2
    changed = be("brand", "update", "1", "--daily", "50.1234560000", "--json")
    assert changed.document["daily_budget"] == "50.123456"
    assert be("brand", "update", "1", "--monthly", "50.1234560001").status == 2


def test_what_is_no_money_is_refused_in_one_line_and_nothing_is_written(be: Be) -> None:
    for amount in BAD_AMOUNTS:
        done = be("spend", "65537", amount)
        assert (done.status, done.out) == (2, ""), amount
        assert "amount" in done.complaint
    for event_id in BAD_EVENT_IDS:
        done = be("spend", "65537", "1", "--event-id", event_id)
        assert (done.status, done.out) == (2, ""), event_id
        assert "event_id" in done.complaint
    assert be("brand", "show", "1", "--json").document["daily_spend"] == "0.000000"
