"""Pacing on the command line: curves made, drawn and replaced once it is said what will happen, and bad input refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.domain.periods import MINUTE_MS
from engine.live.keys import keys_of_brand
from engine.wiring import System
from tests.cli.conftest import Be

pytestmark = pytest.mark.usefixtures("ready")


def test_a_brand_is_paced_by_a_curve_and_shows_what_is_due(be: Be, ready: System, tmp_path: Path) -> None:
    file = tmp_path / "lunch.csv"
    file.write_text("time,share\n00:00,0\n12:00,400000\n24:00,1000000\n")
    made = be("curve", "create", "lunch", str(file), "--json")
    assert (made.status, made.err) == (0, "")
    assert made.document["curves"][0]["points"][1] == {"time": "12:00", "share": 400_000}
    brand = be("brand", "create", "Acme", "--daily", "100", "--pacing", "custom:lunch", "--catch-up", "150", "--json")
    assert (brand.document["pacing"], brand.document["catch_up"]) == ("custom:lunch", "150")
    assert brand.document["due_now"] is not None
    campaign = str(be("campaign", "create", "1", "One", "--json").document["id"])
    assert "are due by now" in be("brand", "show", "1").out
    assert be("curve", "list", "--json").document == [{"name": "lunch", "used_by": ["brand 1"]}]
    drawn = be("curve", "show", "lunch").out.splitlines()
    assert drawn[0] == "lunch, every day" and drawn[12].startswith("11:00   3.33%   40.00%") and len(drawn) == 25
    # What happens is said before it happens: without a yes nothing does.
    file.write_text("time,share\n24:00,1000000\n")
    asked = be("curve", "create", "lunch", str(file))
    assert asked.status == 1 and "brand 1: by now" in asked.err
    before = ready.catalog.brand(1).pace
    assert be("curve", "create", "lunch", str(file), "--yes").status == 0
    assert ready.catalog.brand(1).pace != before
    even = be("brand", "update", "1", "--pacing", "even", "--catch-up", "asap")
    assert even.status == 0 and "brand 1: by now" in even.err
    assert be("campaign", "update", campaign, "--pacing", "even").complaint.startswith("pacing 'even' spreads a daily")
    own = be("campaign", "update", campaign, "--daily", "5", "--pacing", "ahead", "--json")
    assert (own.document["pacing"], own.document["due_now"] is not None) == ("ahead", True)
    assert be("campaign", "update", campaign, "--pacing", "asap", "--json").document["due_now"] is None


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("time,share\n12:00,500000\n11:00,1000000\n", "time 11:00 is not after 12:00"),
        ("time,share\n12:00,500000\n24:00,400000\n", "share 400000 at 24:00 is below 500000 before it"),
        ("time,share\n12:00,500000\n", "share 500000 at 12:00 is the last one: end with 1000000"),
        ("time,share\n12:00,1e6\n", "line 2: share '1e6' is not a share"),
        ("time,share\n25:00,1000000\n", "line 2: time '25:00' is not a time"),
        ("time,share\n12:00\n", "line 2 has 1 values"),
        ("a,b\n12:00,1000000\n", "line 1 'a,b' is not time,share"),
        ("time,share\n", "the curve has no points"),
    ],
)
def test_a_curve_that_is_none_is_refused_in_one_line(
    be: Be, ready: System, tmp_path: Path, lines: str, said: str
) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(lines)
    refused = be("curve", "create", "bad", str(file))
    assert (refused.status in (1, 2), said in refused.complaint) == (True, True), refused.err
    assert ready.catalog.curves.names() == []


def test_a_mode_or_a_catch_up_that_is_none_is_refused_in_one_line(be: Be) -> None:
    for option, value, said in (
        ("--pacing", "slow", "pacing 'slow' is none: use asap, even, ahead, traffic or custom:NAME"),
        ("--pacing", "custom:a b", "pacing 'custom:a b' names no curve"),
        ("--pacing", "custom:none", "pacing 'custom:none' has no curve yet"),
        ("--pacing", "traffic", "pacing 'traffic' has no curve yet: `curve learn"),
        ("--catch-up", "99", "catch_up '99' is none: use percent from 100"),
    ):
        refused = be("brand", "create", "Acme", "--daily", "5", option, value)
        assert (refused.status != 0, said in refused.complaint) == (True, True), refused.err
    assert be("brand", "list", "--json").document == []


def test_show_has_the_pass_rate_of_this_minute(be: Be, ready: System) -> None:
    brand = be("brand", "create", "Acme", "--daily", "100", "--pacing", "even", "--json").document["id"]
    campaign = str(be("campaign", "create", str(brand), "One", "--json").document["id"])
    assert be("campaign", "show", campaign, "--json").document["pass_rate"] == 1.0
    assert "pass rate" not in be("campaign", "show", campaign).out
    # In the minute before, more was offered than the day's budget.
    minute = ready.live.now_ms() // MINUTE_MS
    ready.hot_redis.hset(keys_of_brand(brand).brand(brand), "s", f"{minute - 1},0,90000000000,0,1000000")
    for kind, number in (("brand", str(brand)), ("campaign", campaign)):
        rate = be(kind, "show", number, "--json").document["pass_rate"]
        assert 0.001 <= rate < 0.01
        assert "% of the offers of this minute" in be(kind, "show", number).out
