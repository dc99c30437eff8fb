"""A brand's time zone in the browser: chosen from the names that there are, and changed once the page has said what will happen."""

from __future__ import annotations

import pytest

from engine.wiring import System
from tests.web.conftest import Visitor
from tests.web.test_status_page import words


def test_a_brand_gets_a_zone_and_changes_it_once_it_is_told_what_that_does(ready: System, visitor: Visitor) -> None:
    given = {"name": "Aurora", "daily_budget": "10", "monthly_budget": "none"}
    assert '<option value="Europe/Berlin">' in visitor.get("/brands/new")[1]
    status, _ = visitor.post("/brands/new", **given, time_zone="Europe/Berlin")
    assert status == 200
    (brand,) = ready.catalog.brands()
    assert brand.time_zone == "Europe/Berlin"
    page = f"/brands/{brand.id}/edit"
    wanted = {**given, "expected_version": brand.version, "time_zone": "Asia/Kolkata"}
    status, asked = visitor.post(page, **wanted)
    assert status == 200 and "Asia/Kolkata takes effect on" in words(asked)
    assert ready.catalog.brand(brand.id).time_zone == "Europe/Berlin"
    status, _ = visitor.post(page, **wanted, confirmed="asap,300,Asia/Kolkata")
    assert status == 200 and ready.catalog.brand(brand.id).time_zone == "Asia/Kolkata"
    assert "Asia/Kolkata takes effect on" in words(visitor.get(page)[1])
    assert "Europe/Berlin" in words(visitor.get("/changes")[1])


@pytest.mark.parametrize("typed", ["Berlin", "<script>alert(1)</script>", "../../etc/passwd"])
def test_an_unknown_zone_is_refused_beside_its_field(ready: System, visitor: Visitor, typed: str) -> None:
    given = {"name": "Aurora", "daily_budget": "10", "monthly_budget": "none"}
    status, shown = visitor.post("/brands/new", **given, time_zone=typed)
    assert status == 422
    assert "is no time zone: use a name of the IANA list" in words(shown) and "<script>alert" not in shown
    assert 'id="time_zone-error"' in shown
    assert ready.catalog.brands() == []
