"""A campaign's limit for a minute refuses what would pass it, and its breaker stops what did, on every path."""

from __future__ import annotations

import time
from typing import Any, Final

import pytest

from engine.client.sync import BudgetClient, Spend
from engine.domain.brake import Brake, Trip
from engine.domain.budget import NO_LIMITS, OwnLimits
from engine.domain.flights import LAST_MS, PlannedFlight
from engine.domain.money import MAX_TOTAL_MICROS
from engine.domain.periods import MINUTE_MS, at_ms, next_month_ms
from engine.domain.schedule import Schedule
from engine.live.admin import BrandPlan, CampaignPlan
from engine.live.keys import keys_of_brand
from engine.live.packed import pack
from engine.live.scripts import LAYOUT, script
from engine.live.transport.pool import Call
from tests.live.plant import BRAND, CAMPAIGN, Plant
from tests.live.test_one_more_budget import NOW, OTHER, WAYS, alone, batch, call, packed
from tests.patience import PATIENCE_S

KEYS: Final = keys_of_brand(BRAND)
HASH: Final = KEYS.campaign(CAMPAIGN)
OF: Final = b"%d:" % CAMPAIGN


def brake(plant: Plant, version: int, given: Brake, limits: OwnLimits = NO_LIMITS, *flights: PlannedFlight) -> None:
    """Publishes a brake of the first campaign."""
    plan = CampaignPlan(CAMPAIGN, version, True, False, Schedule(), False, limits, None, flights, given)
    brought = plant.live.bring(plant.instance, BrandPlan(BRAND, 0, None, None, False, False), [plan])
    assert brought is not None and not brought.uncounted


def fields(plant: Plant, *names: str) -> list[bytes | None]:
    found: list[Any] = plant.plain.hmget(HASH, *names)
    return found


@pytest.fixture
def now(plant: Plant, clock: None) -> int:
    """A brand with two campaigns, at the middle of a minute that stands still, far from a day's end."""
    at = next_month_ms(plant.live.now_ms()) + 12 * 3_600_000 + MINUTE_MS // 2
    plant.at(at)
    NOW[0] = at
    plant.brand(daily="10", monthly="100")
    plant.campaign(OTHER)
    return at


@pytest.mark.parametrize("way", WAYS)
def test_a_minute_takes_its_limit_and_no_more_and_the_next_begins_whole(plant: Plant, now: int, way: str) -> None:
    brake(plant, 2, Brake(100, None, 1))
    more = 0 if "alone" in way else 1
    assert call(plant, "try_spends", *WAYS[way](101))[1].endswith(b"x1024*1")
    assert b"x" not in call(plant, "try_spends", *WAYS[way](100 - 2 * more))[1]
    refused = call(plant, "try_spends", *WAYS[way](1))
    assert b"k" not in refused[1] and b"x1024" in refused[1]
    next_minute = now - now % MINUTE_MS + MINUTE_MS
    # The answer says when, and a passing cause is in no entry of the journal.
    assert refused[3:] == [OF + b"1024", OF + b"%d" % next_minute]
    assert not any(entry.changes for entry in plant.entries())
    plant.at(next_minute - 1)
    assert b"x1024" in call(plant, "try_spends", *WAYS[way](1))[1]
    plant.at(next_minute)
    assert b"x" not in call(plant, "try_spends", *WAYS[way](100 - more))[1]
    assert plant.spent() == 200
    assert b"x" not in call(plant, "try_spends", "of-another", f"{OTHER},5000,,;")[1]


