"""Missing is never zero: a shard that is not whole accepts nothing."""

from __future__ import annotations

import pytest
import redis

from engine import BudgetClient, NotReady, Spend, WrongVersion
from engine.client.batches import PACKED_FROM
from engine.domain.ids import shard_of
from engine.domain.schedule import Schedule
from engine.errors import BudgetError
from engine.live.admin import BrandPlan, CampaignPlan, LiveRedis
from engine.live.keys import keys_of_brand
from engine.live.repair import probe_brands, probe_shards
from engine.live.scripts import lua_folder, swapping
from tests.live.plant import BRAND, CAMPAIGN, Plant

KEYS = keys_of_brand(BRAND)
SHARD = shard_of(BRAND)


def test_an_empty_redis_answers_not_ready_and_never_a_fresh_budget(
    plain: redis.Redis, client: BudgetClient, live: LiveRedis
) -> None:
    for answer in (client.record_spend(CAMPAIGN, "1"), client.try_spend(CAMPAIGN, "1")):
        assert (answer.outcome, answer.detail, answer.daily_spend) == ("not_ready", "unmarked", None)
    with pytest.raises(NotReady, match="unmarked"):
        client.status(CAMPAIGN)
    assert plain.dbsize() == 0


def test_a_flushed_redis_answers_not_ready_until_it_is_rebuilt(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily="10")
    client.record_spend(CAMPAIGN, "10")
    plant.plain.flushall()
    assert client.try_spend(CAMPAIGN, "1").outcome == "not_ready"


LOST = {
    "brand": KEYS.brand(BRAND),
    "campaign": KEYS.campaign(CAMPAIGN),
    "journal": KEYS.journal,
    "requests": KEYS.requests[0],
    "events": KEYS.events[0],
}


def spoil(plant: Plant, key: str, harm: str) -> None:
    plant.plain.delete(key)
    if harm == "wrong type":
        plant.plain.set(key, "x")


@pytest.mark.parametrize("kind", LOST)
@pytest.mark.parametrize("harm", ["deleted", "wrong type"])
def test_a_key_that_is_gone_or_of_a_wrong_type_takes_its_shard_out_of_use(
    plant: Plant, client: BudgetClient, kind: str, harm: str
) -> None:
    plant.brand(daily="10")
    client.record_spend(CAMPAIGN, "1", event_id="e1")
    before = plant.live.read_totals(
        shard_of(BRAND), [KEYS.campaign(CAMPAIGN)] if kind == "brand" else [KEYS.brand(BRAND)], ["v"]
    )
    spoil(plant, LOST[kind], harm)
    answer = client.record_spend(CAMPAIGN, "1", event_id="e2")
    assert (answer.outcome, answer.detail) == ("not_ready", "lost")
    assert client.try_spend(CAMPAIGN, "1", event_id="e3").outcome == "not_ready"
    state = plant.live.read_shard(shard_of(BRAND))
    assert not state.ready and state.lost
    assert before is not None
    if kind != "journal":
        assert plant.entries()[-1].body.startswith(f"{CAMPAIGN},1000000,e1"), "the failed call wrote to the journal"


OF_THE_SHARD = {
    "journal": KEYS.journal,
    "registry": KEYS.registry,
    **dict(zip(("requests", "older requests"), KEYS.requests, strict=True)),
    **dict(zip(("events", "older events"), KEYS.events, strict=True)),
}
OF_A_BRAND = {"brand": KEYS.brand(BRAND), **dict(zip(("holds", "expiry"), KEYS.holds(BRAND), strict=True))}


@pytest.fixture
def untouched(plant: Plant, client: BudgetClient) -> Plant:
    """Two brands in two shards, something on hold, all as it should be."""
    plant.brand(daily="10")
    plant.brand(brand_id=BRAND + 1)
    assert client.reserve(CAMPAIGN, "1", 60).outcome == "accepted"
    assert probe_shards(plant.live, [BRAND, BRAND + 1]) == set()
    assert probe_brands(plant.live, {BRAND: 1, BRAND + 1: 1}) == set()
    return plant


@pytest.mark.parametrize("kind", OF_THE_SHARD)
@pytest.mark.parametrize("harm", ["deleted", "wrong type"])
def test_a_probe_finds_a_shards_own_key_lost_though_no_call_needs_it(untouched: Plant, kind: str, harm: str) -> None:
    spoil(untouched, OF_THE_SHARD[kind], harm)
    assert probe_shards(untouched.live, []) == {SHARD}
    assert untouched.live.read_shard(SHARD).why == f"lost {OF_THE_SHARD[kind]}"
    assert untouched.live.read_shard(SHARD + 1).ready


