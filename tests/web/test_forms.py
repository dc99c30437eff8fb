"""Everything that the catalog allows can be done in the browser, signed, without a word lost when it is refused."""

from __future__ import annotations

from flask import Flask

from engine.domain.budget import OwnLimits
from engine.domain.schedule import Schedule
from engine.wiring import System
from tests.web.conftest import HERE, Visitor, brand_with, spend_now
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


def test_a_campaign_gets_budgets_of_its_own_and_the_page_shows_what_is_spent_of_them(
    ready: System, visitor: Visitor
) -> None:
    brand_id, _ = brand_with(ready, campaigns=0)
    where = f"/brands/{brand_id}/campaigns/new"
    status, page = visitor.post(where, name="x", mode="always", daily_budget="-1", lifetime_budget="")
    assert status == 422
    assert "Daily budget '-1' is not a decimal amount" in words(page)
    assert "Lifetime budget is empty" in words(page)
    assert ready.catalog.campaigns(brand_id) == []
    assert 'value="none"' in visitor.get(where)[1]
    visitor.post(where, name="Night", mode="always", daily_budget="5", monthly_budget="none", lifetime_budget="7.5")
    (campaign,) = ready.catalog.campaigns(brand_id)
    assert campaign.limits == OwnLimits(5_000_000, None, 7_500_000)
    spend_now(ready, campaign.id, "5")
    said = words(visitor.get(f"/status?open={brand_id}")[1])
    assert "own daily budget 5.00 of 5.00 · lifetime budget 5.00 of 7.50" in said
    assert "paused: its own daily budget used up, again at" in said
    edit = f"/campaigns/{campaign.id}/edit"
    version = str(campaign.version)
    # A form that does not have the fields leaves them alone.
    visitor.post(edit, name="Day", mode="always", expected_version=version)
    assert ready.catalog.campaign(campaign.id).limits == campaign.limits
    status, page = visitor.post(edit, name="Day", mode="always", expected_version=version, daily_budget="9")
    assert "Somebody else changed this" in words(page)
    version = str(ready.catalog.campaign(campaign.id).version)
    _, page = visitor.post(edit, name="Day", mode="always", expected_version=version, daily_budget="none")
    assert "daily budget 5.00 → no limit" in words(page)
    assert ready.catalog.campaign(campaign.id).limits == OwnLimits(None, None, 7_500_000)


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


def test_zeros_after_the_sixth_decimal_of_a_budget_are_the_same_money(ready: System, visitor: Visitor) -> None:
    status, _ = visitor.post("/brands/new", name="Aurora", daily_budget="2.7500000000", monthly_budget="7.0000000")
    assert status == 200
    (brand,) = ready.catalog.brands()
    assert (brand.daily_budget_micros, brand.monthly_budget_micros) == (2_750_000, 7_000_000)
    status, page = visitor.post("/brands/new", name="Borealis", daily_budget="2.7500001")
    assert status == 422
    assert "more than six decimals" in words(page)


def test_a_taken_name_stands_beside_the_name(ready: System, visitor: Visitor) -> None:
    brand_with(ready, "Aurora")
    status, page = visitor.post("/brands/new", name="Aurora", daily_budget="7", monthly_budget="none")
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
    page = visitor.post(where, name="x", mode="window", start_time="09:00", end_time="")[1]
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
    fields = {"name": "Aurora", "daily_budget": "9", "monthly_budget": "none"}
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
    page = visitor.post(f"/campaigns/{campaign}/pause", "/status")[1]
    assert "Aurora 1 paused. It stays off until somebody resumes it." in page
    assert ready.live.read_brand(brand_id, 1).campaigns[campaign].reasons == ("manual",)  # type: ignore[union-attr]
    visitor.client.environ_base["HTTP_HX_REQUEST"] = "true"
    page = visitor.post(f"/campaigns/{campaign}/resume", "/status")[1]
    assert "<html" not in page
    assert "Aurora 1 resumed" in page
    assert ready.catalog.campaign(campaign).status == "active"


