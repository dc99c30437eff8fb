"""A campaign's own budgets are enforced on every path, beside its brand's, and whoever has none sees no difference."""

from __future__ import annotations

from typing import Any, Final

import pytest

from engine.client.sync import BudgetClient, Spend
from engine.domain.budget import NO_LIMITS, OwnLimits
from engine.domain.periods import DAY_MS, day_of, month_of, next_month_ms
from engine.domain.schedule import Schedule
from engine.live.admin import Brought
from engine.live.keys import keys_of_brand, shard_keys
from engine.live.packed import pack
from engine.live.published_plans import BrandPlan, CampaignPlan, LifetimeBase
from engine.live.scripts import LAYOUT, script
from engine.live.transport.pool import Call
from tests.live.plant import BRAND, CAMPAIGN, Plant
from tests.live.test_one_more_budget import NOW, OTHER, WAYS, alone, call

KEYS: Final = keys_of_brand(BRAND)
BITS: Final = {"daily": 32, "monthly": 64, "lifetime": 128}
NAMES: Final = {"daily": "campaign_daily_budget", "monthly": "campaign_monthly_budget", "lifetime": "flight_budget"}


def bring(plant: Plant, version: int, limits: OwnLimits, base: LifetimeBase | None = None) -> Brought:
    """Publishes limits of the first campaign."""
    plan = CampaignPlan(CAMPAIGN, version, True, False, Schedule(), False, limits, base)
    brought = plant.live.bring(plant.instance, BrandPlan(BRAND, 0, None, None, False, False), [plan])
    assert brought is not None
    return brought


def begin(plant: Plant, version: int, limits: OwnLimits, before: int = 0) -> None:
    """The same, where the log has so much of earlier months."""
    brought = bring(plant, version, limits)
    if brought.uncounted:
        base = LifetimeBase(before, month_of(brought.now_ms), brought.n)
        assert not bring(plant, version, limits, base).uncounted


@pytest.fixture
def capped(plant: Plant, request: pytest.FixtureRequest) -> Plant:
    """A campaign that spent 900 micros and may spend 100 more by one budget of its own; brand and another campaign have room."""
    plant.brand(daily="10", monthly="100")
    plant.campaign(OTHER)
    call(plant, "record_spends", *alone(900))
    begin(plant, 2, OwnLimits(**{request.param: 1000}))
    return plant


EACH: Final = pytest.mark.parametrize("capped", BITS, indirect=True)


def bit_of(request: pytest.FixtureRequest) -> int:
    return BITS[request.node.callspec.params["capped"]]


@EACH
@pytest.mark.parametrize("way", WAYS)
def test_a_campaign_s_own_budget_refuses_what_it_has_no_room_for_and_no_other_campaign_of_its_brand(
    capped: Plant, way: str, request: pytest.FixtureRequest
) -> None:
    NOW[0], bit = capped.live.now_ms(), bit_of(request)
    refused = call(capped, "try_spends", *WAYS[way](101))
    assert refused[1].endswith(b"x%d*1" % bit), refused
    counted = 0 if "alone" in way else 1
    taken = call(capped, "try_spends", *WAYS[way](100 - 2 * counted))
    assert b"x" not in taken[1]
    assert taken[3] == b"%d:%d" % (CAMPAIGN, bit)
    assert call(capped, "try_spends", *WAYS[way](1))[1].endswith(b"x%d*%d" % (bit, 2 if counted else 1))
    assert capped.live.read_campaign(CAMPAIGN).campaigns[CAMPAIGN].daily_spend == 1000  # type: ignore[union-attr]  # it is there
    assert call(capped, "try_spends", f"o-{bit}", f"{OTHER},5000,,;")[1] == b"k*1"


