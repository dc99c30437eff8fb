"""A watcher knows which campaigns may run: what stops or frees one reaches it, and what it does not know it never lets bid."""

from __future__ import annotations

import os

import pytest

from engine import BudgetClient, InvalidId, NotFound, Watch
from engine.domain.ids import shard_of
from engine.domain.schedule import Schedule
from engine.live.admin import BrandPlan, LiveRedis
from engine.live.keys import keys_of_brand
from engine.live.repair import adjust
from tests.live.plant import BRAND, CAMPAIGN, Plant, mark
from tests.patience import PATIENCE_S
from tests.watch.conftest import until


def test_what_was_published_before_is_known_and_the_unknown_never_bids(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily="10")
    plant.campaign(CAMPAIGN + 1, enabled=False)
    plant.campaign(CAMPAIGN + 2, schedule=Schedule.parse(plant.closed_now()))
    plant.brand(brand_id=BRAND + 1, daily="0")
    with client.watch() as watch:
        assert watch.wait_ready(PATIENCE_S), watch.why
        assert [watch.may_bid(CAMPAIGN + i) for i in range(4)] == [True, False, False, False]
        assert watch.status(CAMPAIGN).status == "active"
        assert watch.status(CAMPAIGN + 1).reasons == ("manual",)
        assert watch.status(CAMPAIGN + 2).reasons == ("schedule",)
        assert watch.status(CAMPAIGN + 65536).reasons == ("daily_budget",)
        assert not watch.may_bid(CAMPAIGN + 65536)
        assert not watch.may_bid(7)
        with pytest.raises(NotFound):
            watch.status(CAMPAIGN + 3)
        with pytest.raises(InvalidId):
            watch.status(7)
        assert len(watch) == 4
        assert (watch.stale, watch.why) == (False, "")
        assert watch.age_ms < 3000
        assert repr(watch) == "Watch(live, 4 campaigns, 1 may bid)"


def test_a_switch_reaches_a_watcher_and_so_does_a_campaign_that_is_new(plant: Plant, watch: Watch) -> None:
    assert not watch.may_bid(CAMPAIGN)
    plant.brand()
    until(lambda: watch.may_bid(CAMPAIGN))
    plant.campaign(CAMPAIGN, version=2, enabled=False)
    until(lambda: not watch.may_bid(CAMPAIGN))
    plant.campaign(CAMPAIGN + 1)
    until(lambda: watch.may_bid(CAMPAIGN + 1))
    plant.campaign(CAMPAIGN, version=3)
    until(lambda: watch.may_bid(CAMPAIGN))


def test_money_that_another_client_spent_stops_a_brand_and_more_budget_or_a_refund_frees_it(
    plant: Plant, client: BudgetClient, watch: Watch
) -> None:
    plant.brand(daily="10", monthly="15")
    plant.campaign(CAMPAIGN + 1)
    until(lambda: watch.may_bid(CAMPAIGN + 1))
    assert client.try_spend(CAMPAIGN, "10", event_id="win").outcome == "accepted"
    until(lambda: not watch.may_bid(CAMPAIGN))
    until(lambda: not watch.may_bid(CAMPAIGN + 1))
    assert watch.status(CAMPAIGN).reasons == ("daily_budget",)
    plant.brand(daily="20", monthly="15", version=2)
    until(lambda: watch.may_bid(CAMPAIGN))
    client.record_spend(CAMPAIGN + 1, "10")
    until(lambda: watch.status(CAMPAIGN).reasons == ("daily_budget", "monthly_budget"))
    assert client.refund(CAMPAIGN, "10", "win").outcome == "refunded"
    until(lambda: watch.may_bid(CAMPAIGN))
    plant.brand(daily="0", monthly="15", version=3)
    until(lambda: watch.status(CAMPAIGN).reasons == ("daily_budget",))


