"""A watcher of this release hears a later one: a budget that it does not know stops the brand as `other`, longer messages read as far as it knows."""

from __future__ import annotations

import redis

from engine import BudgetClient, Watch
from engine.client.watch.messages import BudgetMoved, CampaignSnapshot, PlanPublished, read_message
from engine.domain.causes import OTHER
from engine.live.admin import LiveRedis
from engine.live.keys import keys_of_brand
from tests.later_release import later_release
from tests.live.plant import BRAND, CAMPAIGN, Plant
from tests.watch.conftest import until


def test_a_message_with_more_words_and_fields_reads_as_those_that_are_known() -> None:
    assert read_message(b"81 daily_budget exhausted 5 7 later words") == BudgetMoved(81, "daily_budget", True, 5, 7)
    assert read_message(b"81 weekly_budget restored 5 7") == BudgetMoved(81, OTHER, False, 5, 7)
    told = read_message(b"81 plan published 5 7 3:0:0::1:0:later:1 5308417:2:1:0:12345@540-1020:later")
    assert isinstance(told, PlanPublished)
    assert (told.brand.zero_limits, told.brand.used_up) == ({"daily_budget"}, {"daily_budget"})
    assert told.campaigns == (CampaignSnapshot(CAMPAIGN, 2, True, False, "12345@540-1020"),)


def test_a_watched_brand_stops_at_a_budget_of_a_later_release_and_runs_when_it_is_free(
    plant: Plant, watch: Watch, live: LiveRedis, plain: redis.Redis
) -> None:
    plant.brand()
    until(lambda: watch.may_bid(CAMPAIGN))
    keys, now = keys_of_brand(BRAND), live.now_ms()
    plain.publish(keys.changes, f"{BRAND} weekly_budget exhausted {now} 100 later")
    until(lambda: not watch.may_bid(CAMPAIGN))
    assert watch.status(CAMPAIGN).reasons == (OTHER,)
    plain.publish(keys.changes, f"{BRAND} weekly_budget restored {now} 101 later")
    until(lambda: watch.may_bid(CAMPAIGN))


def test_the_scripts_of_a_later_release_stop_a_watched_brand(plant: Plant, client: BudgetClient, watch: Watch) -> None:
    with later_release():
        plant.brand(monthly="1")
        until(lambda: watch.may_bid(CAMPAIGN))
        assert client.record_spend(CAMPAIGN, "1")
        until(lambda: not watch.may_bid(CAMPAIGN))
        assert watch.status(CAMPAIGN).reasons == (OTHER,)


def test_a_shard_of_another_layout_stops_its_own_campaigns_and_no_others_until_it_is_back(
    plant: Plant, watch: Watch, plain: redis.Redis
) -> None:
    other = BRAND + 1
    plant.brand()
    plant.brand(brand_id=other)
    until(lambda: watch.may_bid(CAMPAIGN) and watch.may_bid(other * 65536 + 1))
    keys = keys_of_brand(BRAND)
    plain.hset(keys.shard, "layout", "3")
    plain.publish(keys.changes, "0 shard lost")
    plain.publish(keys.changes, "0 shard ready 1")
    until(lambda: "layout 3" in watch.why)
    assert not watch.may_bid(CAMPAIGN)
    assert watch.may_bid(other * 65536 + 1)
    plain.hset(keys.shard, "layout", "1")
    until(lambda: watch.may_bid(CAMPAIGN))
    assert not watch.stale
