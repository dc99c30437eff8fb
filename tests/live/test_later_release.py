"""A bidder of this release beside scripts of a later one: what it does not know reads as `other`, and lines may be longer than it knows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from engine import BudgetClient, Spend
from engine.client.leases.calls import asks_lease, read_grant
from engine.client.sync import read_status
from engine.domain.causes import OTHER
from engine.live.admin import LiveRedis
from engine.live.plans import read_brand_line, read_campaign_line
from engine.live.replies import Counted, Figures, read_figures, spend_result, spend_results
from engine.live.transport.pool import ConnectionPool, Reply
from tests.later_release import later_release
from tests.live.plant import BRAND, CAMPAIGN, Plant


@pytest.fixture
def later() -> Iterator[None]:
    with later_release():
        yield


@pytest.mark.usefixtures("later")
def test_a_budget_of_a_later_release_refuses_and_stops_as_other(
    plant: Plant, client: BudgetClient, wire: ConnectionPool, live: LiveRedis
) -> None:
    plant.brand(monthly="2")
    assert client.try_spend(CAMPAIGN, "1")
    assert client.record_spend(CAMPAIGN, "1").reasons == (OTHER,)
    for refused in (
        client.try_spend(CAMPAIGN, "1"),
        client.try_spend(CAMPAIGN, "1", event_id="win"),
        client.try_spends([Spend(CAMPAIGN, "1")])[0],
        client.reserve(CAMPAIGN, "1"),
    ):
        assert (refused.outcome, refused.reasons) == ("refused", (OTHER,))
    assert [result.reasons for result in client.record_spends([Spend(CAMPAIGN, "1")] * 2)] == [(OTHER,)] * 2
    assert client.refund(CAMPAIGN, "1", "nobody").reasons == (OTHER,)
    assert read_grant(wire.call(asks_lease(CAMPAIGN, "lease", 5, 1000, 1), 5)).reasons == (OTHER,)
    status = client.status(CAMPAIGN)
    assert (status.status, status.reasons, bool(status)) == ("paused", (OTHER,), False)
    brand = live.read_brand(BRAND, 1)
    assert brand is not None
    assert brand.campaigns[CAMPAIGN].reasons == (OTHER,)


@pytest.mark.usefixtures("later")
def test_the_journal_of_a_later_release_reads_with_its_budget_as_other(
    plant: Plant, client: BudgetClient, plain: redis.Redis
) -> None:
    plant.brand(monthly="2")
    with plain.pubsub() as channel:
        channel.subscribe(f"budget:{{{BRAND % 64}}}:changes")
        client.record_spend(CAMPAIGN, "2")
        ((brand_id, cause, direction),) = [
            (change.brand_id, change.cause, change.direction) for entry in plant.entries() for change in entry.changes
        ]
    assert (brand_id, cause, direction) == (BRAND, OTHER, "exhausted")


def test_a_line_with_a_field_more_reads_as_the_fields_that_are_known() -> None:
    reply: Reply = [b"ok", b"k*1", b"81:5:7:10::99:x", b"5308417:8:60"]
    one = spend_result(reply, CAMPAIGN, "recorded")
    assert (one.reasons, one.figures and one.figures.daily_limit) == (("daily_budget",), 10)
    assert spend_results(reply, [CAMPAIGN], "recorded")[0].reasons == ("daily_budget",)
    (counted,) = Counted([CAMPAIGN], [CAMPAIGN]).told(reply, "recorded") or ()
    assert counted.reasons == ("daily_budget",)
    figures, masks = read_figures(reply)
    assert (figures[BRAND].monthly_spend, figures[BRAND].monthly_limit, masks) == (7, None, {CAMPAIGN: 8})
    assert Figures(b"81:5:7:10:20:30").causes() == ()


def test_a_plan_s_line_with_a_field_more_reads_as_the_fields_that_are_known() -> None:
    campaign = read_campaign_line(CAMPAIGN, "3:1:8:5:7:later")
    assert (campaign.reasons, campaign.daily_spend, campaign.monthly_spend) == (("daily_budget",), 5, 7)
    brand = read_brand_line(BRAND, [b"ok", b"1", b"2", b"3:0:10::5:7:100::later:1"], {})
    assert (brand.daily_limit, brand.monthly_limit, brand.daily_spend, brand.budgets[0].since_ms) == (
        10,
        None,
        5,
        100,
    )
    reply: Reply = [b"ok", b"1", b"2", b"", b"3:1:1073741832:5:7:later"]
    assert read_status(reply, CAMPAIGN).reasons == ("daily_budget", OTHER)