def test_a_hold_settled_at_the_limit_stops_the_brand(plant: Plant, client: BudgetClient, watch: Watch) -> None:
    plant.brand(daily="10")
    until(lambda: watch.may_bid(CAMPAIGN))
    hold = client.reserve(CAMPAIGN, "10")
    assert watch.may_bid(CAMPAIGN)
    client.settle(hold.hold_id, "10")
    until(lambda: not watch.may_bid(CAMPAIGN))


def test_a_correction_of_a_counter_uses_a_budget_up_or_frees_it(
    plant: Plant, live: LiveRedis, client: BudgetClient, watch: Watch
) -> None:
    plant.brand(daily="10")
    until(lambda: watch.may_bid(CAMPAIGN))
    day = f"d:{live.now_ms() // 86_400_000}"

    def correct(micros: int, name: str) -> None:
        n = live.read_shard(shard_of(BRAND)).n
        adjust(live, plant.instance, shard_of(BRAND), plant.key(), day, micros, name, n)

    correct(10_000_000, "c-1")
    until(lambda: watch.status(CAMPAIGN).reasons == ("daily_budget",))
    assert client.status(CAMPAIGN).reasons == ("daily_budget",)
    assert [(c.cause, c.direction) for c in plant.entries()[-1].changes] == [("daily_budget", "exhausted")]
    correct(-1, "c-2")
    until(lambda: watch.may_bid(CAMPAIGN))
    brand = live.read_brand(BRAND, 0)
    assert brand is not None
    assert brand.budgets[0].since_ms == plant.entries()[-1].ms
    correct(5, "c-3")
    until(lambda: not watch.may_bid(CAMPAIGN))


def test_archiving_a_brand_stops_all_its_campaigns(plant: Plant, live: LiveRedis, watch: Watch) -> None:
    plant.brand()
    plant.campaign(CAMPAIGN + 1)
    until(lambda: watch.may_bid(CAMPAIGN + 1))
    live.publish(plant.instance, BrandPlan(BRAND, 2, None, None, True, False), [])
    until(lambda: not watch.may_bid(CAMPAIGN) and not watch.may_bid(CAMPAIGN + 1))
    assert watch.status(CAMPAIGN).reasons == ("archived",)


def test_pausing_a_brand_stops_all_its_campaigns_until_it_is_resumed(
    plant: Plant, live: LiveRedis, watch: Watch
) -> None:
    plant.brand()
    plant.campaign(CAMPAIGN + 1)
    until(lambda: watch.may_bid(CAMPAIGN + 1))
    live.publish(plant.instance, BrandPlan(BRAND, 2, None, None, False, False, paused=True), [])
    until(lambda: not watch.may_bid(CAMPAIGN) and not watch.may_bid(CAMPAIGN + 1))
    until(lambda: watch.status(CAMPAIGN).reasons == ("brand_paused",))
    live.publish(plant.instance, BrandPlan(BRAND, 3, None, None, False, False), [])
    until(lambda: watch.may_bid(CAMPAIGN) and watch.may_bid(CAMPAIGN + 1))


def test_a_watch_of_some_brands_and_campaigns_knows_no_others(plant: Plant, client: BudgetClient) -> None:
    for brand_id in (BRAND, BRAND + 1, BRAND + 64):
        plant.brand(brand_id=brand_id)
        plant.campaign(brand_id * 65536 + 2)
    other = (BRAND + 1) * 65536
    with client.watch(brands=[BRAND], campaigns=[other + 2, other + 65536 + 1]) as watch:
        assert watch.wait_ready(PATIENCE_S), watch.why
        assert watch.may_bid(CAMPAIGN)
        assert watch.may_bid(CAMPAIGN + 1)
        assert watch.may_bid(other + 2)
        assert not watch.may_bid(other + 1)
        assert not watch.may_bid((BRAND + 64) * 65536 + 1)
        plant.campaign(other + 1, version=2, enabled=False)
        plant.campaign((BRAND + 64) * 65536 + 1, version=2)
        plant.brand(brand_id=BRAND + 2)
        until(lambda: watch.may_bid((BRAND + 2) * 65536 + 1))
        assert len(watch) == 4
    with client.watch(brands=[]) as nothing:
        assert nothing.wait_ready(PATIENCE_S)
        assert not nothing.may_bid(CAMPAIGN)