def test_archive_asks_first(ready: System, visitor: Visitor) -> None:
    brand_id, (campaign, other) = brand_with(ready, campaigns=2)
    status, page = visitor.get(f"/campaigns/{campaign}/archive")
    assert status == 200
    assert "You can bring it back" in page
    assert not ready.catalog.campaign(campaign).archived
    visitor.post(f"/campaigns/{campaign}/archive")
    assert ready.catalog.campaign(campaign).archived
    assert not ready.catalog.campaign(other).archived
    assert "Its 1 campaign stops at once" in words(visitor.get(f"/brands/{brand_id}/archive")[1])
    visitor.post(f"/brands/{brand_id}/archive")
    assert ready.catalog.brand(brand_id).archived
    assert "is archived: it changes no more" in visitor.post(f"/brands/{brand_id}/edit", "/status", name="x")[1]


def test_an_edit_form_that_lacks_a_field_or_leaves_it_empty_changes_nothing(ready: System, visitor: Visitor) -> None:
    brand_id, _ = brand_with(ready, daily=10_000_000)
    where = f"/brands/{brand_id}/edit"
    stands = ready.catalog.brand(brand_id)
    whole = {"name": "Renamed", "daily_budget": "5", "monthly_budget": "7", "expected_version": str(stands.version)}
    cases: list[tuple[dict[str, str], str]] = [
        ({"daily_budget": ""}, "Daily budget is empty: give an amount such as 100.00, or none for no limit"),
        ({"monthly_budget": "  "}, "Monthly budget is empty: give an amount"),
        ({"expected_version": ""}, "expected_version '' is not the version of a row"),
        ({"expected_version": "x"}, "expected_version 'x' is not the version of a row"),
        ({"name": ""}, "Name '' is blank"),
    ]
    for changed, said in cases:
        status, page = visitor.post(where, **whole | changed)
        assert (status, said in words(page)) == (422, True), changed
    for name in ("daily_budget", "monthly_budget", "expected_version"):
        status, page = visitor.post(where, **{field: value for field, value in whole.items() if field != name})
        assert status == 422, name
        assert f"nothing was sent for {name}" in words(page), name
    assert ready.catalog.brand(brand_id) == stands
    assert "Renamed saved" in words(visitor.post(where, **whole | {"daily_budget": "none"})[1])
    assert ready.catalog.brand(brand_id).daily_budget_micros is None


def test_a_new_brand_has_no_limit_only_where_somebody_said_so(ready: System, visitor: Visitor) -> None:
    assert visitor.post("/brands/new", name="Aurora")[0] == 422
    assert visitor.post("/brands/new", name="Aurora", daily_budget="", monthly_budget="")[0] == 422
    assert ready.catalog.brands() == []
    visitor.post("/brands/new", name="Aurora", daily_budget="None", monthly_budget="none")
    (brand,) = ready.catalog.brands()
    assert (brand.daily_budget_micros, brand.monthly_budget_micros) == (None, None)
    assert 'value="none"' in visitor.get(f"/brands/{brand.id}/edit")[1]


def test_a_campaign_runs_always_only_where_somebody_said_so(ready: System, visitor: Visitor) -> None:
    brand_id, (campaign,) = brand_with(ready)
    ready.manage.update_campaign(campaign, "Mia", schedule=Schedule.parse({"days": ["mon"]}))
    stands = ready.catalog.campaign(campaign)
    where = f"/campaigns/{campaign}/edit"
    whole = {"name": "Renamed", "expected_version": str(stands.version)}
    cases: list[tuple[dict[str, str], str]] = [
        ({}, "nothing was sent for mode"),
        ({"mode": "json"}, "nothing was sent for schedule_json"),
        ({"mode": "json", "schedule_json": ""}, "Schedule is empty: give windows such as"),
        ({"mode": "json", "schedule_json": "  "}, "or always for no windows"),
        ({"mode": "window"}, "nothing was sent for start_time"),
        ({"mode": "window", "start_time": "", "end_time": ""}, "tick a day, give hours, or choose Always"),
        ({"mode": "sometimes"}, "Not a valid choice"),
    ]
    for changed, said in cases:
        status, page = visitor.post(where, **whole | changed)
        assert (status, said in words(page)) == (422, True), changed
    status, page = visitor.post(where, name="Renamed", mode="always")
    assert (status, "nothing was sent for expected_version" in words(page)) == (422, True)
    assert ready.catalog.campaign(campaign) == stands
    assert visitor.post(f"/brands/{brand_id}/campaigns/new", name="Other")[0] == 422
    assert len(ready.catalog.campaigns(brand_id)) == 1
    visitor.post(where, **whole, mode="always")
    assert ready.catalog.campaign(campaign).schedule.always


