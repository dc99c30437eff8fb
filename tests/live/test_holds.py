"""Holds: set aside, then settled, released or expired, once."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from engine import BudgetClient, InvalidAmount, InvalidId, InvalidInput
from engine.client.sync import Spend
from engine.domain.ids import ORDINALS, SHARDS, shard_of
from engine.domain.periods import HOUR_MS, day_of, month_of, ms_of
from engine.live.keys import keys_of_brand
from engine.live.scripts import LAYOUT, script
from engine.live.transport.pool import Call
from tests.live.plant import BRAND, CAMPAIGN, Plant


def lines(plant: Plant) -> list[str]:
    raw = plant.plain.xrange(keys_of_brand(BRAND).journal)
    return [fields[b"h"].decode() for _, fields in raw if b"h" in fields]


def test_a_hold_takes_room_from_spends_and_other_holds_but_is_no_spend(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily="10")
    held = client.reserve(CAMPAIGN, "6", 60)
    assert (held.outcome, held.daily_spend, held.reasons) == ("accepted", Decimal(0), ())
    assert client.try_spend(CAMPAIGN, "5").reasons == ("daily_budget",)
    assert client.reserve(CAMPAIGN, "5", 60).outcome == "refused"
    assert client.try_spend(CAMPAIGN, "4").outcome == "accepted"
    assert client.record_spend(CAMPAIGN, "1").outcome == "recorded"


def test_a_budget_is_held_to_its_last_micro(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily="10")
    assert client.reserve(CAMPAIGN, "9.999999", 60).outcome == "accepted"
    assert client.reserve(CAMPAIGN, "0.000002", 60).reasons == ("daily_budget",)
    assert client.reserve(CAMPAIGN, "0.000001", 60).outcome == "accepted"


def test_settling_counts_the_real_price_and_gives_the_rest_back(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily="10")
    held = client.reserve(CAMPAIGN, "6", 60, "bid-1")
    assert held.hold_id == f"{CAMPAIGN}:bid-1"
    settled = client.settle(held.hold_id, "2.5")
    assert (settled.outcome, settled.mark, settled.daily_spend) == ("settled", "", Decimal("2.5"))
    assert client.try_spend(CAMPAIGN, "7.5").outcome == "accepted"


def test_releasing_gives_all_of_it_back(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily="10")
    held = client.reserve(CAMPAIGN, "10", 60)
    assert client.try_spend(CAMPAIGN, "1").outcome == "refused"
    assert client.release(held.hold_id).outcome == "released"
    assert client.try_spend(CAMPAIGN, "10").outcome == "accepted"


def test_each_end_is_answered_again_and_changes_nothing(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily="10")
    one, two = client.reserve(CAMPAIGN, "3", 60, "one"), client.reserve(CAMPAIGN, "3", 60, "two")
    assert client.reserve(CAMPAIGN, "3", 60, "one").outcome == "accepted"
    assert client.reserve(CAMPAIGN, "4", 60, "one").outcome == "conflict"
    for _ in range(2):
        assert client.settle(one.hold_id, "2").outcome == "settled"
        assert client.release(two.hold_id).outcome == "released"
    assert client.settle(one.hold_id, "1").outcome == "conflict"
    assert client.release(one.hold_id).outcome == "settled"
    assert client.reserve(CAMPAIGN, "3", 60, "one").outcome == "settled"
    assert client.reserve(CAMPAIGN, "3", 60, "two").outcome == "released"
    assert plant.spent() == 2_000_000
    assert client.try_spend(CAMPAIGN, "8").outcome == "accepted"


def test_an_expired_hold_is_swept_by_the_next_call_on_its_brand(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    now = plant.live.now_ms()
    plant.at(now)
    plant.brand(daily="10")
    held = client.reserve(CAMPAIGN, "10", 5)
    plant.at(now + 4999)
    assert client.try_spend(CAMPAIGN, "1").outcome == "refused"
    plant.at(now + 5000)
    assert client.try_spend(CAMPAIGN, "10").outcome == "accepted"
    assert client.release(held.hold_id).outcome == "expired"
    assert [line[0] for line in lines(plant)] == ["R", "E"]
    assert plant.plain.exists(*keys_of_brand(BRAND).holds(BRAND)) == 0


def test_a_late_settle_is_counted_once_and_marked(plant: Plant, client: BudgetClient, clock: None) -> None:
    now = plant.live.now_ms()
    plant.at(now)
    plant.brand(daily="10")
    held = client.reserve(CAMPAIGN, "3", 1)
    plant.at(now + 1000)
    for _ in range(2):
        late = client.settle(held.hold_id, "2")
        assert (late.outcome, late.mark, late.daily_spend) == ("settled", "late", Decimal(2))
    unknown = client.settle(f"{CAMPAIGN}:never-held", "1")
    assert (unknown.outcome, unknown.mark, unknown.daily_spend) == ("settled", "late", Decimal(3))
    assert client.release(f"{CAMPAIGN}:nobody").outcome == "unknown_hold"


def test_a_hold_that_was_released_and_is_settled_late_counts_once_over_the_turn_of_a_window(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    noon = ms_of(datetime(2100, 3, 10, 12, tzinfo=UTC))
    # A window's last minute, in each of the two hashes: one of them is read after the other.
    for turn in (0, 1):
        plant.at(noon + turn * HOUR_MS + 59 * 60_000)
        plant.brand(daily="1000")
        held = client.reserve(CAMPAIGN, "3", 30)
        assert client.release(held.hold_id).outcome == "released"
        plant.at(noon + (turn + 1) * HOUR_MS)
        for _ in range(3):
            late = client.settle(held.hold_id, "2")
            assert (late.outcome, late.mark, late.daily_spend) == ("settled", "late", Decimal(2 * (turn + 1)))


def test_settling_above_what_was_held_is_counted_and_marked_over(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily="10")
    held = client.reserve(CAMPAIGN, "3", 60)
    for _ in range(2):
        over = client.settle(held.hold_id, "12")
        assert (over.outcome, over.mark, over.daily_spend, over.reasons) == (
            "settled",
            "over",
            Decimal(12),
            ("daily_budget",),
        )


def test_a_hold_over_midnight_counts_against_both_days_until_it_ends(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    midnight = (plant.live.now_ms() // 86_400_000 + 1) * 86_400_000
    plant.at(midnight - 1000)
    plant.brand(daily="10")
    held = client.reserve(CAMPAIGN, "6", 60)
    assert client.try_spend(CAMPAIGN, "5").outcome == "refused"
    plant.at(midnight)
    assert client.try_spend(CAMPAIGN, "5").outcome == "refused"
    assert client.settle(held.hold_id, "6").daily_spend == Decimal(6)
    assert client.try_spend(CAMPAIGN, "4").outcome == "accepted"


def test_holds_that_were_lost_take_their_shard_out_of_use(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily="10")
    client.reserve(CAMPAIGN, "6", 60)
    plant.plain.delete(keys_of_brand(BRAND).holds(BRAND)[0])
    assert client.try_spend(CAMPAIGN, "1").outcome == "not_ready"


def test_a_refund_of_today_gives_the_money_back_to_day_and_month_once(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily="10")
    client.record_spend(CAMPAIGN, "10", event_id="win")
    for _ in range(2):
        refunded = client.refund(CAMPAIGN, "4", "win")
        assert (refunded.outcome, refunded.daily_spend, refunded.reasons) == ("refunded", Decimal(6), ())
    assert client.refund(CAMPAIGN, "3", "win").outcome == "conflict"
    assert client.refund(CAMPAIGN, "1", "other").outcome == "unknown_event"
    assert client.record_spend(CAMPAIGN, "10", event_id="win").outcome == "duplicate"


def test_a_refund_of_more_than_was_spent_is_a_conflict(plant: Plant, client: BudgetClient) -> None:
    plant.brand()
    client.record_spend(CAMPAIGN, "1", event_id="win")
    assert client.refund(CAMPAIGN, "1.000001", "win").outcome == "conflict"
    assert plant.spent() == 1_000_000


def test_a_refund_of_an_earlier_day_lowers_the_month_only(plant: Plant, client: BudgetClient, clock: None) -> None:
    midnight = ms_of(datetime(2100, 3, 10, tzinfo=UTC))
    plant.at(midnight - 1000)
    plant.brand()
    client.record_spend(CAMPAIGN, "5", event_id="win")
    plant.at(midnight)
    client.record_spend(CAMPAIGN, "2")
    refunded = client.refund(CAMPAIGN, "5", "win")
    assert (refunded.outcome, refunded.daily_spend, refunded.monthly_spend) == ("refunded", Decimal(2), Decimal(2))
    assert lines(plant)[-1] == f"C,{CAMPAIGN},win,5000000,{midnight // 86_400_000 - 1};"


def test_a_refund_of_an_earlier_month_lowers_neither_day_nor_month(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    april = ms_of(datetime(2100, 4, 1, tzinfo=UTC))
    plant.at(april - 1000)
    plant.brand()
    client.record_spend(CAMPAIGN, "5", event_id="win")
    plant.at(april)
    client.record_spend(CAMPAIGN, "2")
    refunded = client.refund(CAMPAIGN, "5", "win")
    assert (refunded.outcome, refunded.daily_spend, refunded.monthly_spend) == ("refunded", Decimal(2), Decimal(2))
    own = plant.plain.hgetall(keys_of_brand(BRAND).campaign(CAMPAIGN))
    assert own[f"d:{day_of(april)}".encode()] == b"2000000"
    assert own[f"m:{month_of(april)}".encode()] == b"2000000"


def test_bad_holds_are_refused_before_anything_is_sent(plant: Plant, client: BudgetClient) -> None:
    plant.brand()
    for ttl in (0, -1, 86_401, True, "60", None):
        with pytest.raises(InvalidInput, match="ttl"):
            client.reserve(CAMPAIGN, "1", ttl)  # type: ignore[arg-type]
    with pytest.raises(InvalidAmount):
        client.reserve(CAMPAIGN, "0", 60)
    for hold_id in ("bare", "x:1", f"{CAMPAIGN}:", f"{CAMPAIGN}:a b", 7):
        with pytest.raises(InvalidId, match="hold_id"):
            client.settle(hold_id, "1")  # type: ignore[arg-type]
    with pytest.raises(InvalidId, match="event_id"):
        client.refund(CAMPAIGN, "1")
    assert lines(plant) == []


def test_holds_of_many_brands_that_end_at_once_are_swept_in_turns_and_stop_no_call(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    now = plant.live.now_ms()
    plant.at(now)
    brands = [BRAND + SHARDS * i for i in range(30)]
    keys = keys_of_brand(BRAND)
    for brand in brands:
        plant.brand(brand_id=brand, daily="0.00005")
        body = "".join(f"R,{brand * ORDINALS + 1},h{i},1,1000;" for i in range(50))
        plan = (*keys.fixed, keys.brand(brand), keys.campaign(brand * ORDINALS + 1), *keys.holds(brand))
        (reply,) = plant.live.call_all([Call(script("holds"), plan, (LAYOUT, body))])
        assert set(reply[1].split(b",")) == {b"a"}
    plant.at(now + 1000)
    batch = [Spend(brand * ORDINALS + 1, amount_micros=50) for brand in brands]
    turns = 0
    while any(answer.outcome == "refused" for answer in client.try_spends(batch)) and turns < len(brands):
        turns += 1
        held = sum(int(plant.plain.hget(keys.brand(brand), "held") or 0) for brand in brands)
        assert held == 50 * (len(brands) - turns)
        batch = [s for s in batch if plant.spent(s.campaign_id // ORDINALS) == 0]
    assert turns == len(brands) - 1
    assert [plant.spent(brand) for brand in brands] == [50] * len(brands)
    state = plant.live.read_shard(shard_of(BRAND))
    assert [entry.n for entry in plant.entries()] == list(range(1, state.n + 1))
    ended = [line for told in lines(plant) for line in told.split(";") if line.startswith("E,")]
    assert len(ended) == len(set(ended)) == 50 * len(brands)