def test_a_brand_of_more_campaigns_than_one_call_carries(plant: Plant, client: BudgetClient) -> None:
    plant.brand()
    for ordinal in range(2, 452):
        plant.campaign(BRAND * 65536 + ordinal, enabled=ordinal % 3 > 0)
    with client.watch() as watch:
        assert watch.wait_ready(PATIENCE_S), watch.why
        assert [watch.may_bid(BRAND * 65536 + o) for o in range(1, 453)] == [
            o == 1 or (o < 452 and o % 3 > 0) for o in range(1, 453)
        ]


def test_a_shard_that_lost_its_mark_is_stale_until_it_is_rebuilt_and_the_others_are_not(
    plant: Plant, live: LiveRedis, client: BudgetClient, watch: Watch
) -> None:
    other = (BRAND + 1) * 65536 + 1
    plant.brand()
    plant.brand(brand_id=BRAND + 1)
    until(lambda: watch.may_bid(CAMPAIGN) and watch.may_bid(other))
    with client.watch(fail_open=True) as opened:
        assert opened.wait_ready(PATIENCE_S)
        live.unmark(plant.instance, shard_of(BRAND), "a test")
        until(lambda: watch.stale and opened.stale)
        assert not watch.may_bid(CAMPAIGN)
        assert watch.status(CAMPAIGN).reasons == ("stale",)
        assert "rebuilt" in watch.why
        assert opened.may_bid(CAMPAIGN)
        assert opened.status(CAMPAIGN).status == "active"
        assert watch.may_bid(other)
        rebuild(plant, live)
        until(lambda: not watch.stale and not opened.stale)
        assert watch.may_bid(CAMPAIGN)


def test_keys_that_went_without_a_word_are_noticed_and_the_picture_is_stale(
    plant: Plant, live: LiveRedis, watch: Watch
) -> None:
    plant.brand()
    until(lambda: watch.may_bid(CAMPAIGN))
    plant.plain.delete(keys_of_brand(BRAND).shard)
    until(lambda: not watch.may_bid(CAMPAIGN))
    assert watch.stale


def rebuild(plant: Plant, live: LiveRedis) -> None:
    """Marks a shard again, with its brands as they are."""
    mark(live, plant.instance, shard_of(BRAND), plant.plain.hgetall(keys_of_brand(BRAND).registry))


def test_a_closed_watch_and_a_child_s_copy_let_nothing_bid(plant: Plant, client: BudgetClient) -> None:
    plant.brand()
    watch = client.watch(fail_open=True)
    assert watch.wait_ready(PATIENCE_S)
    assert watch.may_bid(CAMPAIGN)
    child = os.fork()
    if child == 0:
        honest = watch.stale and "forked" in watch.why and not watch.may_bid(CAMPAIGN)
        watch.close()
        with client.watch() as own:
            os._exit(0 if honest and own.wait_ready(PATIENCE_S) and own.may_bid(CAMPAIGN) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert watch.may_bid(CAMPAIGN)
    assert not watch.stale
    plant.campaign(CAMPAIGN, version=2, enabled=False)
    until(lambda: not watch.may_bid(CAMPAIGN))
    plant.campaign(CAMPAIGN, version=3)
    until(lambda: watch.may_bid(CAMPAIGN))
    watch.close()
    assert watch.stale
    assert not watch.may_bid(CAMPAIGN)
    assert not watch.wait_ready(0.1)
    assert not any(thread.is_alive() for thread in watch._threads)
    watch.close()
