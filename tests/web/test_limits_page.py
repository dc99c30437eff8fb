"""Scheduled changes of budgets in the browser: made, said before they come, and cancelled."""

from __future__ import annotations

from engine.domain.flights import instant_text
from engine.domain.periods import HOUR_MS
from engine.wiring import System
from tests.web.conftest import Visitor, brand_with
from tests.web.test_status_page import words
from web.formats import readable


def soon(ready: System, hours: int) -> str:
    return instant_text(ready.live.now_ms() // 1000 * 1000 + hours * HOUR_MS)


def test_a_change_is_scheduled_said_on_the_brand_and_cancelled(ready: System, visitor: Visitor) -> None:
    brand_id, _ = brand_with(ready, campaigns=1)
    ready.manage.update_brand(brand_id, "anna", daily_budget_micros=100_000_000)
    page = f"/brands/{brand_id}/limits"
    at, until = soon(ready, 1), soon(ready, 2)
    status, shown = visitor.post(page, period="daily", change="percent:200", at=at, until=until)
    assert status == 200
    assert f"becomes 200.00 at {readable(at)}" in words(shown)
    assert f"200.00 from {readable(at)}" in words(shown)
    assert f"then 100.00 from {readable(until)}" in words(shown)
    assert f"the daily budget becomes 200.00 at {readable(at)}" in words(visitor.get(f"/status?open={brand_id}")[1])
    assert page in visitor.get(f"/brands/{brand_id}/edit")[1]
    change = ready.catalog.limits.every()[0].change.id
    status, shown = visitor.post(f"{page}/{change}/cancel", page)
    assert status == 200
    assert f"Change {change} of" in words(shown)
    assert ready.catalog.limits.every() == []


def test_a_campaign_s_own_budget_is_changed_by_schedule_and_its_page_says_so(ready: System, visitor: Visitor) -> None:
    brand_id, (campaign, *_) = brand_with(ready, campaigns=1)
    page = f"/campaigns/{campaign}/limits"
    status, _ = visitor.post(page, period="monthly", change="set:7", at="now", until="")
    assert status == 200
    assert ready.client.try_spend(campaign, "8").reasons == ("campaign_monthly_budget",)
    assert page in visitor.get(f"/campaigns/{campaign}/edit")[1]
    other = ready.catalog.limits.every()[0].change.id
    assert visitor.post(f"/brands/{brand_id}/limits/{other}/cancel", page)[0] == 404


def test_a_change_that_does_not_fit_is_refused_beside_its_field(ready: System, visitor: Visitor) -> None:
    brand_id, _ = brand_with(ready, campaigns=1)
    page, at = f"/brands/{brand_id}/limits", soon(ready, 1)
    for given, said in (
        ({"period": "daily", "change": "<script>", "at": at, "until": ""}, "is none: give set:200.00"),
        (
            {"period": "daily", "change": "set:1", "at": "tomorrow", "until": ""},
            "is no instant: give one by the clock of UTC",
        ),
        ({"period": "daily", "change": "set:1", "at": at, "until": at}, "is not after"),
        ({"period": "daily", "change": "set:1", "at": "2020-01-01T00:00Z", "until": ""}, "is in the past"),
        ({"period": "yearly", "change": "set:1", "at": at, "until": ""}, "Not a valid choice"),
    ):
        status, shown = visitor.post(page, **given)
        assert status == 422
        assert said in words(shown)
        assert (
            "<script>" not in shown.replace("<script src", "").replace("<script>document", "")
            or given["change"] != "<script>"
        )
    assert ready.catalog.limits.every() == []
