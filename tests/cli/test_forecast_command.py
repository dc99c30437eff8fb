"""The forecast of a brand or campaign on the command line and on its page, on real servers."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from engine.domain.periods import DAY_MS, at_ms, date_of
from engine.wiring import System
from tests.cli.conftest import Be
from tests.ledger.spends import row, write
from web import create_app

pytestmark = pytest.mark.usefixtures("ready")
UNIT = 1_000_000


def history(system: System, campaign: int, days: int) -> None:
    """On each of so many past days, 10 in every hour."""
    today = system.live.now_ms() // DAY_MS
    with system.db.begin() as conn:
        for back in range(1, days + 1):
            for hour in range(24):
                conn.execute(
                    text(
                        "INSERT INTO campaign_hour (campaign_id, day, hour, brand_id, spend_micros, spends)"
                        " VALUES (:campaign, :day, :hour, :brand, :micros, 1)"
                    ),
                    {"campaign": campaign, "day": date_of(today - back), "hour": hour, "brand": campaign // 65536, "micros": 10 * UNIT},
                )  # fmt: skip


def acme(be: Be, *options: str) -> int:
    be("brand", "create", "Acme", *options)
    campaign: int = be("campaign", "create", "1", "Spring", "--daily", "200", "--json").document["id"]
    return campaign


def test_a_brand_and_its_campaign_are_forecast_from_the_log_and_today_s_spend_in_redis(be: Be, ready: System) -> None:
    campaign = acme(be, "--monthly", "100000")
    history(ready, campaign, 14)
    be("spend", str(campaign), "60")
    found = be("forecast", "1", "--json")
    assert (found.status, found.err) == (0, "")
    document = found.document
    assert (document["brand_id"], document["days"], document["runs_out_at"]) == (1, 14, None)
    now = ready.live.now_ms()
    gone = now % DAY_MS / DAY_MS
    assert float(document["usual_part_by_now"]) == pytest.approx(gone, abs=0.001)
    # All days were alike, so the rest of today is the rest of such a day, or today goes on as it began.
    as_usual, as_today = 60 + 240 * (1 - gone), 60 / gone
    assert float(document["day"]["expected"]) == pytest.approx(
        as_today if document["rule"] == "as today" else as_usual, rel=0.01
    )
    left = (at_ms(now).replace(day=1) + timedelta(days=32)).replace(day=1) - at_ms(now)
    assert float(document["month"]["expected"]) == pytest.approx(
        float(document["day"]["expected"]) + 240 * (left.days - 1), rel=0.01
    )
    assert be("brand", "show", "1", "--json").document["forecast"]["days"] == 14
    own = be("forecast", str(campaign), "--json").document
    assert own["campaign_id"] == campaign
    assert float(own["day"]["high"]) <= 200
    lines = be("forecast", str(campaign)).out
    assert lines.startswith(f"campaign        {campaign}\nend of day ")
    assert "usually by now" in lines


def test_a_brand_is_forecast_by_the_hours_of_all_its_campaigns_and_of_no_other_brand(be: Be, ready: System) -> None:
    be("brand", "create", "Acme")
    one, two = (be("campaign", "create", "1", name, "--json").document["id"] for name in ("Spring", "Summer"))
    be("brand", "create", "Other")
    other = be("campaign", "create", "2", "Autumn", "--json").document["id"]
    for campaign in (one, two, other):
        history(ready, campaign, 8)
    expected = [float(be("forecast", owner, "--json").document["day"]["expected"]) for owner in ("1", str(one), "2")]
    gone = ready.live.now_ms() % DAY_MS / DAY_MS
    assert expected[0] == pytest.approx(480 * (1 - gone), abs=1)
    assert expected[1:] == pytest.approx([240 * (1 - gone)] * 2, abs=1)


def test_a_brand_with_little_history_says_so_on_the_command_line_and_on_its_page(be: Be, ready: System) -> None:
    campaign = acme(be)
    history(ready, campaign, 3)
    refused = be("forecast", "1")
    said = "brand 1 has too little history: 3 days with spend of the last 28, 7 are needed"
    assert (refused.status, refused.complaint) == (1, said)
    assert be("brand", "show", "1", "--json").document["forecast"] is None
    page = create_app(ready).test_client().get("/brands/1/spend").get_data(as_text=True)
    assert f"No forecast yet: {said}." in page


def test_the_page_of_a_brand_shows_its_forecast_with_its_band(be: Be, ready: System) -> None:
    history(ready, acme(be), 10)
    client = create_app(ready).test_client()
    page = " ".join(client.get("/brands/1/spend").get_data(as_text=True).split())
    assert "Forecast: <strong>" in page
    assert "at the end of today (" in page
    assert "The ranges are of 10 past days: about eight of ten were within them." in page
    assert "Forecast" not in client.get("/brands/1/spend?day=2020-01-01").get_data(as_text=True)


def test_an_owner_that_is_not_there_or_not_clear_is_named_in_one_line(be: Be) -> None:
    be("brand", "create", "Acme", "--external-id", "a1")
    be("campaign", "create", "1", "Spring", "--external-id", "a1")
    for owner, status, said in (
        ("9", 1, "there is no brand or campaign '9'"),
        ("5242881", 1, "there is no brand or campaign '5242881'"),
        ("ext:none", 1, "there is no brand or campaign 'ext:none'"),
        ("ext:a1", 1, "'ext:a1' is a brand and a campaign"),
        ("acme", 2, "'acme' is not the id of a brand"),
        ("-1", 2, ""),
    ):
        refused = be("forecast", owner)
        assert (refused.status, refused.out) == (status, "")
        assert said in refused.complaint


def test_where_redis_has_no_figures_the_forecast_begins_with_the_log(be: Be, ready: System) -> None:
    campaign = acme(be)
    history(ready, campaign, 8)
    today = ready.live.now_ms() // DAY_MS
    write(ready.db, [row(campaign, 7000 * UNIT, at=at_ms(today * DAY_MS))])
    assert float(be("forecast", "1", "--json").document["day"]["low"]) < 7000
    ready.hot_redis.flushall()
    assert float(be("forecast", "1", "--json").document["day"]["low"]) >= 7000
