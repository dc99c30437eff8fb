"""A campaign's flights in the browser: agreed, and moved while they run once the page has said what will happen."""

from __future__ import annotations

import pytest

from engine.domain.flights import instant_text, parse_instant
from engine.domain.periods import HOUR_MS
from engine.domain.zones import BrandZone
from engine.wiring import System
from tests.web.conftest import Visitor, brand_with
from tests.web.test_status_page import words
from web.formats import readable
from web.instants import on_the_clock


def test_a_flight_is_agreed_moved_while_it_runs_and_ended(ready: System, visitor: Visitor) -> None:
    brand_id, (campaign, *_) = brand_with(ready, campaigns=1)
    page = f"/campaigns/{campaign}/flights"
    soon = instant_text(ready.live.now_ms() // 1000 * 1000 + HOUR_MS)
    status, shown = visitor.post(page, starts_at="now", ends_at=soon, budget="5")
    assert status == 200
    assert "running" in words(shown) and "5.00" in words(shown)
    assert f"flight 1 until {readable(soon)}" in words(visitor.get(f"/status?open={brand_id}")[1])
    ready.client.record_spend(campaign, "2")
    starts = instant_text(ready.catalog.flights.of([campaign])[campaign][0].starts_ms)
    status, asked = visitor.post(f"{page}/1", starts_at=starts, ends_at=soon, budget="2")
    assert status == 200
    assert "Nothing is changed yet. This will happen:" in words(asked)
    assert "that is used up already: the campaign stops at once" in words(asked)
    assert ready.catalog.flights.of([campaign])[campaign][0].budget_micros == 5_000_000
    status, _ = visitor.post(f"{page}/1", starts_at=starts, ends_at=soon, ends_now="y", budget="2", confirmed="y")
    assert status == 200
    assert ready.catalog.campaign(campaign).reasons == ("flight",)
    assert "outside its flights" in words(visitor.get(f"/status?open={brand_id}")[1])


def test_a_flight_is_spread_over_its_days_and_a_spread_that_is_none_is_refused(ready: System, visitor: Visitor) -> None:
    _, (campaign, *_) = brand_with(ready, campaigns=1)
    page = f"/campaigns/{campaign}/flights"
    given = {
        "starts_at": "now",
        "ends_at": instant_text(ready.live.now_ms() // 1000 * 1000 + 99 * HOUR_MS),
        "budget": "5",
    }
    status, shown = visitor.post(page, **given, spread="<script>")
    assert status == 422 and "<script>" not in shown
    assert ready.catalog.flights.of([campaign])[campaign] == []
    status, shown = visitor.post(page, **given, spread="even")
    assert status == 200
    assert "spread evenly" in words(shown) and "today" in words(shown)
    assert ready.catalog.flights.of([campaign])[campaign][0].spread == "even"


def test_a_flight_that_does_not_fit_is_refused_beside_its_field(ready: System, visitor: Visitor) -> None:
    _, (campaign, *_) = brand_with(ready, campaigns=1)
    page = f"/campaigns/{campaign}/flights"
    visitor.post(page, starts_at="2031-05-31T00:00Z", ends_at="2031-06-01T00:00Z", budget="none")
    for given, said in (
        ({"starts_at": "2031-05-31T12:00Z", "ends_at": "2031-06-03T00:00Z", "budget": "1"}, "overlaps flight 1"),
        (
            {"starts_at": "2031-06-02", "ends_at": "2031-06-03T00:00Z", "budget": "1"},
            "is no instant: give one by the clock of UTC",
        ),
        ({"starts_at": "2031-06-02T00:00Z", "ends_at": "2031-06-01T12:00Z", "budget": "1"}, "is not after the begin"),
        ({"starts_at": "", "ends_at": "now", "budget": "1"}, "is no end of a new flight"),
        ({"starts_at": "", "ends_at": "2031-05-01T00:00Z", "budget": "-1"}, "is not a decimal amount"),
    ):
        status, shown = visitor.post(page, **given)
        assert status == 422
        assert said in words(shown)
    assert len(ready.catalog.flights.of([campaign])[campaign]) == 1
    visitor.post(f"{page}/1/remove", f"{page}/1")
    assert ready.catalog.flights.of([campaign])[campaign] == []


@pytest.mark.parametrize(
    ("at", "shown"),
    [("2026-07-01T10:00Z", "2026-07-01T12:00"), ("2026-10-25T00:30Z", "2026-10-25T02:30+02:00"), ("2026-10-25T01:30Z", "2026-10-25T02:30+01:00")],
)  # fmt: skip
def test_an_instant_is_shown_by_the_brands_clock_and_with_its_zone_where_the_clock_shows_it_twice(
    at: str, shown: str
) -> None:
    ms = parse_instant(at, "at")
    local = BrandZone.of("Europe/Berlin").local(ms)
    assert on_the_clock(ms, local) == shown and parse_instant(shown, "at", local) == ms
