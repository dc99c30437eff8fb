"""A brand's rollover in the browser: chosen beside its budgets, shown with what is carried, and refused beside its field."""

from __future__ import annotations

from engine.domain.periods import day_of
from engine.live.keys import keys_of_brand
from engine.wiring import System
from tests.web.conftest import Visitor
from tests.web.test_status_page import words


def test_a_brand_gets_a_rollover_and_the_page_shows_what_is_carried(ready: System, visitor: Visitor) -> None:
    given = {"name": "Aurora", "daily_budget": "100", "monthly_budget": "none"}
    status, _ = visitor.post("/brands/new", **given, rollover_cap="50")
    assert status == 200
    (brand,) = ready.catalog.brands()
    assert brand.rollover_cap_micros == 50_000_000
    page = f"/brands/{brand.id}/edit"
    assert 'value="50.00"' in visitor.get(page)[1]
    field = f"50000000,{day_of(ready.live.now_ms())},23000000,100000000"
    ready.hot_redis.hset(keys_of_brand(brand.id).brand(brand.id), "b", field)
    shown = words(visitor.get("/status")[1])
    assert "today's limit is 100.00 + 23.00 carried" in shown
    assert "of 123.00" in shown
    # What does not name the field leaves it alone.
    version = ready.catalog.brand(brand.id).version
    status, shown = visitor.post(page, **given | {"daily_budget": "90"}, expected_version=version)
    assert status == 200
    assert ready.catalog.brand(brand.id).rollover_cap_micros == 50_000_000
    assert "Today has 90.00 + 23.00 carried, at once" in words(shown)
    status, shown = visitor.post(page, **given, rollover_cap="-1", expected_version=version + 1)
    assert status == 422
    assert 'id="rollover_cap-error"' in shown
    status, _ = visitor.post(page, **given, rollover_cap="none", expected_version=version + 1)
    assert ready.catalog.brand(brand.id).rollover_cap_micros is None
    assert "rollover cap" in words(visitor.get("/changes")[1])
