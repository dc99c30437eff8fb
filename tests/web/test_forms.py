"""Everything that the catalog allows can be done in the browser, signed, without a word lost when it is refused."""

from __future__ import annotations

from flask import Flask

from engine.domain.schedule import Schedule
from engine.wiring import System
from tests.web.conftest import HERE, Visitor, brand_with
from tests.web.test_status_page import words


def test_a_brand_and_its_campaign_are_created_published_and_signed(ready: System, visitor: Visitor) -> None:
    status, page = visitor.post(
        "/brands/new", name=" Aurora ", daily_budget="100", monthly_budget="2000.5", external_id="crm-7"
    )
    assert status == 200
    assert "New campaign of Aurora" in page
    (brand,) = ready.catalog.brands()
    assert (brand.name, brand.daily_budget_micros, brand.monthly_budget_micros) == (
        "Aurora",
        100_000_000,
        2_000_500_000,
    )
    assert (brand.external_id, brand.published_version) == ("crm-7", brand.version)
    window: dict[str, object] = {"mode": "window", "days": ["mon", "tue"], "start_time": "09:00", "end_time": "17:00"}
    status, page = visitor.post(f"/brands/{brand.id}/campaigns/new", None, name="Night", **window)
    assert status == 200
    (campaign,) = ready.catalog.campaigns(brand.id)
    assert str(campaign.id) in page
    assert campaign.schedule == Schedule.parse({"days": ["mon", "tue"], "start_time": "09:00", "end_time": "17:00"})
    assert {line.actor for line in ready.overview.catalog_changes()} == {"web (no login)"}


def test_several_windows_go_as_json(ready: System, visitor: Visitor) -> None:
    brand_id, _ = brand_with(ready, campaigns=0)
    text = '[{"days": ["sat"]}, {"start_time": "22:00", "end_time": "06:00"}]'
    visitor.post(f"/brands/{brand_id}/campaigns/new", name="Night", mode="json", schedule_json=text)
    (campaign,) = ready.catalog.campaigns(brand_id)
    assert campaign.schedule == Schedule.parse(text)


def test_a_refused_form_keeps_what_was_typed_and_says_why_beside_the_field(ready: System, visitor: Visitor) -> None:
    status, page = visitor.post("/brands/new", name="Aurora", daily_budget="1,000", monthly_budget="-3")
    assert status == 422
    assert 'value="1,000"' in page
    assert 'value="Aurora"' in page
    assert 'aria-describedby="daily_budget-error daily_budget-hint"' in page
    said = words(page)
    assert "Daily budget '1,000' is not a decimal amount" in said
    assert "Monthly budget '-3' is not a decimal amount" in said
    assert "2 fields need another look" in said
    assert ready.catalog.brands() == []


def test_a_taken_name_stands_beside_the_name(ready: System, visitor: Visitor) -> None:
    brand_with(ready, "Aurora")
    status, page = visitor.post("/brands/new", name="Aurora", daily_budget="7")
    assert status == 422
    assert 'id="name-error"' in page
    assert "is taken by another brand" in page
    assert 'value="7"' in page


def test_each_wrong_part_of_a_schedule_is_named_where_it_was_typed(ready: System, visitor: Visitor) -> None:
    brand_id, _ = brand_with(ready)
    where = f"/brands/{brand_id}/campaigns/new"
    page = visitor.post(where, name="x", mode="window", start_time="9:00", end_time="17:00")[1]
    assert 'id="start_time-error"' in page
    assert "From '9:00' is not a time" in words(page)
    assert "schedule." not in words(page).lower()
    page = visitor.post(where, name="x", mode="window", start_time="09:00")[1]
    assert 'id="end_time-error"' in page
    assert "Until is missing: give both start time and end time" in words(page)
    page = visitor.post(where, name="x", mode="json", schedule_json='[{"days": ["mo"]}]')[1]
    assert 'id="schedule_json-error"' in page
    assert "Window 1, day 1 'mo' is not a day" in words(page)
    page = visitor.post(where, name="x", mode="json", schedule_json="{nonsense")[1]
    assert "{nonsense</textarea>" in page