@EACH
@pytest.mark.parametrize("way", WAYS)
def test_facts_pass_a_campaign_s_own_budget_and_its_end_is_told_once(
    capped: Plant, way: str, request: pytest.FixtureRequest
) -> None:
    NOW[0], kind = capped.live.now_ms(), request.node.callspec.params["capped"]
    for micros in (98, 200):
        reply = call(capped, "record_spends", *WAYS[way](micros))
        assert b"x" not in reply[1]
    assert reply[3] == b"%d:%d" % (CAMPAIGN, BITS[kind])
    told = [change for entry in capped.entries() for change in entry.changes]
    assert [(c.brand_id, c.campaign_id, c.cause, c.direction) for c in told] == [
        (BRAND, CAMPAIGN, NAMES[kind], "exhausted")
    ]
    live = capped.live.read_campaign(CAMPAIGN)
    assert live is not None
    ends = {b.cause: b.since_ms for b in live.campaigns[CAMPAIGN].budgets}
    assert ends[NAMES[kind]] == capped.entries()[-1].ms or ends[NAMES[kind]] == capped.entries()[-2].ms
    lifetime = capped.plain.hget(KEYS.campaign(CAMPAIGN), "f:0")
    assert lifetime == (b"%d" % live.campaigns[CAMPAIGN].daily_spend if kind == "lifetime" else None)


@EACH
def test_a_campaign_s_own_budget_bounds_its_holds_and_not_those_of_others(
    capped: Plant, request: pytest.FixtureRequest
) -> None:
    bit = bit_of(request)
    assert call(capped, "holds", f"R,{CAMPAIGN},bid-1,101,60000;R,{OTHER},bid-1,101,60000;")[1] == b"x%d,a" % bit
    assert call(capped, "holds", f"R,{CAMPAIGN},bid-2,60,60000;R,{CAMPAIGN},bid-3,50,60000;")[1] == b"a,x%d" % bit
    assert call(capped, "try_spends", *alone(41))[1] == b"x%d*1" % bit
    assert capped.plain.hget(KEYS.brand(BRAND), f"h:{CAMPAIGN}") == b"60"
    assert capped.plain.hget(KEYS.brand(BRAND), f"h:{OTHER}") == b"101"
    call(capped, "holds", f"S,{CAMPAIGN},bid-2,55,;L,{OTHER},bid-1,,;")
    assert capped.plain.hmget(KEYS.brand(BRAND), "held", f"h:{CAMPAIGN}", f"h:{OTHER}") == [b"0", None, None]


@pytest.mark.parametrize("way", WAYS)
def test_what_a_campaign_has_on_hold_is_not_spent_by_any_path(plant: Plant, way: str) -> None:
    NOW[0] = plant.live.now_ms()
    plant.brand()
    plant.campaign(OTHER)
    begin(plant, 2, OwnLimits(daily=1000))
    call(plant, "holds", f"R,{CAMPAIGN},bid-1,900,60000;R,{OTHER},bid-1,5000,60000;")
    assert call(plant, "try_spends", *WAYS[way](101))[1].endswith(b"x32*1")
    assert b"x" not in call(plant, "try_spends", *WAYS[way](99 if "alone" in way else 98))[1]


def test_holds_that_were_open_before_a_limit_count_to_it(plant: Plant) -> None:
    plant.brand()
    plant.campaign(OTHER)
    call(plant, "holds", f"R,{CAMPAIGN},bid-1,60,60000;R,{CAMPAIGN},bid-2,30,60000;R,{OTHER},bid-1,7,60000;")
    begin(plant, 2, OwnLimits(daily=100))
    assert plant.plain.hget(KEYS.brand(BRAND), f"h:{CAMPAIGN}") == b"90"
    assert call(plant, "try_spends", *alone(11))[1] == b"x32*1"
    assert call(plant, "try_spends", *alone(10))[1] == b"k*1"


