"""The pass rate that an answer has: it makes tries as many as a minute needs, holds for its minute only, and refuses nothing by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import pytest

from engine import AsyncBudgetClient, BudgetClient, Spend
from engine.domain.money import MAX_AMOUNT_MICROS, MAX_TOTAL_MICROS
from engine.domain.pacing import Pacing, compiled
from engine.domain.pass_rate import LEAST, MOST_ASKED, WHOLE, rate_of
from engine.domain.periods import MINUTE_MS
from tests.live.plant import BRAND, CAMPAIGN, Plant
from tests.live.test_async_calls import run
from tests.live.test_fast_paths import heard
from tests.live.test_one_more_budget import KEYS, OTHER, WAYS, alone, call
from tests.live.test_pacing import EVEN, HASH, curved, midnight, pace, pace_own, try_one
from tests.model import pacing as model

__all__ = ["midnight"]

DAILY: Final = 86_100_000_000
"""A second of the day has a unit."""
PLAN: Final = 60_000_000


@pytest.fixture
def minute(plant: Plant, midnight: int) -> int:
    """A brand that has spent what is due at the beginning of a minute around noon."""
    at = midnight + 43_200_000
    plant.at(at)
    pace(plant, 2, EVEN, DAILY)
    plant.plain.hset(plant.key(), f"d:{at // 86_400_000}", model.allowed(EVEN, DAILY, at))
    plant.at(at + 1000)
    return at


def ask(plant: Plant, client: BudgetClient, minute: int, micros: int, tries: int = 10) -> list[float]:
    """Tries spread over a minute that ask for so much together; returns the rates of the answers."""
    rates = []
    for number in range(tries):
        plant.at(minute + number * MINUTE_MS // tries + 100)
        rates.append(try_one(client, micros // tries).pass_rate)
    return rates


def test_a_minute_is_told_to_try_what_it_may_spend_and_a_tenth_more_of_what_was_asked_before(
    plant: Plant, client: BudgetClient, minute: int
) -> None:
    assert ask(plant, client, minute, 4 * PLAN) == [1.0] * 10
    (rate,) = set(ask(plant, client, minute + MINUTE_MS, 2 * PLAN))
    # Four times the plan was offered: the second minute tries 1.1 of 4, less what one amount was ahead.
    assert 0.2 < rate < 0.28
    (third,) = set(ask(plant, client, minute + 2 * MINUTE_MS, int(4 * PLAN * rate)))
    # Half a plan was asked of every unit by then: the demand is smoothed, three parts old and one part new.
    smoothed = (3 * 4 + 2 / rate) / 4
    assert abs(third - 1.1 / smoothed) < 0.05
    # Bidders who obey are refused little, and the plan is spent all the same.
    refused = sum(not try_one(client, 1) for _ in range(3))
    spent, due = plant.spent(), model.allowed(EVEN, DAILY, minute + 3 * MINUTE_MS)
    assert refused == 0 or spent >= due - PLAN
    assert spent <= due + 4 * PLAN // 10


def test_a_rate_holds_for_its_own_minute_and_quiet_minutes_count_as_no_demand(
    plant: Plant, client: BudgetClient, minute: int
) -> None:
    ask(plant, client, minute, 20 * PLAN)
    low = ask(plant, client, minute + MINUTE_MS, PLAN, 2)
    assert low[0] == low[1] < 0.1
    # After twenty minutes in which nobody asked, nothing of that demand is left to hold anybody back.
    plant.at(minute + 21 * MINUTE_MS)
    assert try_one(client, 1).pass_rate == 1.0


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_asking_counts_and_is_told_the_rate(
    plant: Plant, client: BudgetClient, minute: int, way: str
) -> None:
    for _ in range(3):
        call(plant, "try_spends", *WAYS[way](PLAN))
    one = 0 if "alone" in way else 1
    assert part(plant, "asked") == 3 * (PLAN + one)
    plant.at(minute + MINUTE_MS)
    reply = call(plant, "try_spends", *WAYS[way](PLAN // 2))
    assert reply[5] == b"%d:%d" % (CAMPAIGN, part(plant, "rate"))
    assert part(plant, "demand") == 3 * (PLAN + one)
    assert call(plant, "record_spends", *alone(1))[4:] == [b"", reply[5]]


@pytest.mark.parametrize("way", WAYS)
def test_what_a_campaign_is_refused_was_asked_and_the_call_that_sets_its_rate_tells_every_watcher(
    plant: Plant, minute: int, way: str
) -> None:
    pace(plant, 3, (), DAILY)
    pace_own(plant, 2, EVEN, DAILY)
    plant.plain.hset(HASH, f"d:{minute // 86_400_000}", model.allowed(EVEN, DAILY, minute))
    with plant.plain.pubsub(ignore_subscribe_messages=True) as told:
        told.subscribe(KEYS.changes)
        passed, *refused = (call(plant, "try_spends", *WAYS[way](2 * PLAN))[1] for _ in range(3))
        one = 0 if "alone" in way else 1
        assert (b"x" in passed, {reply.split(b"*")[0] for reply in refused}) == (False, {b"x512"})
        assert part(plant, "asked", HASH) == 3 * (2 * PLAN + one)
        assert heard(plant.plain, told) == []
        plant.at(minute + 2 * MINUTE_MS + 30_000)
        for _ in range(2):
            reply = call(plant, "try_spends", *WAYS[way](PLAN // 10))
            assert b"x" not in reply[1]
        rate = part(plant, "rate", HASH)
        assert LEAST < rate < WHOLE
        assert reply[5] == b"%d:%d" % (CAMPAIGN, rate)
        assert [message.split()[:3] for message in heard(plant.plain, told)] == [
            [b"%d" % CAMPAIGN, b"campaign_pass_rate:%d" % rate, b"restored"]
        ]


def part(plant: Plant, name: str, key: str | None = None) -> int:
    """A part of the field `s`, 0 where there is none."""
    value: bytes = plant.plain.hget(key or plant.key(), "s") or b"0,0,0,0,0"
    return int(value.split(b",")[("minute", "spent", "asked", "demand", "rate").index(name)])


def test_facts_repeats_and_refusals_for_a_standing_cause_are_no_demand(
    plant: Plant, client: BudgetClient, minute: int
) -> None:
    client.record_spend(CAMPAIGN, amount_micros=500)
    client.try_spend(CAMPAIGN, amount_micros=7, event_id="win", request_id="once")
    assert part(plant, "asked") == 7
    client.try_spend(CAMPAIGN, amount_micros=7, event_id="win")
    client.try_spend(CAMPAIGN, amount_micros=7, event_id="win", request_id="once")
    assert client.try_spend(CAMPAIGN, amount_micros=DAILY).reasons == ("daily_budget",)
    plant.campaign(CAMPAIGN, version=2, enabled=False)
    assert client.try_spend(CAMPAIGN, amount_micros=9).reasons == ("manual",)
    assert client.try_spends([Spend(CAMPAIGN, None, None, 9)] * 9)[0].reasons == ("manual",)
    assert part(plant, "asked") == 7


def test_holds_and_what_is_drawn_from_a_lease_are_asked_and_a_repeated_hold_is_not(
    plant: Plant, client: BudgetClient, minute: int
) -> None:
    plant.at(minute + 1000)
    for _ in range(2):
        assert client.reserve(CAMPAIGN, ttl=timedelta(minutes=5), hold_id="a", amount_micros=2 * PLAN)
    assert client.reserve(CAMPAIGN, ttl=timedelta(minutes=5), hold_id="b", amount_micros=5).reasons == ("pacing",)
    assert part(plant, "asked") == 2 * PLAN + 5
    client.settle(f"{CAMPAIGN}:a", amount_micros=PLAN)
    assert part(plant, "asked") == 2 * PLAN + 5
    packed = b"\x01\x04\x00" + (30).to_bytes(4, "little")
    assert call(plant, "draw_spends", "draw-1", f"{CAMPAIGN},30,1;", packed, "l1", "")[1] == b"k*1"
    assert part(plant, "asked") == 2 * PLAN + 35
    plant.at(minute + MINUTE_MS)
    held = client.reserve(CAMPAIGN, ttl=timedelta(minutes=5), hold_id="c", amount_micros=5)
    assert held.pass_rate == part(plant, "rate") / WHOLE < 0.6


def test_a_hold_takes_its_part_of_what_the_minute_may_spend(plant: Plant, client: BudgetClient, minute: int) -> None:
    plant.at(minute + 1000)
    assert client.reserve(CAMPAIGN, ttl=timedelta(minutes=5), hold_id="a", amount_micros=2 * PLAN)
    plant.at(minute + MINUTE_MS)
    # Both minutes' plans are on hold: there is nothing that this one could spend.
    client.record_spend(CAMPAIGN, amount_micros=1)
    assert part(plant, "rate") == LEAST


def test_the_rates_of_a_brand_and_of_its_campaign_apply_together(
    plant: Plant, client: BudgetClient, minute: int
) -> None:
    pace_own(plant, 2, EVEN, DAILY)
    plant.plain.hset(HASH, f"d:{minute // 86_400_000}", model.allowed(EVEN, DAILY, minute))
    ask(plant, client, minute, 4 * PLAN)
    plant.at(minute + MINUTE_MS)
    both = try_one(client, 1)
    of_brand, own = part(plant, "rate"), part(plant, "rate", HASH)
    assert LEAST < own <= of_brand < WHOLE // 2
    assert both.pass_rate == of_brand * own // WHOLE / WHOLE
    assert client.try_spend(OTHER, amount_micros=1).pass_rate == of_brand / WHOLE


def test_every_kind_of_answer_has_the_rate_and_is_whole_where_nothing_is_paced(
    plant: Plant, client: BudgetClient, minute: int, hot_url: str
) -> None:
    ask(plant, client, minute, 4 * PLAN)
    plant.at(minute + MINUTE_MS)
    rate = try_one(client, 1).pass_rate
    spends = [Spend(CAMPAIGN, None, None, 3) for _ in range(20)]
    results = [*client.try_spends(spends), *client.try_spends(spends[:2]), *client.record_spends(spends)]
    results += client.try_spend_columns([CAMPAIGN] * 20, [3] * 20)
    results += [client.try_spend_columns([CAMPAIGN] * 20, [3] * 20)[7], client.record_spend(CAMPAIGN, "1")]

    async def awaited(made: AsyncBudgetClient) -> None:
        results.append(await made.try_spend(CAMPAIGN, amount_micros=3))
        results.append(await made.record_spend(CAMPAIGN, amount_micros=3))
        results.extend(await made.try_spend_columns([CAMPAIGN] * 20, [3] * 20))

    run(hot_url, awaited)
    assert {result.pass_rate for result in results} == {rate}
    assert rate < 1.0
    assert try_one(client, MAX_AMOUNT_MICROS).pass_rate == rate
    assert client.try_spend(CAMPAIGN + 9, "1").pass_rate == 1.0
    pace(plant, 3, ())
    assert client.try_spend(CAMPAIGN, "1").pass_rate == 1.0
    assert len(call(plant, "try_spends", *alone(1))) == 4


def test_who_pays_the_rate_no_heed_is_held_by_the_gate_all_the_same(
    plant: Plant, client: BudgetClient, minute: int
) -> None:
    for number in range(6):
        ask(plant, client, minute + number * MINUTE_MS, 10 * PLAN)
        due = model.allowed(EVEN, DAILY, minute + (number + 1) * MINUTE_MS)
        assert due - 3 * PLAN < plant.spent() <= due + PLAN
    # A rate that nobody obeys falls to its least, and stays there: one try in a thousand.
    assert part(plant, "rate") >= LEAST


@pytest.mark.parametrize(
    "value", ["{},0,1,1", "{},0,1,1,999", "{},0,1,1,1000001", "{},0,,1,1000", "{},0,1,100000000000000,1000", "{},0,1,1,1000,1"]
)  # fmt: skip
def test_a_malformed_rate_takes_the_shard_out_of_use_and_lets_nothing_pass(
    plant: Plant, client: BudgetClient, minute: int, value: str
) -> None:
    plant.plain.hset(plant.key(), "s", value.format(minute // MINUTE_MS))
    assert client.try_spend(CAMPAIGN, "1").outcome == "not_ready"
    assert plant.live.read_shard(BRAND % 64).lost


def test_the_largest_minute_is_64_bytes_at_most_and_the_largest_demand_is_divided_exactly(
    plant: Plant, client: BudgetClient, midnight: int
) -> None:
    plant.at(midnight + 43_200_000)
    parts = curved([(0, 1_000_000), (86_400, 1_000_000)])  # type: ignore[list-item]
    pace(plant, 2, parts, MAX_TOTAL_MICROS)
    number = (midnight + 43_200_000) // MINUTE_MS
    plant.plain.hset(plant.key(), "s", f"{number},{MAX_TOTAL_MICROS - 2 * 10**12},{MOST_ASKED},{MOST_ASKED},1000")
    client.record_spend(CAMPAIGN, amount_micros=10**12)
    client.try_spend(CAMPAIGN, amount_micros=10**12)
    value: bytes = plant.plain.hget(plant.key(), "s")
    assert len(value) <= 64
    plant.at(midnight + 43_200_000 + MINUTE_MS)
    client.record_spend(CAMPAIGN, amount_micros=1)
    assert part(plant, "demand") == MOST_ASKED
    assert [rate_of(wanted, 4) for wanted in (-5, 0, 1, 3, 4, 5)] == [LEAST, LEAST, 250_000, 750_000, WHOLE, WHOLE]
    assert rate_of(10**13, 10**14 - 1) == 110_000


def test_an_owner_that_was_paced_by_the_release_before_begins_its_rate_anew(
    plant: Plant, client: BudgetClient, minute: int
) -> None:
    plant.plain.hset(plant.key(), "s", f"{minute // MINUTE_MS},30")
    assert compiled(Pacing("even", "asap")) == EVEN
    assert try_one(client, 5).pass_rate == 1.0
    assert [part(plant, name) for name in ("spent", "asked", "demand", "rate")] == [35, 5, 0, WHOLE]
