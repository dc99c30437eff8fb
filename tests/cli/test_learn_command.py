"""The curve of `--pacing traffic`: learned from the log, published, and learned again after a yes."""

from __future__ import annotations

import pytest

from engine.domain.periods import DAY_MS, at_ms, date_of
from engine.ledger import statuses
from engine.ledger.statuses import StatusWrite
from engine.wiring import System
from tests.cli.conftest import Be
from tests.ledger.spends import row, write

pytestmark = pytest.mark.usefixtures("ready")
UNIT = 1_000_000


def mornings(system: System, campaign: int, days: int, hour: int = 6) -> None:
    """On each of so many past days, 10 in one hour and 30 in the next."""
    today = system.live.now_ms() // DAY_MS
    rows = []
    for back in range(1, days + 1):
        for place, amount in enumerate((10, 30)):
            at = at_ms((today - back) * DAY_MS + (hour + place) * 3_600_000)
            rows.append(row(campaign, amount * UNIT, n=2 * back + place, at=at))
    write(system.db, rows)


def test_a_brand_s_hours_become_its_curve_and_pace_it_to_the_ppm(be: Be, ready: System) -> None:
    be("brand", "create", "Acme", "--daily", "100")
    campaign = be("campaign", "create", "1", "Spring", "--json").document["id"]
    refused = be("brand", "update", "1", "--pacing", "traffic")
    assert (refused.status, "`curve learn 1` makes it" in refused.complaint) == (2, True)
    little = be("curve", "learn", "1")
    assert little.status == 1
    assert little.complaint == "brand 1 has too little history: 0 days with spend of the last 28, 7 are needed"
    mornings(ready, campaign, 9)
    learned = be("curve", "learn", "1", "--json")
    assert (learned.status, learned.err) == (0, "")
    assert [each["day"] for each in learned.document["curves"]] == ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    for each in learned.document["curves"]:
        shares = {point["time"]: point["share"] for point in each["points"]}
        assert (shares["06:00"], shares["07:00"], shares["08:00"], shares["24:00"]) == (0, 250_000, 10**6, 10**6)
    assert be("brand", "update", "1", "--pacing", "traffic").status == 0
    plan = ready.hot_redis.hgetall("budget:{1}:brand:1")
    assert plan[b"p"] == b"1,1000000,300"
    assert b"252000250000" in plan[b"c1"]
    # Learned again it would pace another way: that is said first.
    again = be("curve", "learn", "1")
    assert again.status == 1
    assert "brand 1 is paced (traffic), so its hours show that curve" in again.err
    assert be("curve", "learn", "1", "--yes").out == "curve traffic:1 has a curve for each weekday, by 9 days\n"


def test_a_day_on_which_the_budget_ran_out_is_not_learned_from(be: Be, ready: System) -> None:
    be("brand", "create", "Acme", "--daily", "100")
    campaign = be("campaign", "create", "1", "Spring", "--json").document["id"]
    mornings(ready, campaign, 8)
    today = ready.live.now_ms() // DAY_MS
    for back in (3, 2):
        gone, midnight = at_ms((today - back) * DAY_MS + 8 * 3_600_000), at_ms((today - back + 1) * DAY_MS)
        with ready.db.begin() as conn:
            statuses.apply(conn, [StatusWrite(campaign, gone, "paused", ("daily_budget",), "test")])
            statuses.apply(conn, [StatusWrite(campaign, midnight, "active", (), "test")])
    refused = be("curve", "learn", "1")
    assert refused.status == 1
    assert "without the days on which a budget ran out, has too little history: 6 days" in refused.complaint
    assert str(date_of(today)) not in refused.complaint
