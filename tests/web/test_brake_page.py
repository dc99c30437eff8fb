"""A campaign's brake in the browser: set in its form, seen on the page, and resumed with its button."""

from __future__ import annotations

from engine.wiring import System
from tests.web.conftest import Visitor, brand_with
from tests.web.test_status_page import words


def test_a_brake_is_set_in_the_form_and_its_open_breaker_is_resumed_with_the_button(
    ready: System, visitor: Visitor
) -> None:
    brand_id, (campaign, *_) = brand_with(ready, campaigns=1)
    page = f"/campaigns/{campaign}/edit"
    given = {"name": "Night", "mode": "always", "expected_version": "1"}
    for name, value, said in (
        ("breaker", "0", "below one amount"),
        ("rate_limit", "-1", "is not a decimal amount"),
        ("breaker", "1.0000001", "more than six decimals"),
    ):
        status, shown = visitor.post(page, **given, **{name: value})
        assert status == 422 and said in words(shown)
    status, _ = visitor.post(page, **given, rate_limit="4", breaker="5/min")
    assert status == 200
    assert ready.catalog.campaign(campaign).brake == (4_000_000, 5_000_000, 1)
    listed = words(visitor.get(f"/status?open={brand_id}")[1])
    assert "at most 4.00 a minute" in listed and "breaker at 5.00 a minute" in listed
    ready.client.record_spend(campaign, "6")
    ready.status.refresh([brand_id])
    shown = visitor.get(f"/status?open={brand_id}")[1]
    assert "switched off by its breaker" in words(shown) and f"/campaigns/{campaign}/resume" in shown
    status, shown = visitor.post(f"/campaigns/{campaign}/resume", f"/status?open={brand_id}")
    assert status == 200 and "Its breaker is closed." in words(shown)
    assert ready.catalog.campaign(campaign).reasons == ()
    assert f"/campaigns/{campaign}/pause" in visitor.get(f"/status?open={brand_id}")[1]
