"""Zones that are published, changed, malformed; what closes, late spends and corrections do on the days of a brand with one."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from engine.client.sync import BudgetClient
from engine.domain.budget import OwnLimits
from engine.domain.flights import PlannedFlight
from engine.domain.ids import shard_of
from engine.domain.pacing import Pacing, compiled
from engine.domain.periods import DAY_MS, HOUR_MS, MINUTE_MS, at_ms, day_of, ms_of
from engine.domain.schedule import Schedule
from engine.domain.zone_text import Zone
from engine.domain.zones import BrandZone, zone_text
from engine.live.admin import BrandPlan, CampaignPlan
from engine.live.journal import CONTROLLED
from engine.live.registry import stamps
from engine.live.repair import adjust
from engine.live.scripts import LAYOUT, WITH_OWN_LIMITS, script
from engine.live.transport.pool import Call
from tests.live.plant import BRAND, CAMPAIGN, Plant
from tests.live.test_one_more_budget import alone, call
from tests.live.test_zones import BERLIN, CHATHAM, KEYS, KOLKATA, ST_JOHNS, bring, counters, move, ms_at, planted


def test_a_changed_zone_takes_effect_at_its_instant_and_no_day_comes_twice(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    now = ms_at(2037, 7, 15, 12)
    move(plant, now)
    plant.brand(daily="10", monthly="100")
    bring(plant, zone_text(BERLIN, now))
    moved = BrandZone.of(BERLIN).changed("America/Los_Angeles", now)
    bring(plant, moved.text(now), 3)
    zone, days = moved.clock, []
    at = now
    for _ in range(5):
        at = zone.midnight_ms(zone.day_of(at) + 1)
        move(plant, at - 1)
        assert client.record_spend(CAMPAIGN, "10").daily_spend == Decimal(10)
        assert client.try_spend(CAMPAIGN, "1").reasons == ("daily_budget",)
        days.append(plant.entries()[-1].day_of(BRAND))
        move(plant, at)
        assert client.try_spend(CAMPAIGN, "0.000001").daily_spend == Decimal("0.000001")
        plant.plain.hdel(KEYS.brand(BRAND), f"d:{zone.day_of(at)}")
    assert days == sorted(set(days)) and len(days) == 5
    first = zone.day_of(now)
    assert [zone.day_length_ms(first + i) for i in range(2)] == [33 * HOUR_MS, DAY_MS]


def test_a_zone_by_which_the_day_would_go_back_is_refused_and_changes_nothing(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    now = ms_at(2037, 7, 15, 23)
    move(plant, now)
    plant.brand(daily="10")
    bring(plant, zone_text(BERLIN, now))
    assert client.record_spend(CAMPAIGN, "10")
    before = plant.plain.hgetall(plant.key())
    for text in ("", zone_text("America/New_York", now)):
        with pytest.raises(Exception, match="would go back"):
            bring(plant, text, 3)
    assert plant.plain.hgetall(plant.key()) == before
    assert client.try_spend(CAMPAIGN, "1").reasons == ("daily_budget",)


def test_a_brand_without_a_zone_beside_one_with_keeps_the_day_of_utc(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    neighbour = BRAND + 64
    at = ms_at(2037, 7, 14, 22)
    planted(plant, BERLIN, at)
    plant.brand(brand_id=neighbour, daily="10")
    move(plant, at)
    for campaign in (CAMPAIGN, neighbour * 65536 + 1):
        assert client.record_spend(campaign, "3")
    answers = client.record_spends([(CAMPAIGN, "1"), (neighbour * 65536 + 1, "1")])
    assert [answer.outcome for answer in answers] == ["recorded", "recorded"]
    day = day_of(at)
    assert counters(plant, KEYS.brand(BRAND), f"d:{day}", f"d:{day + 1}") == [0, 4_000_000]
    assert counters(plant, KEYS.brand(neighbour), f"d:{day}", f"d:{day + 1}") == [4_000_000, 0]
    last = plant.entries()[-1]
    assert (last.zones, last.day_of(BRAND), last.day_of(neighbour)) == ({BRAND: 2 * HOUR_MS}, day + 1, day)
    raw: Any = plant.plain.xrevrange(KEYS.journal, count=1)
    assert (raw[0][1][b"f"], raw[0][1][b"z"]) == (CONTROLLED, b"81:7200000")


def test_a_shard_gets_layout_2_with_its_first_zone_and_a_brand_loses_its_zone_without_a_trace(
    plant: Plant, clock: None
) -> None:
    now = ms_at(2037, 7, 15, 12)
    move(plant, now)
    plant.brand(daily="10")
    assert plant.plain.hget(KEYS.shard, "layout") == LAYOUT.encode()
    bring(plant, zone_text(BERLIN, now))
    assert plant.plain.hget(KEYS.shard, "layout") == WITH_OWN_LIMITS.encode()
    live = plant.live.read_brand(BRAND, 0)
    assert live is not None and live.zone.text == zone_text(BERLIN, now)
    bring(plant, "", 3)
    live = plant.live.read_brand(BRAND, 0)
    assert live is not None and live.zone.text == ""
    assert not plant.plain.hexists(plant.key(), "zone")


def test_another_zone_in_the_same_version_is_told_and_not_taken(plant: Plant, clock: None) -> None:
    now = ms_at(2037, 7, 15, 12)
    move(plant, now)
    plant.brand(daily="10")
    bring(plant, zone_text(BERLIN, now))
    plan = BrandPlan(BRAND, 2, 10_000_000, 100_000_000, False, False, (), zone_text(KOLKATA, now))
    brought = plant.live.bring(plant.instance, plan, [])
    assert brought is not None and brought.ahead == {BRAND: 2}
    assert plant.plain.hget(plant.key(), "zone") == zone_text(BERLIN, now).encode()


@pytest.mark.parametrize(
    "text",
    ["", "x", "1e6", "3600000,", "3600000,5", "3600000,x,0", "172800000", "-172800000", "0,9,0,8,0", "0,1,0,2,0,3,0", " 0", "+3600000", "0,1,0,", "nan",
     "3600000,1234567890123456,0", "0" * 58],
)  # fmt: skip
def test_a_malformed_zone_takes_the_shard_out_of_use_before_any_money_moves(
    plant: Plant, client: BudgetClient, text: str
) -> None:
    plant.brand(daily="10")
    plant.plain.hset(KEYS.shard, "layout", WITH_OWN_LIMITS)
    plant.plain.hset(plant.key(), "zone", text)
    before = plant.plain.xlen(KEYS.journal)
    assert client.try_spend(CAMPAIGN, "1").outcome == "not_ready"
    assert not plant.plain.hexists(KEYS.shard, "mark")
    assert plant.plain.hget(KEYS.shard, "lost") == plant.key().encode()
    assert plant.plain.xlen(KEYS.journal) == before


@pytest.mark.parametrize("text", ["x", "3600000,5", "172800000", "0,9,0,8,0"])
def test_a_malformed_zone_is_not_published(plant: Plant, text: str) -> None:
    plant.brand(daily="10")
    before = plant.plain.hgetall(plant.key())
    with pytest.raises(Exception, match="publish: time zone of brand 81"):
        bring(plant, text)
    assert plant.plain.hgetall(plant.key()) == before


def test_counters_of_a_brand_whose_day_goes_on_are_not_pruned(plant: Plant, client: BudgetClient, clock: None) -> None:
    at = ms_at(2037, 8, 1, 2, 30)  # midnight in St Johns
    planted(plant, ST_JOHNS, at)
    neighbour = BRAND + 64
    plant.brand(brand_id=neighbour, daily="10")
    move(plant, at - 1)
    assert client.record_spend(CAMPAIGN, "3")
    day = day_of(at) - 1

    def prune(field: str, *hashes: str) -> list[bytes]:
        return plant.live.call_all([Call(script("prune"), (KEYS.shard, *hashes), (LAYOUT, plant.instance, field))])[0]

    both = KEYS.brand(BRAND), KEYS.campaign(CAMPAIGN)
    for field in (f"d:{day}", "m:203707"):
        for hashes in (both, both[:1], both[1:]):
            assert prune(field, *hashes) == [b"open", field.encode()]
        assert prune(field, KEYS.brand(neighbour))[0] == b"ok"
    assert counters(plant, both[0], f"d:{day}", "m:203707") == [3_000_000, 3_000_000]
    move(plant, at)
    assert prune(f"d:{day}", *both) == [b"ok", b"2"]
    assert prune("m:203707", *both) == [b"ok", b"2"]


@pytest.mark.parametrize("name", [BERLIN, KOLKATA, ST_JOHNS, CHATHAM])
@pytest.mark.parametrize("verb", ["record_spend", "try_spend"])
def test_a_late_spend_counts_to_the_brand_s_own_day_before_until_the_grace_has_passed(
    plant: Plant, client: BudgetClient, clock: None, name: str, verb: str
) -> None:
    at = ms_of(datetime(2037, 8, 1, tzinfo=ZoneInfo(name)))
    planted(plant, name, at)
    assert stamps(plant.live, plant.instance, [shard_of(BRAND)], grace_minutes=60)
    spend, day = getattr(client, verb), Zone.parse(zone_text(name, at)).day_of(at)
    fields = (f"d:{day - 1}", f"d:{day}", "m:203707", "m:203708")
    move(plant, at + 60 * MINUTE_MS - 1)
    assert spend(CAMPAIGN, "2", event_id="e-1", occurred_at=at_ms(at - 1)).daily_spend == Decimal(0)
    assert spend(CAMPAIGN, "4", event_id="e-2", occurred_at=at_ms(at)).daily_spend == Decimal(4)
    for owner in (KEYS.brand(BRAND), KEYS.campaign(CAMPAIGN)):
        assert counters(plant, owner, *fields) == [2_000_000, 4_000_000, 2_000_000, 4_000_000]
    assert [spend.day for entry in plant.entries() for spend in entry.spends()] == [day - 1, day]
    move(plant, at + 60 * MINUTE_MS)
    assert spend(CAMPAIGN, "1", occurred_at=at_ms(at - 1)).daily_spend == Decimal(5)
    assert client.refund(CAMPAIGN, "2", "e-1").outcome == "refunded"
    assert counters(plant, KEYS.brand(BRAND), *fields) == [2_000_000, 5_000_000, 2_000_000, 5_000_000]


def test_no_late_spend_counts_to_a_day_that_ended_before_there_was_a_grace_or_a_zone(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    at = ms_of(datetime(2037, 7, 15, tzinfo=ZoneInfo(BERLIN)))
    planted(plant, BERLIN, at)
    move(plant, at)
    assert stamps(plant.live, plant.instance, [shard_of(BRAND)], grace_minutes=60)
    assert client.record_spend(CAMPAIGN, "2", occurred_at=at_ms(at - 1)).daily_spend == Decimal(2)
    neighbour = BRAND + 64
    plant.brand(brand_id=neighbour, daily="10")
    plan = BrandPlan(neighbour, 2, 10_000_000, None, False, False, (), zone_text(BERLIN, at))
    assert plant.live.bring(plant.instance, plan, [])
    assert client.record_spend(neighbour * 65536 + 1, "2", occurred_at=at_ms(at - 1)).daily_spend == Decimal(2)


def test_a_counter_of_a_zoned_brand_s_campaign_is_corrected_on_the_brand_s_day(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    at = ms_of(datetime(2037, 7, 15, tzinfo=ZoneInfo(CHATHAM)))
    planted(plant, CHATHAM, at)
    plant.campaign(CAMPAIGN, version=2, limits=OwnLimits(5_000_000))
    move(plant, at)
    day = day_of(at) + 1
    assert client.record_spend(CAMPAIGN, "5")
    n = plant.entries()[-1].n
    for hash_key, name in ((KEYS.brand(BRAND), "one"), (KEYS.campaign(CAMPAIGN), "two")):
        assert adjust(plant.live, plant.instance, shard_of(BRAND), hash_key, f"d:{day}", -1_000_000, name, n)
        n = plant.entries()[-1].n
    assert [f"{change.cause} {change.direction}" for change in plant.entries()[-1].changes] == [
        "campaign_daily_budget restored"
    ]


def test_hours_and_a_flight_s_start_are_compared_in_the_brand_s_time(plant: Plant, clock: None) -> None:
    starts = ms_at(2037, 7, 15, 8)  # 10:00 in Berlin
    planted(plant, BERLIN, starts)
    for hours, told in (("10:00", True), ("10:01", False)):
        flight = PlannedFlight(1, 1, starts, starts + DAY_MS, 5_000_000)
        plan = CampaignPlan(
            CAMPAIGN,
            2 + (not told),
            True,
            False,
            Schedule.parse([{"days": ["wed"], "start_time": hours, "end_time": "12:00"}]),
            False,
            flights=(flight,),
        )
        assert plant.live.bring(plant.instance, BrandPlan(BRAND, 0, None, None, False, False), [plan])
        reply = call(plant, "try_spends", *alone(1))
        assert reply[4:] == ([f"{CAMPAIGN}:{starts}".encode()] if told else [])


def test_paced_hours_in_a_zone_open_again_at_the_instant_that_a_bidder_is_told(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    begins = ms_of(datetime(2037, 7, 15, tzinfo=ZoneInfo(BERLIN)))
    text = planted(plant, BERLIN, begins)
    bring(plant, text, 3, 100_000_000, None, compiled(Pacing("even", "asap")))
    plant.campaign(
        CAMPAIGN, version=2, schedule=Schedule.parse([{"days": ["wed"], "start_time": "00:00", "end_time": "02:00"}])
    )
    move(plant, begins)
    assert client.record_spend(CAMPAIGN, "5").daily_spend == Decimal(5)
    told = client.try_spend(CAMPAIGN, "1").retry_at
    assert told is not None and told < at_ms(begins + 2 * HOUR_MS)
    assert client.record_spend(CAMPAIGN, "10")
    # After 02:00 in Berlin the campaign is closed: no instant is promised.
    assert client.try_spend(CAMPAIGN, "1").retry_at is None
