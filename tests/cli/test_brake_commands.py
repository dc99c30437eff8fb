"""The brake on the command line: set, opened, resumed, and refused by name."""

from __future__ import annotations

import pytest

from engine.wiring import System
from tests.cli.conftest import Be

pytestmark = pytest.mark.usefixtures("ready")


def test_a_brake_is_set_shown_opened_and_closed_by_resume(be: Be, ready: System) -> None:
    be("brand", "create", "Acme")
    made = be("campaign", "create", "1", "Night", "--rate-limit", "4/min", "--breaker", "5", "--json").document
    assert (made["rate_limit"], made["breaker"]) == (
        "4.000000",
        {"limit": "5.000000", "open": False, "open_since": None, "spend": "0.000000"},
    )
    campaign = str(made["id"])
    assert "4.000000/min, 0.000000 in this minute" in be("campaign", "show", campaign).out
    assert be("spend", campaign, "5", "--try").out.startswith("refused (rate)")
    assert be("spend", campaign, "4").out.startswith("recorded (now held back: rate)")
    assert be("spend", campaign, "2").out.startswith("recorded (now paused: rate, breaker)")
    shown = be("campaign", "show", campaign, "--json").document
    assert (shown["status"], shown["breaker"]["open"], shown["breaker"]["spend"]) == ("paused", True, "6.000000")
    assert "breaker" in shown["reasons"] and shown["breaker"]["open_since"].endswith("Z")
    assert f"5.000000/min, open: `campaign resume {campaign}` closes it" in be("campaign", "show", campaign).out
    closed = be("campaign", "resume", campaign)
    assert closed.out == f"resumed and closed the breaker of campaign {campaign} Night: active\n"
    assert be("campaign", "resume", campaign).out == f"resumed campaign {campaign} Night: active\n"
    lifted = be("campaign", "update", campaign, "--rate-limit", "none", "--breaker", "none", "--json").document
    assert (lifted["rate_limit"], lifted["breaker"]) == (None, None)
    assert ready.catalog.campaign(int(campaign)).brake[:2] == (None, None)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("0", "is below one amount: give at least 0.000001 a minute"),
        ("0/min", "is below one amount: give at least 0.000001 a minute"),
        ("-1/min", "'-1' is not a decimal amount"),
        ("1.0000001/min", "'1.0000001' has more than six decimals"),
        ("9000000001", "9000000001.000000 is above the limit"),
        ("5/hour", "'5/hour' is no amount a minute: give one as 5/min"),
        ("/min", "'/min' is not a decimal amount"),
        ("", "is empty"),
    ],
)
def test_a_brake_that_is_none_is_refused_in_one_line_and_nothing_is_changed(
    be: Be, ready: System, written: str, said: str
) -> None:
    be("brand", "create", "Acme")
    campaign = str(be("campaign", "create", "1", "Night", "--json").document["id"])
    for option, field in (("--breaker", "breaker"), ("--rate-limit", "rate_limit")):
        refused = be("campaign", "update", campaign, option, written)
        assert (refused.status, refused.out) == (2, "")
        assert refused.err.count("\n") == 1 and field in refused.err and said in refused.err
        assert be("campaign", "create", "1", "Other", option, written).status == 2
    assert [c.name for c in ready.catalog.campaigns()] == ["Night"]
    assert ready.catalog.campaign(int(campaign)).version == 1