@pytest.mark.parametrize("kind", OF_A_BRAND)
@pytest.mark.parametrize("harm", ["deleted", "wrong type"])
def test_a_probe_finds_a_brand_or_its_holds_lost_though_nobody_calls_for_it(
    untouched: Plant, kind: str, harm: str
) -> None:
    spoil(untouched, OF_A_BRAND[kind], harm)
    assert probe_shards(untouched.live, [BRAND + 1]) == set()
    assert probe_shards(untouched.live, [BRAND]) == {SHARD}
    assert not untouched.live.read_shard(SHARD).ready


@pytest.mark.parametrize("harm", ["deleted", "wrong type"])
def test_a_probe_of_a_brands_campaigns_finds_one_lost(untouched: Plant, harm: str) -> None:
    spoil(untouched, KEYS.campaign(CAMPAIGN), harm)
    assert probe_brands(untouched.live, {BRAND: 1}) == {SHARD}
    assert untouched.live.read_shard(SHARD).why == f"lost {KEYS.campaign(CAMPAIGN)}"


def test_a_probe_does_not_take_what_was_never_published_for_lost(plant: Plant) -> None:
    plant.brand()
    assert probe_brands(plant.live, {BRAND: 2, BRAND + 64: 3}) == set()
    assert plant.live.read_shard(SHARD).ready


@pytest.mark.parametrize("key", [KEYS.shard, KEYS.registry])
def test_a_lost_shard_key_or_registry_is_noticed_by_publish_at_the_latest(plant: Plant, key: str) -> None:
    plant.brand()
    plant.plain.delete(key)
    assert plant.live.publish(plant.instance, BrandPlan(BRAND, 2, None, None, False, False), []) is False


def test_without_the_registry_an_absent_campaign_is_lost_and_not_unknown(plant: Plant, client: BudgetClient) -> None:
    plant.brand()
    plant.plain.delete(KEYS.registry)
    assert client.record_spend(CAMPAIGN + 9, "1").outcome == "not_ready"


def test_a_brand_that_was_published_before_is_never_created_again_by_publish(
    plant: Plant, client: BudgetClient
) -> None:
    plant.brand(daily="10")
    client.record_spend(CAMPAIGN, "10")
    plant.plain.delete(KEYS.brand(BRAND))
    assert plant.live.publish(plant.instance, BrandPlan(BRAND, 2, 10, None, False, False), []) is False
    assert client.try_spend(CAMPAIGN, "1").outcome == "not_ready"


def test_a_brand_that_was_published_before_is_never_created_again_even_when_publish_takes_it_for_new(
    plant: Plant,
) -> None:
    plant.brand(daily="10")
    plant.plain.delete(KEYS.brand(BRAND))
    assert plant.live.publish(plant.instance, BrandPlan(BRAND, 2, 10, None, False, True), []) is False
    assert plant.plain.exists(KEYS.brand(BRAND)) == 0


def test_a_campaign_that_was_published_before_is_never_created_again_even_when_publish_takes_it_for_new(
    plant: Plant,
) -> None:
    plant.brand()
    plant.plain.delete(KEYS.campaign(CAMPAIGN))
    again = CampaignPlan(CAMPAIGN, 2, True, False, Schedule(), True)
    assert plant.live.publish(plant.instance, BrandPlan(BRAND, 2, None, None, False, False), [again]) is False
    assert plant.plain.exists(KEYS.campaign(CAMPAIGN)) == 0


def test_a_campaign_is_published_after_its_elders_only(plant: Plant, client: BudgetClient) -> None:
    """The registry keeps the highest ordinal alone: with a gap below it, what was never published would count as lost."""
    plant.brand()
    younger = CampaignPlan(CAMPAIGN + 2, 1, True, False, Schedule(), True)
    with pytest.raises(BudgetError, match="before its elder"):
        plant.live.publish(plant.instance, BrandPlan(BRAND, 2, None, None, False, False), [younger])
    assert client.record_spend(CAMPAIGN + 2, "1").outcome == "unknown_campaign"


def test_another_instances_redis_is_refused(plant: Plant) -> None:
    with pytest.raises(BudgetError, match="another instance"):
        plant.live.publish("someone-else", BrandPlan(BRAND, 1, None, None, False, True), [])
    assert plant.plain.exists(KEYS.brand(BRAND)) == 0