def test_a_hold_that_expires_is_given_back_to_its_campaign_by_a_call_of_another(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    now = plant.live.now_ms()
    plant.at(now)
    plant.brand()
    plant.campaign(OTHER)
    begin(plant, 2, OwnLimits(daily=100))
    call(plant, "holds", f"R,{CAMPAIGN},bid-1,90,1000;")
    plant.at(now + 1000)
    assert client.try_spend(OTHER, amount_micros=1).outcome == "accepted"
    assert plant.plain.hget(KEYS.brand(BRAND), f"h:{CAMPAIGN}") is None
    assert client.try_spend(CAMPAIGN, amount_micros=100).outcome == "accepted"


@EACH
def test_a_campaign_s_own_budget_bounds_a_lease_and_its_draws_count_to_it(
    capped: Plant, request: pytest.FixtureRequest
) -> None:
    bit = bit_of(request)
    reply = call(capped, "lease", str(CAMPAIGN), "lease-1", "500", "60000", "1")
    assert (reply[1], reply[4]) == (b"p", b"100")
    assert call(capped, "lease", str(CAMPAIGN), "lease-2", "1", "60000", "1")[1] == b"x%d" % bit
    drawn = call(capped, "draw_spends", "draw-1", *pack([CAMPAIGN], [CAMPAIGN], [70]), "lease-1", "")
    assert (drawn[1], capped.plain.hget(KEYS.brand(BRAND), f"h:{CAMPAIGN}")) == (b"k*1", b"30")
    drawn = call(capped, "draw_spends", "draw-2", *pack([CAMPAIGN], [CAMPAIGN], [30]), "lease-1", "")
    assert drawn[3] == b"%d:%d" % (CAMPAIGN, bit)


@EACH
def test_a_refund_of_today_frees_a_campaign_s_own_budget(capped: Plant, request: pytest.FixtureRequest) -> None:
    bit = bit_of(request)
    assert call(capped, "record_spends", *alone(100, "win"))[3] == b"%d:%d" % (CAMPAIGN, bit)
    keys = (*KEYS.fixed, KEYS.brand(BRAND), KEYS.campaign(CAMPAIGN))
    given = capped.live.call_all([Call(script("refund"), keys, (LAYOUT, str(CAMPAIGN), "win", "30", "", ""))])[0]
    assert (given[1], given[3]) == (b"k", b"%d:0" % CAMPAIGN)
    assert [c.direction for c in capped.entries()[-1].changes] == ["restored"]
    assert call(capped, "try_spends", *alone(31))[1] == b"x%d*1" % bit
    assert call(capped, "try_spends", *alone(30))[1] == b"k*1"


def test_a_refund_of_an_earlier_day_frees_the_month_s_and_the_lifetime_budget_and_not_the_day_s(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    midnight = next_month_ms(plant.live.now_ms()) + DAY_MS
    plant.at(midnight - 600_000)
    plant.brand()
    begin(plant, 2, OwnLimits(100, 150, 150))
    client.record_spend(CAMPAIGN, amount_micros=100, event_id="first")
    plant.at(midnight + 600_000)
    client.record_spend(CAMPAIGN, amount_micros=50)
    assert client.status(CAMPAIGN).reasons == ("campaign_monthly_budget", "flight_budget")
    assert client.refund(CAMPAIGN, event_id="first", amount_micros=40).outcome == "refunded"
    assert client.try_spend(CAMPAIGN, amount_micros=41).reasons == ("campaign_monthly_budget", "flight_budget")
    assert client.try_spend(CAMPAIGN, amount_micros=40).outcome == "accepted"
    assert client.try_spend(CAMPAIGN, amount_micros=11).reasons == tuple(NAMES.values())


def test_a_refund_of_a_month_that_is_over_frees_the_lifetime_budget_alone(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    month_end = next_month_ms(plant.live.now_ms())
    plant.at(month_end - 60_000)
    plant.brand()
    begin(plant, 2, OwnLimits(None, 100, 150))
    client.record_spend(CAMPAIGN, amount_micros=100, event_id="last-month")
    plant.at(month_end + 60_000)
    assert client.status(CAMPAIGN).reasons == ()
    client.record_spend(CAMPAIGN, amount_micros=50)
    assert client.status(CAMPAIGN).reasons == ("flight_budget",)
    assert client.refund(CAMPAIGN, event_id="last-month", amount_micros=30).outcome == "refunded"
    assert client.try_spend(CAMPAIGN, amount_micros=31).reasons == ("flight_budget",)
    assert client.try_spend(CAMPAIGN, amount_micros=30).outcome == "accepted"


def test_a_day_and_a_month_begin_with_their_own_budgets_whole_and_a_lifetime_does_not(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    # Of the next month: that of the present one may have begun.
    last_day = next_month_ms(next_month_ms(plant.live.now_ms())) - DAY_MS
    plant.at(last_day)
    plant.brand()
    begin(plant, 2, OwnLimits(10, 15, 25))
    assert client.try_spend(CAMPAIGN, amount_micros=10)
    assert client.status(CAMPAIGN).reasons == ("campaign_daily_budget",)
    plant.at(last_day + DAY_MS)
    assert client.status(CAMPAIGN).reasons == ()
    assert client.try_spend(CAMPAIGN, amount_micros=10)
    plant.at(last_day + 2 * DAY_MS)
    # In the month 10 of 15 are spent, in its life 20 of 25.
    assert client.try_spend(CAMPAIGN, amount_micros=6).reasons == ("campaign_monthly_budget", "flight_budget")
    assert client.try_spend(CAMPAIGN, amount_micros=5)
    plant.at(next_month_ms(last_day + 2 * DAY_MS))
    assert client.try_spend(CAMPAIGN, amount_micros=1).reasons == ("flight_budget",)


def test_a_limit_of_nothing_stops_a_campaign_and_an_empty_one_does_not(plant: Plant, client: BudgetClient) -> None:
    plant.brand()
    begin(plant, 2, OwnLimits(0, None, None))
    assert client.try_spend(CAMPAIGN, amount_micros=1).reasons == ("campaign_daily_budget",)
    begin(plant, 3, NO_LIMITS)
    assert client.try_spend(CAMPAIGN, amount_micros=1).outcome == "accepted"
    assert plant.plain.hget(KEYS.campaign(CAMPAIGN), "x") == b"::"


def test_raising_a_limit_frees_a_campaign_and_lowering_it_stops_it_at_that_instant(
    plant: Plant, client: BudgetClient
) -> None:
    plant.brand()
    begin(plant, 2, OwnLimits(daily=100))
    client.record_spend(CAMPAIGN, amount_micros=100)
    begin(plant, 3, OwnLimits(daily=101))
    assert client.status(CAMPAIGN).reasons == ()
    begin(plant, 4, OwnLimits(daily=99))
    told = [(c.cause, c.direction) for entry in plant.entries() for c in entry.changes]
    assert told == [("campaign_daily_budget", way) for way in ("exhausted", "restored", "exhausted")]


def test_a_lifetime_budget_begins_with_what_the_log_has_and_this_month_s_counter(
    plant: Plant, client: BudgetClient
) -> None:
    plant.brand()
    client.record_spend(CAMPAIGN, amount_micros=7)
    first = bring(plant, 2, OwnLimits(lifetime=100))
    # Without the log nothing is published: neither the limit nor the version.
    assert first.uncounted == (CAMPAIGN,)
    assert plant.plain.hmget(KEYS.campaign(CAMPAIGN), "v", "x", "f:0") == [b"1", None, None]
    month = month_of(first.now_ms)
    for stale in (LifetimeBase(80, month, first.n - 1), LifetimeBase(80, month - 1, first.n)):
        assert bring(plant, 2, OwnLimits(lifetime=100), stale).uncounted == (CAMPAIGN,)
    client.record_spend(CAMPAIGN, amount_micros=3)
    assert bring(plant, 2, OwnLimits(lifetime=100), LifetimeBase(80, month, first.n)).uncounted == ()
    assert plant.plain.hget(KEYS.campaign(CAMPAIGN), "f:0") == b"90"
    assert client.try_spend(CAMPAIGN, amount_micros=11).reasons == ("flight_budget",)
    assert client.try_spend(CAMPAIGN, amount_micros=10).outcome == "accepted"


def test_a_lifetime_budget_does_not_begin_with_a_log_that_lacks_a_refund_of_an_earlier_month(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    month_end = next_month_ms(plant.live.now_ms())
    plant.at(month_end - 60_000)
    plant.brand()
    client.record_spend(CAMPAIGN, amount_micros=100, event_id="last-month")
    plant.at(month_end + 60_000)
    first = bring(plant, 2, OwnLimits(lifetime=150))
    assert client.refund(CAMPAIGN, event_id="last-month", amount_micros=30).outcome == "refunded"
    month = month_of(first.now_ms)
    again = bring(plant, 2, OwnLimits(lifetime=150), LifetimeBase(100, month, first.n))
    assert again.uncounted == (CAMPAIGN,)
    assert not bring(plant, 2, OwnLimits(lifetime=150), LifetimeBase(70, month, again.n)).uncounted
    assert client.try_spend(CAMPAIGN, amount_micros=81).reasons == ("flight_budget",)
    assert client.try_spend(CAMPAIGN, amount_micros=80).outcome == "accepted"


def test_a_value_of_own_budgets_that_is_gone_or_odd_takes_the_shard_out_of_use_and_opens_no_budget(
    plant: Plant, client: BudgetClient
) -> None:
    plant.brand()
    begin(plant, 2, OwnLimits(lifetime=100))
    client.reserve(CAMPAIGN, amount_micros=50, hold_id="bid")
    brand, campaign = KEYS.brand(BRAND), KEYS.campaign(CAMPAIGN)
    good = {key: plant.plain.hgetall(key) for key in (brand, campaign)}
    odd = [
        (campaign, "f:0", None), (campaign, "f:0", "0x10"), (campaign, "x", "1e3::"), (campaign, "x", "5"), (campaign, "x", ""),
        (campaign, "x", "::" + "9" * 17), (campaign, "lifetime_at", "nan"), (brand, "own", "2"), (brand, f"h:{CAMPAIGN}", "-1"),
        (brand, f"h:{CAMPAIGN}", " 5"),
    ]  # fmt: skip
    for key, field, value in odd:
        if value is None:
            plant.plain.hdel(key, field)
        else:
            plant.plain.hset(key, field, value)
        # On the fast paths of one spend and of a packed batch the slow path takes the call.
        answers = [
            client.try_spend(CAMPAIGN, amount_micros=51),
            *client.try_spends([Spend(CAMPAIGN, amount_micros=51)] * 9),
        ]
        assert {(answer.outcome, answer.detail) for answer in answers} <= {
            ("not_ready", "lost"), ("not_ready", "unmarked"), ("refused", "")
        }, (field, value)  # fmt: skip
        live = client.record_spends([Spend(CAMPAIGN, amount_micros=1), Spend(CAMPAIGN, amount_micros=1, event_id="e")])
        assert {answer.outcome for answer in live} == {"not_ready"}, (field, value)
        for back, fields in good.items():
            plant.plain.delete(back)
            plant.plain.hset(back, mapping=fields)
        plant.plain.hset(shard_keys(BRAND % 64).shard, "mark", f"{plant.instance}:1")
    assert client.try_spend(CAMPAIGN, amount_micros=50).outcome == "accepted"


def test_a_shard_whose_campaigns_have_no_limits_keeps_its_layout_and_its_fields(
    plant: Plant, client: BudgetClient
) -> None:
    plant.brand(daily="10")
    bring(plant, 2, NO_LIMITS)
    client.record_spend(CAMPAIGN, amount_micros=1)
    state: dict[Any, Any] = plant.plain.hgetall(KEYS.shard)
    assert state[b"layout"] == b"1" and b"late_n" not in state
    assert b"x" not in plant.plain.hkeys(KEYS.campaign(CAMPAIGN))
    assert b"own" not in plant.plain.hkeys(KEYS.brand(BRAND))
    begin(plant, 3, OwnLimits(daily=2))
    assert plant.plain.hget(KEYS.shard, "layout") == b"2"
    day = day_of(plant.live.now_ms())
    fields: dict[bytes, bytes] = plant.plain.hgetall(KEYS.campaign(CAMPAIGN))
    assert set(fields) == {b"v", b"on", b"archived", b"schedule", b"x", b"d:%d" % day, b"m:%d" % month_of(day * DAY_MS)}
    assert all(len(value) <= 64 for value in fields.values())


def test_of_a_batch_in_several_pieces_each_answer_has_the_campaign_s_causes_after_the_whole_batch(
    plant: Plant, client: BudgetClient
) -> None:
    plant.brand()
    begin(plant, 2, OwnLimits(lifetime=1500))
    answers = client.record_spends([Spend(CAMPAIGN, amount_micros=1)] * 1600)
    assert {answer.reasons for answer in answers} == {("flight_budget",)}


def test_the_largest_limits_fit_into_a_small_field() -> None:
    assert len(OwnLimits(*(9 * 10**15,) * 3).compiled) <= 64
