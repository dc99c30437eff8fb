"""The page of a brand: its sentence, today's course, campaigns, days with their budgets and what was changed; also while a server is away."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask import Flask
from sqlalchemy import text

from engine.wiring import System
from tests.patience import PATIENCE_S
from tests.web.conftest import HERE, Visitor, brand_with, spend_now
from web import create_app


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def sentence(page: str) -> str:
    found = re.search(r'id="sentence">.*?<span>(.*?)</span></p>', page, re.DOTALL)
    assert found is not None
    return found[1]


def row(page: str, row_id: str) -> str:
    """The words of a row."""
    (html,) = re.findall(rf'<tr[^>]*id="{row_id}".*?</tr>', page, re.DOTALL)
    return words(html)


@pytest.fixture
def aurora(ready: System) -> tuple[int, list[int]]:
    """A brand with a daily budget of 10.00, three campaigns and 4.00 spent."""
    brand_id, campaigns = brand_with(ready, "Aurora", daily=10_000_000, campaigns=3)
    spend_now(ready, campaigns[0], "4")
    return brand_id, campaigns


def test_the_head_says_how_many_run_and_why_the_others_do_not(
    ready: System, aurora: tuple[int, list[int]], visitor: Visitor
) -> None:
    brand_id, campaigns = aurora
    ready.manage.pause_campaign(campaigns[2], "Mia")
    page = visitor.get(f"/brands/{brand_id}?tab=campaigns")[1]
    assert sentence(page).startswith("2 of 3 run; ")
    assert "paused: switched off by a person" in row(page, f"campaign-{campaigns[2]}")
    spend_now(ready, campaigns[0], "7")
    page = visitor.get(f"/brands/{brand_id}?tab=campaigns")[1]
    assert sentence(page) == "0 of 3 run; the daily budget is used up until 00:00 UTC."
    assert visitor.get("/brands/4711")[0] == 404


def test_today_shows_what_is_spent_due_and_allowed_and_what_stopped_or_changed(
    ready: System, aurora: tuple[int, list[int]], visitor: Visitor
) -> None:
    brand_id, campaigns = aurora
    ready.manage.update_brand(brand_id, "Mia", daily_budget_micros=5_000_000)
    spend_now(ready, campaigns[0], "1.25")
    page = visitor.get(f"/brands/{brand_id}")[1]
    now = row(page, "by-now")
    assert now.startswith("now 5.25 ") and now.endswith(" 5.00"), now
    happened = words(re.findall(r'<section class="panel" id="marks">.*?</section>', page, re.DOTALL)[0])
    assert "daily budget 10.00 → 5.00, by Mia" in happened
    assert "3 campaigns stopped: daily budget used up" in happened
    assert "No forecast yet: brand" in page
    assert page.count('class="mark stop"') == 2 and page.count('class="mark budget"') == 2, (
        "in the chart and its legend"
    )


def test_each_of_31_days_has_its_own_budget_an_empty_one_too(
    ready: System, aurora: tuple[int, list[int]], visitor: Visitor
) -> None:
    brand_id, campaigns = aurora
    ready.manage.update_brand(brand_id, "Mia", daily_budget_micros=20_000_000)
    with ready.db.begin() as connection:
        # As if the brand were a week old, and its budget had been raised two days ago.
        connection.execute(
            text("UPDATE brand SET created_at = now() - interval '7 days' WHERE id = :id"), {"id": brand_id}
        )
        connection.execute(
            text(
                "UPDATE catalog_change SET at = at - interval '2 days' WHERE entity = 'brand' AND entity_id = :id AND field = 'daily_budget'"
            ),
            {"id": brand_id},
        )
        connection.execute(
            text("INSERT INTO campaign_day (day, campaign_id, brand_id, spend_micros, spends)"
                 " VALUES ((now() AT TIME ZONE 'UTC')::date - 4, :campaign, :id, 10000000, 3)"),
            {"id": brand_id, "campaign": campaigns[0]},
        )  # fmt: skip
    page = visitor.get(f"/brands/{brand_id}?tab=days")[1]
    days = [words(html) for html in re.findall(r'<tr[^>]*id="day-.*?</tr>', page, re.DOTALL)]
    assert len(days) == 31
    of = [day.removeprefix(day[:10]).removeprefix(" by the hour").split() for day in days]
    assert of[0] == ["4.00", "20.00", "20", "%", "1"]
    assert of[2] == ["0.00", "20.00", "0", "%", "0"], "the day of the raise ended with the new budget"
    assert of[4] == ["10.00", "10.00", "100", "%", "3"]
    assert of[8] == ["0.00", "–", "–", "0"], "the brand was not there"
    assert page.count('class="reached"') == 2


def test_activity_has_the_changes_of_this_brand_and_of_no_other(
    ready: System, aurora: tuple[int, list[int]], visitor: Visitor
) -> None:
    brand_id, campaigns = aurora
    other, _ = brand_with(ready, "Boreal")
    ready.manage.update_brand(other, "Lea", daily_budget_micros=1)
    ready.manage.pause_campaign(campaigns[0], "Mia")
    page = visitor.get(f"/brands/{brand_id}?tab=activity")[1]
    assert "Boreal" not in page and "Lea" not in page
    assert "Mia" in page and "switched off by a person" in page
    oldest = min(map(int, re.findall(r'id="change-(\d+)"', page)))
    assert "There are no older changes." in visitor.get(f"/brands/{brand_id}?tab=activity&before={oldest}")[1]


def test_settings_have_what_stands_and_a_viewer_gets_no_button(aurora: tuple[int, list[int]], visitor: Visitor) -> None:
    page = visitor.get(f"/brands/{aurora[0]}?tab=settings")[1]
    assert "Daily budget 10.00" in words(page) and "Time zone UTC" in words(page)
    assert f'href="/brands/{aurora[0]}/edit"' in page
    assert visitor.get(f"/brands/{aurora[0]}?tab=nothing")[0] == 400


def test_a_poll_of_what_has_not_changed_has_no_body_and_one_after_a_pause_has(
    ready: System, app: Flask, aurora: tuple[int, list[int]]
) -> None:
    brand_id, campaigns = aurora
    client, path = app.test_client(), f"/brands/{brand_id}/live?tab=campaigns"
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:  # a minute may end in between, or an age be told in seconds on a busy machine
        first = client.get(path, base_url=HERE)
        assert first.status_code == 200 and first.headers["ETag"]
        again = client.get(path, base_url=HERE, headers={"If-None-Match": first.headers["ETag"]})
        if again.status_code == 304:
            break
    assert (again.status_code, again.data) == (304, b"")
    ready.manage.pause_campaign(campaigns[0], "Mia")
    assert client.get(path, base_url=HERE, headers={"If-None-Match": first.headers["ETag"]}).status_code == 200


def test_a_pause_answers_htmx_with_the_message_alone_and_without_a_script_with_the_same_page(
    app: Flask, visitor: Visitor, aurora: tuple[int, list[int]]
) -> None:
    brand_id, campaigns = aurora
    here = f"{HERE}/brands/{brand_id}?tab=campaigns"
    token = re.findall(r'name="csrf_token" value="([^"]+)"', visitor.get(here.removeprefix(HERE))[1])[0]
    answer = visitor.client.post(
        f"/campaigns/{campaigns[0]}/pause", base_url=HERE, data={"csrf_token": token},
        headers={"Origin": HERE, "HX-Request": "true", "HX-Current-URL": here},
    )  # fmt: skip
    said = answer.get_data(as_text=True)
    assert "paused. It stays off until somebody resumes it." in said and 'id="parts"' not in said
    answer = visitor.client.post(
        f"/campaigns/{campaigns[0]}/resume", base_url=HERE, data={"csrf_token": token},
        headers={"Origin": HERE, "Referer": here},
    )  # fmt: skip
    assert answer.headers["Location"] == here.removeprefix(HERE)


@pytest.fixture
def without_redis(ready: System) -> Iterator[Visitor]:
    lost = System(replace(ready.settings, redis_url="redis://:hush@127.0.0.1:1/0"))
    yield Visitor(create_app(lost).test_client())
    lost.close()


def test_with_redis_away_the_page_names_it_and_shows_the_logs_figures(
    aurora: tuple[int, list[int]], without_redis: Visitor
) -> None:
    for tab in ("", "?tab=campaigns", "?tab=days", "?tab=activity", "?tab=settings"):
        status, page = without_redis.get(f"/brands/{aurora[0]}{tab}")
        assert status == 200, tab
        assert "Redis" in page and "127.0.0.1:1" in page and "hush" not in page, tab
    assert "4.00" in without_redis.get(f"/brands/{aurora[0]}")[1]


def test_with_postgresql_away_the_course_that_was_read_last_stays_with_its_age(
    ready: System, app: Flask, aurora: tuple[int, list[int]]
) -> None:
    visitor, brand_id = Visitor(app.test_client()), aurora[0]
    assert row(visitor.get(f"/brands/{brand_id}")[1], "by-now").startswith("now 4.00")
    here, there = ready.courses._db, System(replace(ready.settings, database_url="postgresql://x:hush@127.0.0.1:1/b"))
    ready.courses._db, ready.courses._courses._kept_s = there.db, 0.0
    try:
        status, page = visitor.get(f"/brands/{brand_id}")
    finally:
        ready.courses._db, ready.courses._courses._kept_s = here, 2.0
        there.close()
    assert status == 200
    assert "PostgreSQL is away" in page and "127.0.0.1:1" in page and "hush" not in page
    assert re.search(r"What is below is \d+ s old", page) and row(page, "by-now").startswith("now 4.00")