def test_a_stale_form_saves_nothing_shows_what_stands_now_and_may_be_sent_again(
    ready: System, visitor: Visitor
) -> None:
    brand_id, _ = brand_with(ready, daily=1_000_000)
    version = ready.catalog.brand(brand_id).version
    ready.manage.update_brand(brand_id, "Mia", daily_budget_micros=5_000_000)
    fields = {"name": "Aurora", "daily_budget": "9", "monthly_budget": ""}
    status, page = visitor.post(f"/brands/{brand_id}/edit", **fields, expected_version=str(version))
    assert status == 422
    assert "Somebody else changed this while you were editing" in page
    assert "Now: 5.00" in words(page)
    assert 'value="9"' in page
    assert ready.catalog.brand(brand_id).daily_budget_micros == 5_000_000
    now = ready.catalog.brand(brand_id).version
    assert f'name="expected_version" type="hidden" value="{now}"' in page
    visitor.post(f"/brands/{brand_id}/edit", **fields, expected_version=str(now))
    assert ready.catalog.brand(brand_id).daily_budget_micros == 9_000_000


def test_the_edit_forms_begin_with_what_stands(ready: System, visitor: Visitor) -> None:
    brand_id, (campaign,) = brand_with(ready, daily=1_234_567_890_000)
    assert 'value="1234567.89"' in visitor.get(f"/brands/{brand_id}/edit")[1]
    windows = [{"days": ["sat"]}, {"start_time": "22:00", "end_time": "06:00"}]
    ready.manage.update_campaign(campaign, "Mia", schedule=Schedule.parse(windows))
    page = visitor.get(f"/campaigns/{campaign}/edit")[1]
    assert "22:00" in page
    visitor.post(
        f"/campaigns/{campaign}/edit",
        name="Renamed",
        mode="always",
        expected_version=str(ready.catalog.campaign(campaign).version),
    )
    assert ready.catalog.campaign(campaign).schedule.always
    assert ready.catalog.campaign(campaign).name == "Renamed"


def test_pause_and_resume_work_as_a_form_and_from_the_fragment(ready: System, visitor: Visitor) -> None:
    brand_id, (campaign,) = brand_with(ready)
    page = visitor.post(f"/campaigns/{campaign}/pause", "/")[1]
    assert "Aurora 1 paused. It stays off until somebody resumes it." in page
    assert ready.live.read_brand(brand_id, 1).campaigns[campaign].reasons == ("manual",)  # type: ignore[union-attr]
    visitor.client.environ_base["HTTP_HX_REQUEST"] = "true"
    page = visitor.post(f"/campaigns/{campaign}/resume", "/")[1]
    assert "<html" not in page
    assert "Aurora 1 resumed" in page
    assert ready.catalog.campaign(campaign).status == "active"


def test_archive_asks_first(ready: System, visitor: Visitor) -> None:
    brand_id, (campaign, other) = brand_with(ready, campaigns=2)
    status, page = visitor.get(f"/campaigns/{campaign}/archive")
    assert status == 200
    assert "cannot be undone" in page
    assert not ready.catalog.campaign(campaign).archived
    visitor.post(f"/campaigns/{campaign}/archive")
    assert ready.catalog.campaign(campaign).archived
    assert not ready.catalog.campaign(other).archived
    assert "Its 1 campaign stops at once" in words(visitor.get(f"/brands/{brand_id}/archive")[1])
    visitor.post(f"/brands/{brand_id}/archive")
    assert ready.catalog.brand(brand_id).archived
    assert "is archived: it changes no more" in visitor.post(f"/brands/{brand_id}/edit", "/", name="x")[1]


def test_what_is_not_there_is_said_so(visitor: Visitor) -> None:
    for path in (
        "/brands/999/edit",
        "/campaigns/65999/edit",
        "/campaigns/5/edit",
        "/brands/99999999999999999999/edit",
        "/nowhere",
    ):
        status, page = visitor.get(path)
        assert status == 404, path
        assert "Traceback" not in page
        assert "brand list" not in page
        assert "campaign list" not in page


def test_nothing_changes_without_the_token_or_from_elsewhere(app: Flask, ready: System) -> None:
    _, (campaign,) = brand_with(ready)
    client = app.test_client()
    where = f"/campaigns/{campaign}/pause"
    assert client.post(where, base_url=HERE, headers={"Origin": HERE}).status_code == 400
    assert client.post(where, base_url=HERE, headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.post(where, base_url=HERE, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.post(where, base_url=HERE).status_code == 403
    assert client.get(where, base_url=HERE).status_code == 405
    assert ready.catalog.campaign(campaign).enabled
