"""Reports over HTTP: the days, hours and minutes of a brand and its campaigns add up to what was spent, and only its brands are seen."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine.client.batches import PACKED_FROM
from engine.flows.persist.persister import Persister
from engine.wiring import System
from tests.api.conftest import Caller, Calls
from tests.web.conftest import brand_with


@pytest.fixture
def reader(calls: Calls) -> Caller:
    return calls("read")


def total(items: list[dict[str, Any]]) -> Decimal:
    return sum((Decimal(line["spend"]) for line in items), Decimal(0))


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "rows"])
def test_days_hours_and_minutes_add_up_to_what_was_spent(ready: System, reader: Caller, packed: bool) -> None:
    brand, (one, other) = brand_with(ready, campaigns=2)
    for campaign, amount in ((one, "1.5"), (one, "0.25"), (other, "2")) * PACKED_FROM:
        ready.client.record_spend(campaign, amount)
    Persister(ready.db, ready.live, ready.journal, ready.instance, packed).drain_all()
    for path, each, one_of in ((f"/brands/{brand}", "3.75", 3), (f"/campaigns/{one}", "1.75", 2), (f"/campaigns/{other}", "2", 1)):  # fmt: skip
        wanted, spends = Decimal(each) * PACKED_FROM, one_of * PACKED_FROM
        days, hours, minutes = (reader.get(f"{path}/{what}").document["items"] for what in ("days", "hours", "minutes"))
        # An hour may have ended meanwhile, and then the minutes of a campaign are those of the hour before.
        assert total(days) == total(hours) == wanted, path
        assert total(minutes) == wanted or hours[-1]["hour"] != hours[0]["hour"], path
        assert len(days) == 31 and days[-1]["spends"] == spends == sum(line["spends"] for line in hours)
    assert reader.get(f"/brands/{brand}/days?days=2").document["items"][0]["spend"] == "0.000000"


def test_a_forecast_without_history_is_409_and_says_how_many_days_it_wants(ready: System, reader: Caller) -> None:
    brand, (campaign,) = brand_with(ready)
    for path in (f"/brands/{brand}", f"/campaigns/{campaign}"):
        told = reader.get(f"{path}/forecast")
        assert told.status == 409 and "7" in told.document["detail"], told
    assert reader.get(f"/brands/{brand}").document["forecast"] is None


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("days?days=0", "days"),
        ("days?days=3661", "days"),
        ("hours?day=2026-02-30", "day"),
        ("hours?day=0001-01-01", "day"),
        ("hours?day=5", "day"),
        ("minutes?day=2020-01-01", "day"),
        ("minutes?colour=1", "colour"),
    ],
)
def test_what_is_no_day_is_told_by_its_field(ready: System, reader: Caller, path: str, field: str) -> None:
    brand, _ = brand_with(ready)
    told = reader.get(f"/brands/{brand}/{path}")
    assert (told.status, told.document["field"]) == (422, field), told.document


@pytest.mark.parametrize("hour", ["2026-11-29T14:00", "now", "9999-12-31T23:00Z", "1900-01-01T00:00Z"])
def test_an_hour_without_a_zone_is_refused(ready: System, reader: Caller, hour: str) -> None:
    _, (campaign,) = brand_with(ready)
    told = reader.get(f"/campaigns/{campaign}/minutes?hour={hour}")
    assert (told.status, told.document["field"]) == (422, "hour"), told.document