def test_another_layout_is_a_wrong_version_and_writes_nothing(plant: Plant, client: BudgetClient) -> None:
    plant.brand()
    plant.plain.hset(KEYS.shard, "layout", "3")
    entries = plant.plain.xlen(KEYS.journal)
    with pytest.raises(WrongVersion, match="layout 3"):
        client.record_spend(CAMPAIGN, "1")
    assert plant.plain.xlen(KEYS.journal) == entries


def test_scripts_that_serve_the_layout_before_too_count_on_data_of_both(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily="10")
    constants = (lua_folder() / "lib" / "constants.lua").read_text(encoding="utf-8")
    older = constants.replace("return layout == LAYOUT or", "return layout == LAYOUT or layout == '0' or")
    with swapping({"lib/constants.lua": older}):
        for layout in ("0", "1", "2"):
            plant.plain.hset(KEYS.shard, "layout", layout)
            assert client.record_spend(CAMPAIGN, "1").outcome == "recorded"
            assert {a.outcome for a in client.try_spends([Spend(CAMPAIGN, "0.1")] * PACKED_FROM)} == {"accepted"}
            held = client.reserve(CAMPAIGN, "1")
            assert client.settle(held.hold_id, "1").outcome == "settled"
        plant.plain.hset(KEYS.shard, "layout", "3")
        with pytest.raises(WrongVersion):
            client.record_spend(CAMPAIGN, "1")
    plant.plain.hset(KEYS.shard, "layout", "0")
    with pytest.raises(WrongVersion):
        client.record_spend(CAMPAIGN, "1")


def test_a_clock_that_jumped_back_more_than_a_second_accepts_nothing(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    plant.brand()
    now = plant.live.now_ms()
    plant.at(now)
    client.record_spend(CAMPAIGN, "1")
    plant.at(now - 1000)
    for event in (None, "win-1"):
        assert client.record_spend(CAMPAIGN, "1", event_id=event).outcome == "recorded"
    assert {answer.outcome for answer in client.record_spends([Spend(CAMPAIGN, "1")] * 2)} == {"recorded"}
    plant.at(now - 1001)
    for event in (None, "win-2"):
        answer = client.record_spend(CAMPAIGN, "1", event_id=event)
        assert (answer.outcome, answer.detail) == ("not_ready", "clock")
    assert [e.ms for e in plant.entries()] == sorted(e.ms for e in plant.entries())


@pytest.mark.parametrize("value", ["nan", "inf", "0x10", "1e3", "1.5", " 1", "--1", ""])
@pytest.mark.parametrize("key", [KEYS.brand(BRAND), KEYS.campaign(CAMPAIGN)], ids=["brand", "campaign"])
@pytest.mark.parametrize("spends", [1, PACKED_FROM], ids=["one spend", "a packed batch"])
def test_a_counter_that_is_not_digits_takes_the_shard_out_of_use(
    plant: Plant, client: BudgetClient, value: str, key: str, spends: int
) -> None:
    plant.brand(daily="100")
    client.record_spend(CAMPAIGN, "1")
    field = next(f for f in plant.plain.hkeys(key) if f.startswith(b"d:"))
    plant.plain.hset(key, field, value)
    entries = len(plant.entries())
    report = client.try_spends if spends == 1 else client.record_spends
    assert {answer.outcome for answer in report([Spend(CAMPAIGN, "1")] * spends)} == {"not_ready"}
    assert len(plant.entries()) == entries
    assert not plant.live.read_shard(shard_of(BRAND)).ready


@pytest.mark.parametrize(
    ("on", "archived", "brand_archived"), [("1", "", "01"), ("11", "0", ""), ("", "10", "0"), ("1", "01", "")]
)
@pytest.mark.parametrize("spends", [1, PACKED_FROM], ids=["one spend", "a packed batch"])
def test_switches_of_which_two_are_odd_take_the_shard_out_of_use_and_start_no_archived_campaign(
    plant: Plant, client: BudgetClient, on: str, archived: str, brand_archived: str, spends: int
) -> None:
    plant.brand(daily="100")
    plant.plain.hset(KEYS.campaign(CAMPAIGN), mapping={"on": on, "archived": archived})
    plant.plain.hset(KEYS.brand(BRAND), "archived", brand_archived)
    assert {answer.outcome for answer in client.try_spends([Spend(CAMPAIGN, "1")] * spends)} == {"not_ready"}
    assert not plant.live.read_shard(shard_of(BRAND)).ready