@pytest.mark.parametrize("way", WAYS)
def test_facts_pass_the_limit_of_a_minute_and_use_it_up(plant: Plant, now: int, way: str) -> None:
    brake(plant, 2, Brake(100, None, 1))
    more = 0 if "alone" in way else 1
    reply = call(plant, "record_spends", *WAYS[way](150))
    assert (b"x" in reply[1], reply[3]) == (False, OF + b"1024")
    assert b"x1024" in call(plant, "try_spends", *WAYS[way](1))[1]
    assert fields(plant, "s") == [b"%d,%d" % (now // MINUTE_MS, 150 + more)]
    assert plant.spent() == 150 + more


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("verb", ["record_spends", "try_spends"])
def test_a_minute_above_its_breaker_stops_the_campaign_until_a_person_resumes_it(
    plant: Plant, now: int, way: str, verb: str
) -> None:
    brake(plant, 2, Brake(None, 100, 1))
    more = 0 if "alone" in way else 1
    assert call(plant, verb, *WAYS[way](100 - more))[3] == OF + b"0"
    before = plant.entries()[-1]
    # What opens it is counted, and told at once: in the answer, the journal and, with that, to whoever listens.
    opens = call(plant, verb, *WAYS[way](50))
    assert (b"k" in opens[1], opens[3]) == (True, OF + b"2048")
    entry = plant.entries()[-1]
    counted = 50 if "alone" in way or verb == "record_spends" else 0
    assert entry.n == before.n + 1
    assert [(c.campaign_id, c.cause, c.direction) for c in entry.changes] == [(CAMPAIGN, "breaker", "exhausted")]
    assert entry.trips == (Trip(CAMPAIGN, 1, 100 + more + counted),)
    assert fields(plant, "bk") == [b"%d" % now]
    for later in (now, now + MINUTE_MS, now + 3 * 86_400_000):
        plant.at(later)
        NOW[0] = later
        refused = call(plant, "try_spends", *WAYS[way](1))
        assert (b"k" in refused[1], b"x2048" in refused[1], refused[3:]) == (False, True, [OF + b"2048"])
    # Facts are counted all the same, and open it no second time.
    fact = call(plant, "record_spends", *WAYS[way](500))
    assert (b"x" in fact[1], fact[3], plant.entries()[-1].trips) == (False, OF + b"2048", ())
    brake(plant, 3, Brake(None, 100, 2))
    assert [(c.cause, c.direction) for c in plant.entries()[-1].changes] == [("breaker", "restored")]
    assert b"x" not in call(plant, "try_spends", *WAYS[way](1))[1]


@pytest.mark.parametrize("way", [batch, packed])
def test_in_a_batch_what_comes_after_the_breaker_opened_is_refused(plant: Plant, now: int, way: Any) -> None:
    brake(plant, 2, Brake(None, 100, 1))
    request, *_ = way(1)
    spends = [CAMPAIGN, OTHER, CAMPAIGN, CAMPAIGN, OTHER]
    amounts = [100, 7, 1, 2, 7]
    if way is packed:
        args: tuple[Any, ...] = (request, *pack(spends, [CAMPAIGN, OTHER], amounts))
    else:
        args = (request, "".join(f"{c},{a},,;" for c, a in zip(spends, amounts, strict=True)))
    reply = call(plant, "try_spends", *args)
    assert reply[1] == b"k*3,x2048*1,k*1"
    assert plant.entries()[-1].trips == (Trip(CAMPAIGN, 1, 101),)
    assert plant.spent() == 115


def test_a_minute_that_is_resumed_counts_from_there_for_the_breaker_and_whole_for_the_limit(
    plant: Plant, client: BudgetClient, now: int
) -> None:
    brake(plant, 2, Brake(120, 100, 1))
    assert client.record_spend(CAMPAIGN, amount_micros=110).reasons == ("breaker",)
    brake(plant, 3, Brake(120, 100, 2))
    assert client.try_spend(CAMPAIGN, amount_micros=11).reasons == ("rate",)
    assert client.try_spend(CAMPAIGN, amount_micros=10).outcome == "accepted"
    assert client.record_spend(CAMPAIGN, amount_micros=90).reasons == ("rate",)
    assert client.record_spend(CAMPAIGN, amount_micros=1).reasons == ("rate", "breaker")
    assert plant.entries()[-1].trips == (Trip(CAMPAIGN, 2, 211),)
    brake(plant, 4, Brake(120, 100, 3))
    plant.at(now + MINUTE_MS)
    assert client.record_spend(CAMPAIGN, amount_micros=100).reasons == ()
    assert client.record_spend(CAMPAIGN, amount_micros=1).reasons == ("breaker",)


def test_only_a_later_round_closes_a_breaker_and_no_other_change_of_the_plan(
    plant: Plant, client: BudgetClient, now: int
) -> None:
    brake(plant, 2, Brake(None, 100, 1))
    client.record_spend(CAMPAIGN, amount_micros=101)
    for version, given in ((3, Brake(None, 10_000, 1)), (4, Brake(500, None, 1)), (5, Brake(None, None, 1))):
        brake(plant, version, given)
        assert client.try_spend(CAMPAIGN, amount_micros=1).reasons == ("breaker",), given
    plan = CampaignPlan(CAMPAIGN, 6, False, False, Schedule(), False, brake=Brake(None, None, 1))
    plant.live.publish(plant.instance, BrandPlan(BRAND, 0, None, None, False, False), [plan])
    assert client.status(CAMPAIGN).reasons == ("manual", "breaker")
    # An older plan that comes late closes nothing.
    brake(plant, 5, Brake(None, 100, 9))
    assert client.status(CAMPAIGN).reasons == ("manual", "breaker")
    brake(plant, 7, Brake(None, 100, 2))
    assert client.try_spend(CAMPAIGN, amount_micros=1).outcome == "accepted"


def test_holds_and_leases_keep_within_a_minute_with_all_that_is_on_hold(plant: Plant, now: int) -> None:
    brake(plant, 2, Brake(100, None, 1))
    assert call(plant, "holds", f"R,{CAMPAIGN},bid-1,101,60000;R,{CAMPAIGN},bid-2,60,60000;")[1] == b"x1024,a"
    assert call(plant, "try_spends", *alone(41))[1] == b"x1024*1"
    assert call(plant, "lease", str(CAMPAIGN), "lease-1", "500", "90000", "1")[1:5:3] == [b"p", b"40"]
    call(plant, "holds", f"S,{CAMPAIGN},bid-2,55,;")
    drawn = call(plant, "draw_spends", "draw-1", *pack([CAMPAIGN], [CAMPAIGN], [30]), "lease-1", "")
    assert drawn[1] == b"k*1"
    assert fields(plant, "s") == [b"%d,85" % (now // MINUTE_MS)]
    assert call(plant, "try_spends", *alone(6))[1] == b"x1024*1"
    plant.at(now + MINUTE_MS)
    # What is on hold still may be settled in this minute.
    assert call(plant, "try_spends", *alone(91))[1] == b"x1024*1"
    assert call(plant, "try_spends", *alone(90))[1] == b"k*1"


def test_what_settles_and_draws_opens_the_breaker_too_and_then_nothing_is_reserved(plant: Plant, now: int) -> None:
    brake(plant, 2, Brake(None, 100, 1))
    reply = call(plant, "holds", f"R,{CAMPAIGN},bid-1,60,60000;S,{CAMPAIGN},bid-1,101,;R,{CAMPAIGN},bid-2,1,60000;")
    assert (reply[1], reply[3]) == (b"a,o,x2048", OF + b"2048")
    assert plant.entries()[-1].trips == (Trip(CAMPAIGN, 1, 101),)
    assert call(plant, "lease", str(CAMPAIGN), "lease-1", "5", "60000", "1")[1] == b"x2048"
    brake(plant, 3, Brake(None, 100, 2))
    assert call(plant, "lease", str(CAMPAIGN), "lease-1", "300", "60000", "2")[1] == b"a"
    drawn = call(plant, "draw_spends", "draw-1", *pack([CAMPAIGN], [CAMPAIGN], [101]), "lease-1", "")
    assert (drawn[1], drawn[3]) == (b"k*1", OF + b"2048")
    assert plant.entries()[-1].trips == (Trip(CAMPAIGN, 2, 202),)


def test_a_refund_gives_no_minute_back(plant: Plant, client: BudgetClient, now: int) -> None:
    brake(plant, 2, Brake(100, 150, 1))
    assert client.try_spend(CAMPAIGN, amount_micros=100, event_id="win")
    assert client.refund(CAMPAIGN, event_id="win", amount_micros=100).outcome == "refunded"
    assert client.try_spend(CAMPAIGN, amount_micros=1).reasons == ("rate",)
    assert client.record_spend(CAMPAIGN, amount_micros=51).reasons == ("rate", "breaker")


def test_retry_at_is_the_next_minute_and_unknown_where_that_would_not_do(
    plant: Plant, client: BudgetClient, now: int
) -> None:
    starts = now - now % MINUTE_MS + MINUTE_MS
    brake(plant, 2, Brake(100, None, 1))
    assert client.try_spend(CAMPAIGN, amount_micros=60)
    assert client.try_spend(CAMPAIGN, amount_micros=41).retry_at == at_ms(starts)
    assert client.reserve(CAMPAIGN, amount_micros=41, hold_id="a").retry_at == at_ms(starts)
    # An amount above the limit never passes by itself, and neither does one beside what is on hold.
    assert client.try_spend(CAMPAIGN, amount_micros=101).retry_at is None
    client.reserve(CAMPAIGN, amount_micros=40, hold_id="b")
    assert client.try_spend(CAMPAIGN, amount_micros=61).retry_at is None
    assert client.try_spend(CAMPAIGN, amount_micros=60).retry_at == at_ms(starts)
    brake(plant, 3, Brake(100, None, 1), NO_LIMITS, PlannedFlight(1, 1, now, starts, 1000))
    assert client.try_spend(CAMPAIGN, amount_micros=50).retry_at is None
    brake(plant, 4, Brake(100, None, 1), NO_LIMITS, PlannedFlight(1, 1, now, starts + 1, 1000))
    assert client.try_spend(CAMPAIGN, amount_micros=50).retry_at == at_ms(starts)
    assert client.try_spend(OTHER, amount_micros=1).retry_at is None


def test_a_limit_for_a_minute_holds_beside_all_other_budgets(plant: Plant, client: BudgetClient, now: int) -> None:
    brake(plant, 2, Brake(100, None, 1), OwnLimits(150, None, None))
    assert client.try_spend(CAMPAIGN, amount_micros=151).reasons == ("campaign_daily_budget", "rate")
    assert client.try_spend(CAMPAIGN, amount_micros=100)
    plant.at(now + MINUTE_MS)
    assert client.try_spend(CAMPAIGN, amount_micros=51).reasons == ("campaign_daily_budget",)
    assert client.try_spend(CAMPAIGN, amount_micros=50)


def test_a_watch_hears_of_an_open_breaker_within_a_message_and_of_its_end(
    plant: Plant, client: BudgetClient, now: int
) -> None:
    brake(plant, 2, Brake(None, 100, 1))
    with client.watch(campaigns=[CAMPAIGN, OTHER]) as watch:
        until(lambda: watch.may_bid(CAMPAIGN) and watch.may_bid(OTHER))
        client.record_spend(CAMPAIGN, amount_micros=101)
        until(lambda: not watch.may_bid(CAMPAIGN))
        assert watch.status(CAMPAIGN).reasons == ("breaker",) and watch.may_bid(OTHER)
        with client.watch(campaigns=[CAMPAIGN]) as later:
            assert later.wait_ready(PATIENCE_S)
            assert later.status(CAMPAIGN).reasons == ("breaker",)
        brake(plant, 3, Brake(None, 100, 2))
        until(lambda: watch.may_bid(CAMPAIGN))


def until(so: Any) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not so():
        assert time.monotonic() < ends
        time.sleep(0.002)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("s", "x"), ("s", "1"), ("s", "1,2,3"), ("s", "1,-2"), ("s", "99999999,1"), ("s", "1,2,3,4,"), ("s", "1,2,3,4,1e3"),
        ("br", "1,2"), ("br", ",,"), ("br", "0x1,,1"), ("br", "1,2,3,4"), ("br", "9000000000000001,,1"),
        ("bk", "x"), ("bk", ""), ("bk", ",1"), ("bk", "1,2"), ("bk", ",1,0x1"),
    ],
)  # fmt: skip
def test_a_brake_that_is_malformed_takes_the_shard_out_of_use(
    plant: Plant, client: BudgetClient, now: int, field: str, value: str
) -> None:
    brake(plant, 2, Brake(100, 200, 1))
    plant.plain.hset(HASH, field, value)
    assert client.try_spend(CAMPAIGN, amount_micros=1).detail == "lost"


def test_a_minute_that_pacing_left_is_counted_on_by_the_brake(plant: Plant, client: BudgetClient, now: int) -> None:
    brake(plant, 2, Brake(100, None, 1))
    plant.plain.hset(HASH, "s", f"{now // MINUTE_MS},30,7,8,9000")
    assert client.try_spend(CAMPAIGN, amount_micros=71).reasons == ("rate",)
    assert client.try_spend(CAMPAIGN, amount_micros=70)
    assert fields(plant, "s") == [b"%d,100" % (now // MINUTE_MS)]


def test_the_fields_of_a_brake_stay_small_and_nothing_of_it_is_there_without(plant: Plant, now: int) -> None:
    assert fields(plant, "x", "br", "bk", "s") == [None] * 4
    assert plant.plain.hget(KEYS.shard, "layout") == b"1"
    assert call(plant, "record_spends", *alone(5))[1] == b"k*1"
    assert fields(plant, "x", "br", "bk", "s") == [None] * 4
    brake(plant, 2, Brake(MAX_TOTAL_MICROS, MAX_TOTAL_MICROS, 2**31 - 1))
    # A bidder of the release before is refused in this shard, and in no other.
    assert plant.plain.hget(KEYS.shard, "layout") == b"2"
    plant.plain.hset(HASH, "bk", str(LAST_MS))
    found: dict[bytes, bytes] = plant.plain.hgetall(HASH)
    assert all(len(value) <= 64 for value in found.values())
    asked = Call(script("read_plan"), (KEYS.shard, KEYS.brand(BRAND), HASH), (LAYOUT,))
    assert plant.live.call_all([asked])[0][4].endswith(
        b":br=9000000000000000,9000000000000000,2147483647:bk=%d:s=0" % LAST_MS
    )


def test_a_plan_with_a_malformed_brake_is_published_nowhere(plant: Plant, now: int) -> None:
    with pytest.raises(Exception, match="limits of campaign"):
        brake(plant, 2, Brake(-1, None, 1))
    assert fields(plant, "v", "x", "br") == [b"1", None, None]


def test_a_batch_of_several_calls_tells_of_the_breaker_that_the_last_one_opened(
    plant: Plant, client: BudgetClient, now: int
) -> None:
    brake(plant, 2, Brake(None, 1_500, 1))
    results = client.record_spends([Spend(CAMPAIGN, amount_micros=1)] * 1_600)
    assert {result.outcome for result in results} == {"recorded"}
    assert results[0].reasons == results[-1].reasons == ("breaker",)
