"""After an action a person is told what changed, from what to what, and what follows; of nothing, that nothing changed."""

from __future__ import annotations

import re

from engine.domain.schedule import Schedule
from engine.wiring import System
from tests.web.conftest import Visitor, brand_with, spend_now
from tests.web.test_status_page import words


def told(page: str) -> str:
    """The messages of a page or of an answer to a button."""
    found = re.findall(r'(?s)<section class="toast.*?</section>', page)
    return " | ".join(words(one).removesuffix(" Dismiss").removesuffix(" Undo What changed") for one in found)


def saved(ready: System, visitor: Visitor, brand_id: int, **fields: str) -> str:
    brand = ready.catalog.brand(brand_id)
    given = {
        "name": brand.name,
        "expected_version": str(brand.version),
        "daily_budget": "none",
        "monthly_budget": "none",
    }
    return told(visitor.post(f"/brands/{brand_id}/edit", **{**given, **fields})[1])


def test_a_saved_budget_says_from_what_to_what_and_how_many_campaigns_start_again(
    ready: System, visitor: Visitor
) -> None:
    brand_id, (one, _, _) = brand_with(ready, daily=5_000_000, campaigns=3)
    spend_now(ready, one, "9")
    said = saved(ready, visitor, brand_id, daily_budget="12")
    assert said == "Brand Aurora saved: daily budget 5.00 → 12.00. 3 campaigns start again."
    said = saved(ready, visitor, brand_id, daily_budget="5")
    assert said == "Brand Aurora saved: daily budget 12.00 → 5.00. 3 campaigns stop at once."
    said = saved(ready, visitor, brand_id, daily_budget="6", name="Boreal")
    assert said == (
        "Brand Boreal saved: name Aurora → Boreal; daily budget 5.00 → 6.00. No campaign starts or stops by it."
    )


def test_saving_what_stands_already_says_that_nothing_changed(ready: System, visitor: Visitor) -> None:
    brand_id, (campaign,) = brand_with(ready, daily=5_000_000)
    assert saved(ready, visitor, brand_id, daily_budget="5.00") == "Nothing changed: Aurora was like that already."
    version = ready.catalog.campaign(campaign).version
    page = visitor.post(f"/campaigns/{campaign}/edit", name="Aurora 1", mode="always", expected_version=str(version))[1]
    assert told(page) == "Nothing changed: Aurora 1 was like that already."
    visitor.post(f"/campaigns/{campaign}/pause", "/status")
    assert told(visitor.post(f"/campaigns/{campaign}/pause", "/status")[1]).startswith("Nothing changed")


def test_a_daily_budget_above_the_months_is_kept_and_gets_a_word(ready: System, visitor: Visitor) -> None:
    page = visitor.post("/brands/new", name="Aurora", daily_budget="100", monthly_budget="50")[1]
    word = "The daily budget (100.00) is above the monthly one (50.00), which is used up first. Is one of them a slip?"
    assert word in told(page)
    (brand,) = ready.catalog.brands()
    assert (brand.daily_budget_micros, brand.monthly_budget_micros) == (100_000_000, 50_000_000)
    assert word not in saved(ready, visitor, brand.id, name="Other", daily_budget="100", monthly_budget="50")
    assert "above the monthly" not in saved(ready, visitor, brand.id, daily_budget="50", monthly_budget="50")


def test_a_resumed_campaign_says_whether_it_runs_and_why_it_does_not(ready: System, visitor: Visitor) -> None:
    _, (campaign,) = brand_with(ready, daily=5_000_000)
    visitor.post(f"/campaigns/{campaign}/pause", "/status")
    assert "It runs now." in told(visitor.post(f"/campaigns/{campaign}/resume", "/status")[1])
    visitor.post(f"/campaigns/{campaign}/pause", "/status")
    spend_now(ready, campaign, "5")
    said = told(visitor.post(f"/campaigns/{campaign}/resume", "/status")[1])
    assert "It does not run now: daily budget used up, again at 00:00 UTC." in said


def test_a_new_schedule_is_told_in_words(ready: System, visitor: Visitor) -> None:
    _, (campaign,) = brand_with(ready)
    fields: dict[str, object] = {"mode": "json", "schedule_json": '{"start_time": "00:00", "end_time": "24:00"}'}
    version = str(ready.catalog.campaign(campaign).version)
    page = visitor.post(f"/campaigns/{campaign}/edit", name="Aurora 1", expected_version=version, **fields)[1]
    assert ready.catalog.campaign(campaign).schedule == Schedule.parse(fields["schedule_json"])
    assert "Campaign Aurora 1 saved: schedule always → " in told(page)


def test_archiving_a_brand_says_how_many_campaigns_stop(ready: System, visitor: Visitor) -> None:
    brand_id, _ = brand_with(ready, campaigns=2)
    said = told(visitor.post(f"/brands/{brand_id}/archive")[1])
    assert said == "Brand Aurora archived. Bring it back 2 campaigns stop at once."


def test_a_message_is_told_once_on_the_next_page_and_a_button_is_answered_with_it_alone(
    ready: System, visitor: Visitor
) -> None:
    _, (campaign,) = brand_with(ready)
    page = visitor.post(f"/campaigns/{campaign}/pause", "/status")[1]
    assert "It stays off until somebody resumes it." in told(page)
    assert page.index('id="toasts"') > page.index("</main>")
    assert told(visitor.get("/status")[1]) == ""
    visitor.client.environ_base["HTTP_HX_REQUEST"] = "true"
    answer = visitor.post(f"/campaigns/{campaign}/resume", "/status")[1]
    assert "Aurora 1 resumed" in told(answer)
    assert told(answer.partition("<template")[0]) == told(answer)
    visitor.client.environ_base.pop("HTTP_HX_REQUEST")
    assert told(visitor.get("/status")[1]) == ""


def test_a_button_that_is_refused_is_answered_where_no_refresh_wipes_it(ready: System, visitor: Visitor) -> None:
    _, (campaign,) = brand_with(ready)
    visitor.get("/status")
    ready.manage.archive_campaign(campaign, "Mia")
    visitor.client.environ_base["HTTP_HX_REQUEST"] = "true"
    status, answer = visitor.post(f"/campaigns/{campaign}/pause", "/status")
    assert status == 409
    assert "That was refused" in told(answer)
    assert "Nothing was changed." in told(answer)
    status, answer = visitor.post("/campaigns/999999/pause", "/status")
    assert (status, "Not found" in told(answer)) == (404, True)
