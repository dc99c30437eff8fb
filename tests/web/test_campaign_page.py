"""The page of a campaign: one sentence with one time, why a person stopped it, when it ran, its spends with their ids, its history."""

from __future__ import annotations

import re
import time

import pytest
from flask import Flask

from engine.domain.periods import DAY_MS, HOUR_MS
from engine.views.strip import ran_ms, stretches, within
from engine.wiring import System
from tests.patience import PATIENCE_S
from tests.web.conftest import HERE, Visitor, brand_with, spend_now
from tests.web.test_brand_page import sentence, words


@pytest.fixture
def dawn(ready: System) -> int:
    """A campaign of a brand of 10.00 a day."""
    return brand_with(ready, "Aurora", daily=10_000_000)[1][0]


def part(page: str, section_id: str) -> str:
    """The words of a section."""
    (html,) = re.findall(rf'<section[^>]*id="{section_id}".*?</section>', page, re.DOTALL)
    return words(html)


def test_a_pause_says_who_why_and_stays_on_the_page(ready: System, app: Flask, visitor: Visitor, dawn: int) -> None:
    page = visitor.get(f"/campaigns/{dawn}")[1]
    assert sentence(page).strip() == "Active."
    token = re.findall(r'name="csrf_token" value="([^"]+)"', page)[0]
    answer = visitor.client.post(
        f"/campaigns/{dawn}/pause", base_url=HERE, data={"csrf_token": token, "note": " The creative is wrong "},
        headers={"Origin": HERE, "Referer": f"{HERE}/campaigns/{dawn}"},
    )  # fmt: skip
    assert answer.headers["Location"] == f"/campaigns/{dawn}"
    page = visitor.get(f"/campaigns/{dawn}")[1]
    assert "Paused: switched off by a person" in sentence(page)
    assert "<q>The creative is wrong</q>" in page
    assert "The creative is wrong" in part(page, "history")
    assert "ran" in part(page, "strips") and "switched off by a person" in part(page, "strips")
    ready.manage.resume_campaign(dawn, "Mia", "It is right now")
    page = visitor.get(f"/campaigns/{dawn}")[1]
    assert 'id="why-off"' not in page and "It is right now" in part(page, "history")


def test_a_reason_that_is_too_long_pauses_nothing(ready: System, visitor: Visitor, dawn: int) -> None:
    status, page = visitor.post(f"/campaigns/{dawn}/pause", page=f"/campaigns/{dawn}", note="x" * 1001)
    assert status == 400 and "too long" in page
    assert ready.catalog.campaign(dawn).enabled


def test_used_up_it_names_one_time_and_its_spends_have_their_event_ids(
    ready: System, visitor: Visitor, dawn: int
) -> None:
    ready.client.record_spend(dawn, "4", event_id="win-1")
    spend_now(ready, dawn, "6")
    page = visitor.get(f"/campaigns/{dawn}")[1]
    assert "daily budget used up, again at 00:00 UTC" in sentence(page)
    assert "win-1" in part(page, "spends") and "no event id" in part(page, "spends")
    assert visitor.get(f"/campaigns/{dawn + 40}")[0] == 404


def test_a_poll_of_what_has_not_changed_has_no_body(app: Flask, dawn: int) -> None:
    client, path = app.test_client(), f"/campaigns/{dawn}/live"
    client.get(path, base_url=HERE)
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:  # a minute may end in between, or an age be told in seconds on a busy machine
        first = client.get(path, base_url=HERE)
        again = client.get(path, base_url=HERE, headers={"If-None-Match": first.headers["ETag"]})
        if again.status_code == 304:
            break
    assert (again.status_code, again.data) == (304, b"")


def test_a_strip_has_each_stretch_and_nothing_of_the_time_before_it_was_known() -> None:
    now = 100 * DAY_MS
    found = stretches(
        [(now - 9 * DAY_MS, ()), (now - DAY_MS, ("daily_budget",)), (now - 2 * HOUR_MS, ("daily_budget", "manual"))],
        now - 7 * DAY_MS,
        now,
    )
    assert [(one.kind, one.until_ms - one.since_ms) for one in found] == [
        ("running", 6 * DAY_MS), ("budget", 22 * HOUR_MS), ("switch", 2 * HOUR_MS),
    ]  # fmt: skip
    assert ran_ms(found) == 6 * DAY_MS and ran_ms(within(found, now - 30 * HOUR_MS)) == 6 * HOUR_MS
    assert stretches([(now - HOUR_MS, ())], now - DAY_MS, now)[0].since_ms == now - HOUR_MS
    assert stretches([], now - DAY_MS, now) == ()
