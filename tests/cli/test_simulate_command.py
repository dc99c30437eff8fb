"""Past days through the gate of another pacing, from the log and from a file, on real servers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest

from engine.wiring import System
from tests.cli.conftest import Be
from tests.ledger.spends import row, write

pytestmark = pytest.mark.usefixtures("ready")
UNIT = 1_000_000
DAY = datetime(2026, 11, 16, tzinfo=UTC)
"""A Monday."""


def acme(be: Be, *options: str, brand: tuple[str, ...] = ()) -> int:
    be("brand", "create", "Acme", *brand)
    campaign: int = be("campaign", "create", "1", "Spring", *options, "--json").document["id"]
    return campaign


def rush(system: System, campaign: int, days: int = 1, n: int = 1) -> None:
    """Two of 1 a minute, all day: twice a budget of 1,440."""
    rows = [
        row(campaign, UNIT, n=n + 2880 * day + place, at=DAY + timedelta(days=day, seconds=30 * place))
        for day in range(days)
        for place in range(2880)
    ]
    write(system.db, rows)


def test_a_day_that_ran_out_at_noon_is_spread_by_the_gate_and_both_are_shown(
    be: Be, ready: System, tmp_path: Path
) -> None:
    campaign = acme(be, "--daily", "1440")
    rush(ready, campaign)
    picture = tmp_path / "day.svg"
    words = ("simulate", str(campaign), "--from", "2026-11-16", "--to", "2026-11-16")
    found = be(*words, "--json", "--svg", str(picture))
    assert (found.status, found.err) == (0, "")
    (day,) = found.document["days"]
    assert found.document["budget_of"] == "campaign"
    assert day["actual"] == {
        "spend": "2880.000000", "overspent": "1440.000000", "used": "2.000000", "most_off_plan": "1.000000", "dark_hours": 0,
        "busiest_five_minutes": day["actual"]["busiest_five_minutes"], "tries": 2880, "refused": 0,
    }  # fmt: skip
    assert day["simulated"]["spend"] == "1440.000000"
    assert (day["simulated"]["overspent"], day["simulated"]["refused"]) == ("0.000000", 1440)
    assert float(day["simulated"]["most_off_plan"]) < 0.001
    root = ElementTree.fromstring(picture.read_text(encoding="utf-8"))
    assert len(root.findall("{http://www.w3.org/2000/svg}polyline")) == 3
    assert "2026-11-16, even, catch-up 300" in picture.read_text(encoding="utf-8")
    table = be(*words).out
    assert table.startswith("daily budget 1440.000000 of campaign 65537, even, catch-up 300\n")
    assert "100.00 %" in table and "200.00 %" in table and "1,440 (50.0 %)" in table


def test_asap_is_the_hard_stop_of_today(be: Be, ready: System) -> None:
    campaign = acme(be, "--daily", "1440")
    rush(ready, campaign)
    words = ("simulate", str(campaign), "--from", "2026-11-16", "--to", "2026-11-17", "--pacing", "asap", "--json")
    (day,) = be(*words).document["days"]
    assert (day["simulated"]["spend"], day["simulated"]["dark_hours"]) == ("1440.000000", 12)


def test_a_campaign_without_a_budget_of_its_own_is_simulated_in_its_brand_s_with_all_others(
    be: Be, ready: System
) -> None:
    campaign = acme(be, brand=("--daily", "1440"))
    other = be("campaign", "create", "1", "Summer", "--json").document["id"]
    write(ready.db, [row(campaign, UNIT, at=DAY), row(other, 2 * UNIT, n=2, at=DAY)])
    words = ("simulate", str(campaign), "--from", "2026-11-16", "--to", "2026-11-16", "--json")
    found = be(*words).document
    assert (found["budget_of"], found["days"][0]["actual"]["spend"]) == ("brand", "3.000000")
    alone = be(*words, "--daily", "100").document
    assert (alone["budget_of"], alone["daily_budget"]) == ("campaign", "100.000000")
    assert alone["days"][0]["actual"]["spend"] == "1.000000"


def test_outside_of_a_campaign_s_hours_nothing_is_due(be: Be, ready: System) -> None:
    campaign = acme(be, "--daily", "1440", "--schedule", '{"start_time": "09:00", "end_time": "21:00"}')
    rush(ready, campaign)
    words = ("simulate", str(campaign), "--from", "2026-11-16", "--to", "2026-11-16", "--json")
    (day,) = be(*words).document["days"]
    assert day["simulated"]["dark_hours"] == 0
    assert float(day["simulated"]["used"]) > 0.99


def test_the_curve_of_traffic_is_what_the_days_before_teach_and_no_later_one(be: Be, ready: System) -> None:
    campaign = acme(be, "--daily", "1440")
    mornings = [
        row(campaign, 10 * UNIT, n=n, at=DAY + timedelta(days=day - 10, hours=hour))
        for n, (day, hour) in enumerate(((day, hour) for day in range(10) for hour in range(6)), 1)
    ]
    write(ready.db, mornings)
    rush(ready, campaign, n=100)
    words = ("simulate", str(campaign), "--to", "2026-11-16", "--pacing", "traffic", "--json")
    (day,) = be(*words, "--from", "2026-11-16").document["days"]
    # 240 are due an hour, and as much is offered in two: by the plan's sixth hour half is spent, and the rest later.
    assert day["simulated"]["dark_hours"] == 0
    assert float(day["simulated"]["most_off_plan"]) == pytest.approx(0.5, abs=0.01)
    refused = be("simulate", str(campaign), "--from", "2026-11-07", "--to", "2026-11-07", "--pacing", "traffic")
    assert refused.status == 1
    assert "campaign 65537 has too little history: 1 day with spend" in refused.complaint


def test_a_curve_of_a_file_is_simulated_by_its_name(be: Be, ready: System, tmp_path: Path) -> None:
    campaign = acme(be, "--daily", "1440")
    rush(ready, campaign)
    (tmp_path / "late.csv").write_text("time,share\n12:00,0\n24:00,1000000\n", encoding="utf-8")
    be("curve", "create", "late", str(tmp_path / "late.csv"))
    words = ("simulate", str(campaign), "--from", "2026-11-16", "--to", "2026-11-16", "--pacing", "custom:late")
    (day,) = be(*words, "--json").document["days"]
    # 720 are offered from noon on for 1,440 that are due, and the last five minutes are the curve's landing.
    assert float(day["simulated"]["used"]) > 0.99
    assert be(*words, "--json").document["days"][0]["simulated"]["refused"] >= 1440


def test_tries_may_come_from_a_file_and_stand_beside_what_the_log_has(be: Be, ready: System, tmp_path: Path) -> None:
    campaign = acme(be, "--daily", "2")
    write(ready.db, [row(campaign, UNIT, at=DAY + timedelta(hours=12))])
    file = tmp_path / "tries.csv"
    file.write_text(
        "at,event_id,brand,campaign,amount_micros\n"
        "2026-11-16T20:00:00Z,,Acme,Spring,1000000\n"
        "2026-11-16T06:00:00Z,,Acme,Spring,1000000\n"
        "2026-11-16T07:00:00Z,,Acme,Spring,1000000\n"
        ",,Acme,Spring,1000000\n"
        "2026-11-16T07:00:00Z,,Acme,Other,1000000\n"
        "2026-11-16T07:00:00Z,,Acme,Spring,0\n",
        encoding="utf-8",
    )
    words = ("simulate", str(campaign), "--from", "2026-11-16", "--to", "2026-11-16", "--json", "--csv", str(file))
    found = be(*words)
    (day,) = found.document["days"]
    # One is spent at six, of half that is due; at seven more is spent than is due, at eight in the evening less.
    assert (day["simulated"]["tries"], day["simulated"]["refused"], day["simulated"]["spend"]) == (3, 1, "2.000000")
    assert (day["actual"]["tries"], day["actual"]["spend"]) == (1, "1.000000")
    said = found.err.splitlines()
    assert len(said) == 2
    assert "line 5: it has no instant in `at`" in said[0]
    assert "line 7" in said[1]


def test_days_and_hours_are_those_of_the_brand_s_clock_also_on_a_day_of_25_hours(
    be: Be, ready: System, tmp_path: Path
) -> None:
    campaign = acme(be, "--daily", "300", brand=("--zone", "Europe/Berlin"))
    begins = datetime(2026, 10, 24, 22, tzinfo=UTC)
    every = [begins + timedelta(minutes=5 * place) for place in range(-1, 301)]
    write(ready.db, [row(campaign, 2 * UNIT, n=n, at=at) for n, at in enumerate(every, 1)])
    picture = tmp_path / "day.svg"
    words = ("simulate", str(campaign), "--from", "2026-10-25", "--to", "2026-10-25", "--json", "--svg", str(picture))
    (day,) = be(*words).document["days"]
    assert (day["actual"]["tries"], day["actual"]["spend"], day["actual"]["dark_hours"]) == (300, "600.000000", 0)
    assert (day["simulated"]["spend"], day["simulated"]["refused"]) == ("300.000000", 150)
    # One amount, and what is due in the five minutes that the plan is complete earlier.
    assert float(day["simulated"]["most_off_plan"]) < 0.01
    assert "24:00" in picture.read_text(encoding="utf-8")
    tries = "".join(
        f"{at:%Y-%m-%dT%H:%M:%SZ},,Acme,Spring,1000000\n" for at in (every[0], every[1], every[300], every[301])
    )
    (tmp_path / "tries.csv").write_text("at,event_id,brand,campaign,amount_micros\n" + tries, encoding="utf-8")
    answer = be(*words, "--csv", str(tmp_path / "tries.csv"))
    assert (answer.status, answer.err) == (0, "")
    found = answer.document
    assert (found["time_zone"], found["days"][0]["simulated"]["tries"]) == ("Europe/Berlin", 2)
    assert be(*words[:-3]).out.startswith(
        "daily budget 300.000000 of campaign 65537, even, catch-up 300, days of Europe/Berlin\n"
    )


WRONG = (
    (("--from", "2026-11-16", "--to", "2026-11-15"), 2, "2026-11-16 to 2026-11-15 is not 1 to 92 days"),
    (("--from", "2026-01-01", "--to", "2026-11-15"), 2, "is not 1 to 92 days"),
    (("--from", "yesterday", "--to", "2026-11-15"), 2, "'yesterday' does not match the format"),
    (("--from", "2026-11-15", "--to", "2026-11-15"), 1, "the log has no spend of campaign 65537"),
    (("--from", "2026-11-16", "--to", "2026-11-16", "--pacing", "slow"), 2, "pacing 'slow' is none"),
    (("--from", "2026-11-16", "--to", "2026-11-16", "--pacing", "custom:a"), 1, "there is no curve 'a'"),
    (("--from", "2026-11-16", "--to", "2026-11-16", "--catch-up", "50"), 2, "catch_up '50' is none"),
    (("--from", "2026-11-16", "--to", "2026-11-16", "--daily", "0"), 2, "daily '0' is no budget to spend"),
    (("--from", "2026-11-16", "--to", "2026-11-16", "--daily", "none"), 2, "daily 'none' is no budget to spend"),
    (("--from", "2026-11-16", "--to", "2026-11-16", "--daily", "5", "--csv", "none.csv"), 2, "'none.csv' cannot be read"),
    (("--from", "2026-11-16", "--to", "2026-11-16", "--daily", "5", "--svg", "/none/x.svg"), 2, "svg '/none/x.svg' cannot be written"),
)  # fmt: skip


def test_what_cannot_be_simulated_is_named_in_one_line(be: Be, ready: System) -> None:
    campaign = acme(be, "--daily", "5")
    write(ready.db, [row(campaign, UNIT, at=DAY)])
    for words, status, said in WRONG:
        refused = be("simulate", str(campaign), *words)
        assert (refused.status, refused.out) == (status, ""), words
        assert said in refused.complaint


def test_without_any_daily_budget_one_is_asked_for(be: Be, ready: System) -> None:
    campaign = acme(be)
    write(ready.db, [row(campaign, UNIT, at=DAY)])
    refused = be("simulate", str(campaign), "--from", "2026-11-16", "--to", "2026-11-16")
    assert (refused.status, "give one with --daily" in refused.complaint) == (2, True)


def test_a_day_whose_rows_were_dropped_is_named(be: Be, ready: System) -> None:
    campaign = acme(be, "--daily", "5")
    from sqlalchemy import text

    with ready.db.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO dropped_day (brand_id, day, rows, spend_micros, correction_micros, after_month_micros, last_at)"
                " VALUES (1, '2026-11-16', 1, 1, 0, 0, now())"
            )
        )
    refused = be("simulate", str(campaign), "--from", "2026-11-16", "--to", "2026-11-16")
    assert refused.status == 1
    assert "the log has the rows of 2026-11-16 no more" in refused.complaint
