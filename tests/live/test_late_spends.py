"""A late spend counts to the day on which it occurred, while that day's grace lasts, and to no day that is closed."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import pytest

from engine.client.spends import Spend
from engine.client.sync import BudgetClient
from engine.domain.brake import Brake
from engine.domain.budget import OwnLimits
from engine.domain.ids import shard_of
from engine.domain.periods import HOUR_MS, MINUTE_MS, at_ms, day_of, month_of, ms_of
from engine.live.keys import keys_of_brand
from engine.live.published_plans import LifetimeBase
from engine.live.registry import stamps
from engine.live.scripts import LAYOUT, WITH_OWN_LIMITS, script
from engine.live.transport.pool import Call
from tests.live.plant import BRAND, CAMPAIGN, Plant
from tests.live.test_brakes import brake
from tests.live.test_own_budgets import bring
from tests.live.test_pacing import EVEN, pace

KEYS: Final = keys_of_brand(BRAND)
OTHER: Final = CAMPAIGN + 1
GRACE: Final = 60
MIDNIGHTS: Final = {"in a month": (2037, 11, 24), "at a month's end": (2037, 12, 1), "at a year's end": (2038, 1, 1)}


def publish_grace(plant: Plant, minutes: int) -> None:
    assert stamps(plant.live, plant.instance, [shard_of(BRAND)], grace_minutes=minutes)


def counters(plant: Plant, key: str, *fields: str) -> list[int]:
    found: list[Any] = plant.plain.hmget(key, *fields)
    return [int(value or 0) for value in found]


def close(plant: Plant, *fields: str) -> bytes:
    """Removes the counters of closed periods; the status of the reply."""
    hashes = (KEYS.brand(BRAND), KEYS.campaign(CAMPAIGN))
    reply = plant.live.call_all([Call(script("prune"), (KEYS.shard, *hashes), (LAYOUT, plant.instance, *fields))])[0]
    return bytes(reply[0])


@pytest.fixture(params=MIDNIGHTS, ids=str)
def midnight(request: pytest.FixtureRequest, plant: Plant, clock: None) -> int:
    """Midnight after a day on which a brand with a grace spent 3.00 of its daily 10.00 and its monthly 100.00. It is 00:00."""
    at = ms_of(datetime(*MIDNIGHTS[request.param], tzinfo=UTC))
    plant.at(at - 12 * HOUR_MS)
    plant.brand(daily="10", monthly="100")
    plant.campaign(OTHER)
    publish_grace(plant, GRACE)
    return at


def fields_of(midnight: int) -> tuple[str, str, str, str]:
    """Counters of yesterday and today: days, then months."""
    before, after = at_ms(midnight - 1), at_ms(midnight)
    day = day_of(midnight)
    return f"d:{day - 1}", f"d:{day}", f"m:{before:%Y%m}", f"m:{after:%Y%m}"


@pytest.mark.parametrize("verb", ["record_spend", "try_spend"])
def test_a_late_spend_counts_to_its_own_day_and_month_until_the_grace_has_passed(
    plant: Plant, client: BudgetClient, midnight: int, verb: str
) -> None:
    occurred = at_ms(midnight - 1)
    yesterday, today, month_before, month = fields_of(midnight)
    spend = getattr(client, verb)
    plant.at(midnight - 1)
    assert spend(CAMPAIGN, "3", event_id="e-0", occurred_at=occurred)
    plant.at(midnight)
    answer = spend(CAMPAIGN, "2", event_id="e-1", occurred_at=occurred)
    same_month = month == month_before
    # The answer's figures are those of the present day.
    assert (answer.daily_spend, answer.monthly_spend) == (Decimal(0), Decimal(5 if same_month else 0))
    plant.at(midnight + GRACE * MINUTE_MS - 1)
    assert spend(CAMPAIGN, "1", event_id="e-2", occurred_at=at_ms(midnight - 24 * HOUR_MS))
    # Of the day before that, and at the end of the grace: booked today.
    assert spend(CAMPAIGN, "0.5", event_id="e-3", occurred_at=at_ms(midnight - 24 * HOUR_MS - 1))
    plant.at(midnight + GRACE * MINUTE_MS)
    assert spend(CAMPAIGN, "0.25", event_id="e-4", occurred_at=occurred)
    for key in (KEYS.brand(BRAND), KEYS.campaign(CAMPAIGN)):
        assert counters(plant, key, yesterday, today) == [6_000_000, 750_000]
        months = [6_750_000] * 2 if same_month else [6_000_000, 750_000]
        assert counters(plant, key, month_before, month) == months
    day = day_of(midnight)
    assert [(e.late, [s.day for s in e.spends()]) for e in plant.entries()[-5:]] == [
        (None, [None]), ({0: day - 1}, [day - 1]), ({0: day - 1}, [day - 1]), ({0: day}, [day]), ({0: day}, [day]),
    ]  # fmt: skip
    raw: Any = plant.plain.xrevrange(KEYS.journal, count=5)
    assert [fields[b"f"] for _, fields in raw] == [b"1", b"1", b"3", b"3", b"1"]
    remembered = [plant.plain.hget(key, f"{BRAND}:e-1") or b"" for key in KEYS.events]
    assert b"%d,2000000,%d" % (CAMPAIGN, day - 1) in remembered
    again = spend(CAMPAIGN, "2", event_id="e-1", occurred_at=occurred)
    assert again.outcome == "duplicate"


def test_a_late_try_is_checked_against_the_day_to_which_it_is_booked(
    plant: Plant, client: BudgetClient, midnight: int
) -> None:
    late = {"occurred_at": at_ms(midnight - 1)}
    plant.at(midnight - 1)
    assert client.try_spend(CAMPAIGN, "8")
    plant.at(midnight)
    assert client.try_spend(OTHER, "10")
    assert client.try_spend(CAMPAIGN, "1").reasons == ("daily_budget",)
    assert client.try_spend(CAMPAIGN, "2.000001", **late).reasons == ("daily_budget",)
    assert client.try_spend(CAMPAIGN, "2", **late)
    assert client.try_spend(CAMPAIGN, "0.000001", **late).reasons == ("daily_budget",)
    # In one call, each against its own day, in order; facts pass it and are counted there.
    plant.brand(daily="12", monthly="100", version=2)
    batch = [Spend(CAMPAIGN, "1", **late), Spend(OTHER, "1.5"), Spend(CAMPAIGN, "1"), Spend(CAMPAIGN, "0.5")]
    assert [a.outcome for a in client.try_spends(batch)] == ["refused", "accepted", "refused", "accepted"]
    assert client.record_spend(CAMPAIGN, "1", **late)
    yesterday, today, *_ = fields_of(midnight)
    assert counters(plant, KEYS.brand(BRAND), yesterday, today) == [11_000_000, 12_000_000]


def test_a_late_try_is_checked_against_the_limits_at_that_day_s_end(
    plant: Plant, client: BudgetClient, midnight: int
) -> None:
    late = {"occurred_at": at_ms(midnight - 1)}
    plant.at(midnight - 2)
    plant.campaign(CAMPAIGN, version=2, limits=OwnLimits(4_000_000, None, None))
    plant.at(midnight)
    plant.brand(daily="50", monthly="100", version=2)
    plant.campaign(CAMPAIGN, version=3, limits=OwnLimits(60_000_000, None, None))
    plant.at(midnight + 1)
    plant.brand(daily="70", monthly="100", version=3)
    plant.campaign(CAMPAIGN, version=4)
    assert client.try_spend(CAMPAIGN, "4.5", **late).reasons == ("campaign_daily_budget",)
    assert client.try_spend(CAMPAIGN, "4", **late)
    assert client.try_spend(OTHER, "6.5", **late).reasons == ("daily_budget",)
    assert client.try_spend(OTHER, "6", **late)
    assert client.try_spend(CAMPAIGN, "65")


def test_holds_take_nothing_from_a_day_that_is_over_and_their_part_from_a_month_that_goes_on(
    plant: Plant, client: BudgetClient, midnight: int
) -> None:
    late = {"occurred_at": at_ms(midnight - 1)}
    plant.at(midnight)
    plant.brand(daily="50", monthly="55", version=2)
    assert client.reserve(CAMPAIGN, "46", ttl=60, hold_id="h")
    *_, month_before, month = fields_of(midnight)
    fits = client.try_spend(CAMPAIGN, "9.5", **late)
    assert bool(fits) is (month != month_before)
    assert fits or fits.reasons == ("monthly_budget",)
    assert client.try_spend(CAMPAIGN, "0.5", **late)


def test_a_day_takes_no_late_spend_after_its_counters_were_removed_and_they_stay_while_it_does(
    plant: Plant, client: BudgetClient, midnight: int
) -> None:
    late = {"occurred_at": at_ms(midnight - 1)}
    yesterday, _, month_before, month = fields_of(midnight)
    plant.at(midnight)
    assert client.record_spend(CAMPAIGN, "2", **late)
    plant.at(midnight + GRACE * MINUTE_MS - 1)
    assert close(plant, yesterday) == b"open"
    assert month == month_before or close(plant, month_before) == b"open"
    plant.at(midnight + GRACE * MINUTE_MS)
    assert close(plant, yesterday) == b"ok"
    # A longer grace opens no closed day.
    publish_grace(plant, 4 * GRACE)
    assert client.record_spend(CAMPAIGN, "1", **late).daily_spend == Decimal(1)
    assert plant.plain.hget(KEYS.brand(BRAND), yesterday) is None


def test_a_grace_that_is_published_begins_with_the_present_day_and_changes_nothing_before(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    at = ms_of(datetime(2037, 11, 24, tzinfo=UTC))
    plant.at(at)
    plant.brand(daily="10")
    late = {"occurred_at": at_ms(at - 1)}
    publish_grace(plant, 0)
    assert plant.plain.hget(KEYS.shard, "layout") == LAYOUT.encode()
    assert client.record_spend(CAMPAIGN, "1", **late).daily_spend == Decimal(1)
    publish_grace(plant, GRACE)
    assert plant.plain.hget(KEYS.shard, "layout") == WITH_OWN_LIMITS.encode()
    assert client.record_spend(CAMPAIGN, "1", **late).daily_spend == Decimal(2)
    assert [entry.late for entry in plant.entries() if entry.body] == [None, {0: day_of(at)}]
    plant.at(at + 24 * HOUR_MS)
    assert client.record_spend(CAMPAIGN, "1", occurred_at=at_ms(at)).daily_spend == Decimal(0)
    assert counters(plant, KEYS.brand(BRAND), f"d:{day_of(at)}") == [3_000_000]


def test_a_malformed_counter_of_the_day_before_takes_the_shard_out_of_use(
    plant: Plant, client: BudgetClient, midnight: int
) -> None:
    plant.at(midnight)
    yesterday, *_ = fields_of(midnight)
    plant.plain.hset(KEYS.campaign(CAMPAIGN), yesterday, "1e3")
    assert client.record_spend(CAMPAIGN, "1", occurred_at=at_ms(midnight - 1)).outcome == "not_ready"
    assert plant.plain.hget(KEYS.shard, "mark") is None


def test_a_lifetime_budget_does_not_begin_with_a_log_that_lacks_a_late_spend_of_the_month_before(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    month_end = ms_of(datetime(2037, 12, 1, tzinfo=UTC))
    plant.at(month_end - HOUR_MS)
    plant.brand()
    publish_grace(plant, GRACE)
    plant.at(month_end + 1)
    first = bring(plant, 2, OwnLimits(lifetime=150))
    assert client.record_spend(CAMPAIGN, amount_micros=100, occurred_at=at_ms(month_end - 1))
    month = month_of(first.now_ms)
    again = bring(plant, 2, OwnLimits(lifetime=150), LifetimeBase(0, month, first.n))
    assert again.uncounted == (CAMPAIGN,)
    assert not bring(plant, 2, OwnLimits(lifetime=150), LifetimeBase(100, month, again.n)).uncounted
    assert client.try_spend(CAMPAIGN, amount_micros=51).reasons == ("flight_budget",)
    assert client.try_spend(CAMPAIGN, amount_micros=50)


def test_a_late_spend_counts_to_the_minute_in_which_it_comes_and_opens_the_breaker(
    plant: Plant, client: BudgetClient, midnight: int
) -> None:
    plant.at(midnight)
    brake(plant, 2, Brake(3_000_000, 4_000_000, 1))
    occurred = at_ms(midnight - 1)
    assert client.try_spend(CAMPAIGN, "3", occurred_at=occurred)
    refused = client.try_spend(CAMPAIGN, "0.000001", occurred_at=occurred)
    assert (refused.reasons, refused.retry_at) == (("rate",), at_ms(midnight + MINUTE_MS))
    answer = client.record_spend(CAMPAIGN, "1.000001", occurred_at=occurred)
    assert (answer.outcome, "breaker" in answer.reasons) == ("recorded", True)
    assert "breaker" in client.try_spend(CAMPAIGN, "0.000001").reasons
    (trip,) = plant.entries()[-1].trips
    assert trip.spent == 4_000_001


def test_in_a_call_with_a_late_spend_a_try_of_today_waits_for_its_pacing(
    plant: Plant, client: BudgetClient, midnight: int
) -> None:
    plant.at(midnight)
    pace(plant, 2, EVEN)
    late = Spend(CAMPAIGN, amount_micros=1, occurred_at=at_ms(midnight - 1))
    today = Spend(CAMPAIGN, amount_micros=1)
    # At 00:00 nothing of the new day is due, and the day before is over.
    assert [answer.outcome for answer in client.try_spends([late, today])] == ["accepted", "refused"]
    assert client.try_spends([late, today])[1].reasons == ("pacing",)