def test_a_form_without_an_external_id_leaves_it_alone_and_an_emptied_one_takes_it_away(
    ready: System, visitor: Visitor
) -> None:
    brand_id, _ = brand_with(ready)
    ready.manage.update_brand(brand_id, "Mia", external_id="crm-7")
    fields = {"name": "Aurora", "daily_budget": "5", "monthly_budget": "none"}
    visitor.post(f"/brands/{brand_id}/edit", **fields, expected_version=str(ready.catalog.brand(brand_id).version))
    assert ready.catalog.brand(brand_id).external_id == "crm-7"
    version = str(ready.catalog.brand(brand_id).version)
    visitor.post(f"/brands/{brand_id}/edit", **fields, external_id="", expected_version=version)
    assert ready.catalog.brand(brand_id).external_id is None


def test_one_name_in_two_spellings_is_taken_and_an_unseen_sign_is_named(ready: System, visitor: Visitor) -> None:
    brand_with(ready, "Café")
    fields = {"daily_budget": "none", "monthly_budget": "none"}
    status, page = visitor.post("/brands/new", name="Cafe\u0301", **fields)
    assert (status, "is taken by another brand" in words(page)) == (422, True)
    status, page = visitor.post("/brands/new", name="Ac\u202eme", **fields)
    assert (status, "RIGHT-TO-LEFT OVERRIDE (U+202E)" in words(page)) == (422, True)


def test_an_archived_brand_is_brought_back_published_and_signed(ready: System, visitor: Visitor) -> None:
    brand_id, (campaign,) = brand_with(ready)
    page = visitor.post(f"/brands/{brand_id}/archive")[1]
    assert f'<a href="/brands/{brand_id}/unarchive">Bring it back</a>' in page
    where = f"/brands/{brand_id}/unarchive"
    assert "Bring brand “Aurora” back?" in words(visitor.get(where)[1])
    assert ready.catalog.brand(brand_id).archived, "asking changes nothing"
    page = visitor.post(where, name="Aurora")[1]
    assert "Brand Aurora is in use again" in words(page)
    brand = ready.catalog.brand(brand_id)
    assert (brand.archived, brand.published_version) == (False, brand.version)
    assert ready.catalog.campaign(campaign).status == "active"
    assert ready.client.try_spend(campaign, "1").outcome == "accepted"
    last = ready.overview.catalog_changes()[0]
    assert (last.actor, last.field, last.new) == ("web (no login)", "archived", "false")


def test_one_whose_name_was_taken_meanwhile_comes_back_under_another(ready: System, visitor: Visitor) -> None:
    old, (campaign,) = brand_with(ready)
    visitor.post(f"/brands/{old}/archive")
    brand_with(ready, "Aurora")
    status, page = visitor.post(f"/brands/{old}/unarchive", name="Aurora")
    assert status == 422
    assert 'id="name-error"' in page
    assert ready.catalog.brand(old).archived
    assert visitor.post(f"/brands/{old}/unarchive", name="")[0] == 422
    visitor.post(f"/brands/{old}/unarchive", name="Aurora of old")
    assert (ready.catalog.brand(old).name, ready.catalog.brand(old).archived) == ("Aurora of old", False)
    visitor.post(f"/campaigns/{campaign}/archive")
    page = visitor.get(f"/brands/{old}/edit")[1]
    assert f"/campaigns/{campaign}/unarchive" in page
    visitor.post(f"/campaigns/{campaign}/unarchive", name="Aurora 1")
    assert not ready.catalog.campaign(campaign).archived


def test_what_is_not_there_is_said_so(visitor: Visitor) -> None:
    for path in (
        "/brands/999/edit",
        "/campaigns/65999/edit",
        "/campaigns/5/edit",
        "/brands/99999999999999999999/edit",
        "/brands/%D9%A1/edit",
        "/brands/%EF%BC%91/spend",
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
