"""Pacing in the browser: set once the page has said what will happen, and shown as what is due by now."""

from __future__ import annotations

import re

import redis

from engine.domain.pass_rate import LEAST, MOST_ASKED
from engine.domain.periods import MINUTE_MS
from engine.live.keys import keys_of_brand
from engine.wiring import System
from tests.web.conftest import Visitor, brand_with
from tests.web.test_status_page import words
from web.formats import money


def test_a_pacing_is_said_before_it_is_made_and_the_brand_shows_what_is_due(ready: System, visitor: Visitor) -> None:
    brand_id, (campaign, *_) = brand_with(ready, campaigns=1)
    page = f"/brands/{brand_id}/edit"
    given = {"name": "Acme", "daily_budget": "1000", "monthly_budget": "none", "external_id": ""}
    row = ready.catalog.brand(brand_id)
    sent = given | {"pacing": "even", "catch_up": "150", "expected_version": str(row.version)}
    status, asked = visitor.post(page, **sent)
    assert status == 200
    assert "Nothing is changed yet. This will happen:" in words(asked)
    assert "This will happen: By now" in words(asked) and f"of {money(1_000_000_000)} are due" in words(asked)
    assert ready.catalog.brand(brand_id).pacing == "asap"
    # What was confirmed is that pacing and no other.
    status, asked = visitor.post(page, **sent | {"confirmed": "even,150", "pacing": "ahead"})
    assert (status, ready.catalog.brand(brand_id).pacing) == (200, "asap")
    status, _ = visitor.post(page, **sent | {"confirmed": "even,150"})
    assert status == 200
    assert (ready.catalog.brand(brand_id).pacing, ready.catalog.brand(brand_id).catch_up) == ("even", "150")
    assert "pacing even:" in words(visitor.get("/status")[1]) and "due by now" in words(visitor.get("/status")[1])
    ready.client.record_spend(campaign, "1")
    wrong = sent | {"expected_version": str(ready.catalog.brand(brand_id).version)}
    for field, value, said in (
        ("pacing", "slowly", "slowly"),
        ("pacing", "custom:none", "has no curve yet"),
        ("catch_up", "50", "use percent from 100"),
        ("daily_budget", "none", "spreads a daily budget, and there is none"),
    ):
        status, shown = visitor.post(page, **wrong | {field: value})
        assert (status, said in words(shown)) == (422, True), (field, words(shown))
    campaign_page = f"/campaigns/{campaign}/edit"
    one = ready.catalog.campaign(campaign)
    of_campaign = {
        "name": "One",
        "mode": "always",
        "daily_budget": "5",
        "monthly_budget": "none",
        "lifetime_budget": "none",
    }
    of_campaign |= {"pacing": "even", "catch_up": "asap", "expected_version": str(one.version), "external_id": ""}
    assert "This will happen" in words(visitor.post(campaign_page, **of_campaign)[1])
    visitor.post(campaign_page, **of_campaign | {"confirmed": "even,asap"})
    assert ready.catalog.campaign(campaign).pace == ("p=0,1000000,0",)


def test_the_line_of_a_paced_brand_says_which_part_of_its_offers_to_try_now(
    ready: System, visitor: Visitor, hot_redis: redis.Redis
) -> None:
    brand_id, _ = brand_with(ready, daily=1_000_000_000, campaigns=1)
    ready.manage.update_brand(brand_id, "ann", pacing="even")
    shown = words(visitor.get("/status")[1])
    assert ("due by now" in shown, "of offers to try now" in shown) == (True, False)
    # So much was asked, this minute and each before it, that one try in a thousand is enough; the next minute says the same.
    key = keys_of_brand(brand_id).brand(brand_id)
    hot_redis.hset(key, "s", f"{ready.live.now_ms() // MINUTE_MS},0,{MOST_ASKED},{MOST_ASKED},{LEAST}")
    assert ", 0.1 % of offers to try now" in words(visitor.get("/status")[1])


def test_the_choices_of_pacing_are_the_modes_and_the_curves_that_people_made(ready: System, visitor: Visitor) -> None:
    brand_id, _ = brand_with(ready, campaigns=1)
    ready.manage.put_curve("evenings", {0: ((0, 0), (64_800, 100_000), (86_100, 1_000_000))}, "ann")
    page = visitor.get(f"/brands/{brand_id}/edit")[1]
    offered = re.findall(
        r'<option( selected)? value="([^"]*)"', page[page.index('name="pacing"') : page.index("</select>")]
    )
    assert offered == [(" selected", "asap"), ("", "even"), ("", "ahead"), ("", "traffic"), ("", "custom:evenings")]
