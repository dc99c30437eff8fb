"""Scheduled changes of budgets in the browser: made, said before they come, and cancelled."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

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
    status, shown = visitor.post(page, period="daily", how="up_percent", amount="100", at=at, until=until)
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
    status, _ = visitor.post(page, period="monthly", how="set", amount="7", at="now", until="")
    assert status == 200
    assert ready.client.try_spend(campaign, "8").reasons == ("campaign_monthly_budget",)
    assert page in visitor.get(f"/campaigns/{campaign}/edit")[1]
    other = ready.catalog.limits.every()[0].change.id
    assert visitor.post(f"/brands/{brand_id}/limits/{other}/cancel", page)[0] == 404


def test_a_change_that_does_not_fit_is_refused_beside_its_field(ready: System, visitor: Visitor) -> None:
    brand_id, _ = brand_with(ready, campaigns=1)
    page, at = f"/brands/{brand_id}/limits", soon(ready, 1)
    for given, said in (
        (
            {"period": "daily", "how": "set", "amount": "<script>", "at": at, "until": ""},
            "Amount or percent '<script>' is not a decimal amount",
        ),
        ({"period": "daily", "how": "up", "amount": "", "at": at, "until": ""}, "Amount or percent is empty"),
        ({"period": "daily", "how": "down_percent", "amount": "100", "at": at, "until": ""}, "leaves nothing"),
        ({"period": "daily", "how": "twice", "amount": "1", "at": at, "until": ""}, "Not a valid choice"),
        (
            {"period": "daily", "how": "set", "amount": "1", "at": "tomorrow", "until": ""},
            "is no instant: give one by the clock of UTC",
        ),
        ({"period": "daily", "how": "set", "amount": "1", "at": at, "until": at}, "is not after"),
        ({"period": "daily", "how": "set", "amount": "1", "at": "2020-01-01T00:00Z", "until": ""}, "is in the past"),
        ({"period": "yearly", "how": "set", "amount": "1", "at": at, "until": ""}, "Not a valid choice"),
    ):
        status, shown = visitor.post(page, **given)
        assert status == 422
        assert said in words(shown)
        assert (
            "<script>" not in shown.replace("<script src", "").replace("<script>document", "")
            or given["amount"] != "<script>"
        )
    assert ready.catalog.limits.every() == []


@pytest.mark.parametrize(
    ("how", "amount", "becomes"),
    [
        ("set", "30", "30.00"), ("none", "", "unlimited"), ("up_percent", "50", "150.00"), ("down_percent", "25", "75.00"),
        ("up", "2.50", "102.50"), ("down", "1", "99.00"),
    ],
)  # fmt: skip
def test_what_a_change_will_do_is_said_before_it_is_scheduled_and_nothing_is_written(
    ready: System, visitor: Visitor, how: str, amount: str, becomes: str
) -> None:
    brand_id, _ = brand_with(ready, campaigns=1)
    ready.manage.update_brand(brand_id, "anna", daily_budget_micros=100_000_000)
    page, at, until = f"/brands/{brand_id}/limits", soon(ready, 1), soon(ready, 2)
    given = {"period": "daily", "how": how, "amount": amount, "at": at, "until": until}
    said = (f"becomes {becomes} at {readable(at)}", f"is again 100.00 at {readable(until)}")
    status, fragment = visitor.get(f"{page}?{urlencode(given)}", **{"HX-Request": "true"})
    assert status == 200 and "<html" not in fragment and all(each in words(fragment) for each in said)
    status, shown = visitor.post(page, look="1", **given)
    assert status == 200 and all(each in words(shown) for each in said)
    assert ready.catalog.limits.every() == []


def test_a_scheduled_budget_is_chosen_in_the_browser_without_typing_a_formula(
    ready: System, opened: Callable[..., Page]
) -> None:
    brand_id, _ = brand_with(ready, campaigns=1)
    ready.manage.update_brand(brand_id, "anna", daily_budget_micros=100_000_000)
    page = opened(f"/brands/{brand_id}/limits")
    page.select_option("#how", "down_percent")
    page.fill("#amount", "100")
    expect(page.locator("#follows")).to_contain_text("leaves nothing")
    page.fill("#amount", "40")
    page.fill("#at", "2027-03-01T18:30")
    page.fill("#until", "2027-03-02T06:00")
    expect(page.locator("#follows")).to_contain_text("becomes 60.00 at")
    expect(page.locator("#follows")).to_contain_text("is again 100.00 at")
    page.click("text=Schedule change")
    expect(page.locator("table.stack tbody")).to_contain_text("60.00 from 01 Mar 2027 18:30")
    (one,) = ready.catalog.limits.every()
    assert (one.change.kind, one.change.value) == ("percent", 60_000_000)
