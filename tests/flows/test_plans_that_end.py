"""Doctor names plans that run out of flights, and a grace that is not this process' own."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import text

from engine.domain.ids import SHARDS
from engine.domain.periods import DAY_MS, HOUR_MS
from engine.live.registry import stamps
from engine.settings import Settings
from engine.views.doctor.examine import examine
from engine.views.doctor.finding import Finding
from engine.views.doctor.flights import look_at_flights
from engine.wiring import System
from tests.flows.test_persist import brand_with_campaigns


def named(settings: Settings, name: str) -> list[Finding]:
    return [finding for finding in examine(settings, lambda _: ()) if finding.name == name]


def test_doctor_names_plans_that_end_within_a_week_and_flights_that_should_have_begun(ready: System) -> None:
    _, (one, two) = brand_with_campaigns(ready, 2)
    assert list(look_at_flights(ready.db)) == []
    now = ready.catalog.flights.now_ms()
    assert ready.manage.add_flight(two, "anna", None, now + 9 * DAY_MS, None, False).published
    assert list(look_at_flights(ready.db)) == [], "its horizon is far"
    for day in (1, 2, 3):
        starts = None if day == 1 else now + (day - 1) * DAY_MS
        assert ready.manage.add_flight(one, "anna", starts, now + day * DAY_MS, None, False).published
    (finding,) = look_at_flights(ready.db)
    assert finding.state == "ok" and f"campaign {one} at " in finding.detail and str(two) not in finding.detail
    assert "1 of them have further flights" in finding.detail
    assert [found.detail for found in named(ready.settings, "flights")] == [finding.detail]
    # Three days later, and no check ran.
    with ready.db.begin() as conn:
        conn.execute(
            text("UPDATE flight SET starts_at = starts_at - :by, ends_at = ends_at - :by WHERE campaign_id = :one"),
            {"by": timedelta(days=2, hours=1), "one": one},
        )
        conn.execute(
            text("UPDATE campaign SET flights = ARRAY[:f1, :f2] WHERE id = :one"),
            {
                "f1": f"1,1,{now - 3 * DAY_MS},{now - DAY_MS - HOUR_MS},5",
                "f2": f"2,2,{now - DAY_MS - HOUR_MS},{now - HOUR_MS},5",
                "one": one,
            },
        )
    (finding,) = look_at_flights(ready.db)
    assert finding.state == "fail" and str(one) in finding.detail and "budget-engine check" in finding.todo


def test_doctor_says_when_the_shards_have_another_grace(ready: System) -> None:
    assert named(ready.settings, "late grace") == []
    stamps(ready.live, ready.instance, range(SHARDS), grace_minutes=45)
    (finding,) = named(ready.settings, "late grace")
    assert finding.state == "warn" and "LATE_GRACE_MINUTES is 0 here, and the shards have 45" in finding.detail
    stamps(ready.live, ready.instance, range(8), grace_minutes=15)
    assert "the shards have 15 and 45" in named(ready.settings, "late grace")[0].detail
