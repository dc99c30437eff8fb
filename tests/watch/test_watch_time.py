"""Time needs no push: windows, midnight and month's end turn in the watcher itself, by Redis' clock."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from engine import BudgetClient
from engine.client.watch.clock import RedisClock
from engine.domain.periods import DAY_MS, ms_of
from engine.domain.schedule import Schedule
from engine.domain.zones import zone_text
from engine.live.admin import BrandPlan, LiveRedis
from tests.live.plant import BRAND, CAMPAIGN, Plant
from tests.patience import PATIENCE_S, at_best
from tests.watch.conftest import SetClock, until

OFFICE = Schedule.parse({"days": ["mon"], "start_time": "09:00", "end_time": "17:00"})
EVENING = Schedule.parse({"days": ["mon"], "start_time": "17:00", "end_time": "19:00"})
LATE_MS = 50
"""What a thread takes to be woken, where the machine does not much else; on an idle one it is below 2. Looks at Redis' clock come once a second only."""
LEAD_MS = 3500
"""So long before its boundary a test begins: a busy machine has the watch whole by then, and the looks at Redis' clock, once a second from the beginning
on, are half a second away from it."""
WEEK_MS = 7 * 86_400_000


def instant(*parts: int) -> int:
    return ms_of(datetime(*parts, tzinfo=UTC))  # type: ignore[misc,arg-type]  # year to second


def late_ms(live: LiveRedis, at: int) -> int:
    """How long ago a boundary was, by Redis' time; never is it still to come."""
    late = live.now_ms() - at
    assert late >= -2
    return late


def test_a_window_opens_and_closes_to_the_minute_with_nobody_saying_so(
    plant: Plant, live: LiveRedis, client: BudgetClient, set_clock: SetClock
) -> None:
    """One window closes at five o'clock, another opens."""
    plant.brand(schedule=OFFICE)
    opens = CAMPAIGN + 65536
    plant.brand(brand_id=BRAND + 1, schedule=EVENING)

    def turn(week: int) -> int:
        at = instant(2036, 11, 24, 17) + week * WEEK_MS
        set_clock(at - LEAD_MS)
        with client.watch() as watch:
            assert watch.wait_ready(PATIENCE_S), watch.why
            assert (watch.may_bid(CAMPAIGN), watch.may_bid(opens)) == (True, False)
            turned: dict[int, int] = {}

            def all_turned() -> bool:
                for campaign, after in ((CAMPAIGN, False), (opens, True)):
                    if campaign not in turned and watch.may_bid(campaign) is after:
                        turned[campaign] = late_ms(live, at)
                return len(turned) == 2

            until(all_turned)
            for campaign in (CAMPAIGN, opens):
                assert client.status(campaign).reasons == watch.status(campaign).reasons
        return max(turned.values())

    assert at_best(LATE_MS, turn)


def test_a_schedule_that_is_published_while_watching_closes_at_its_own_minute(
    plant: Plant, live: LiveRedis, client: BudgetClient, set_clock: SetClock
) -> None:
    plant.brand()
    plant.campaign(CAMPAIGN + 1)

    def turn(week: int) -> int:
        at = instant(2036, 11, 24, 17) + week * WEEK_MS
        set_clock(at - 800)  # before the first look at Redis' clock, which would wake the watcher too
        with client.watch() as watch:
            assert watch.wait_ready(PATIENCE_S), watch.why
            for campaign in (CAMPAIGN, CAMPAIGN + 1):
                plant.campaign(campaign, version=2 * week + 2, schedule=OFFICE)
            until(lambda: not watch.may_bid(CAMPAIGN))
            late = late_ms(live, at)
            until(lambda: watch.status(CAMPAIGN + 1).reasons == ("schedule",))
        for campaign in (CAMPAIGN, CAMPAIGN + 1):
            plant.campaign(campaign, version=2 * week + 3)
        return late

    assert at_best(LATE_MS, turn)


@pytest.mark.parametrize("month_ends", [False, True], ids=["midnight", "month's end"])
def test_midnight_frees_the_day_and_a_month_s_end_the_month_but_never_a_budget_of_nothing(
    plant: Plant, live: LiveRedis, client: BudgetClient, set_clock: SetClock, month_ends: bool
) -> None:
    def turn(year: int) -> int:
        midnight = instant(2036 + year, 12, 1) if month_ends else instant(2036 + year, 11, 25)
        set_clock(midnight - LEAD_MS)
        brand_id = 81 + 3 * year
        campaign, spent_month, nothing = ((brand_id + i) * 65536 + 1 for i in range(3))
        plant.brand(brand_id=brand_id, daily="10")
        plant.brand(brand_id=brand_id + 1, monthly="10", daily="10")
        plant.brand(brand_id=brand_id + 2, daily="0", monthly="0")
        client.record_spend(campaign, "10")
        client.record_spend(spent_month, "10")
        with client.watch() as watch:
            assert watch.wait_ready(PATIENCE_S), watch.why
            assert watch.status(spent_month).reasons == ("daily_budget", "monthly_budget")
            assert not watch.may_bid(campaign)
            until(lambda: watch.may_bid(campaign))
            late = late_ms(live, midnight)
            assert watch.may_bid(spent_month) is month_ends
            assert watch.status(spent_month).reasons == client.status(spent_month).reasons
            assert watch.status(nothing).reasons == client.status(nothing).reasons == ("daily_budget", "monthly_budget")
            client.record_spend(campaign, "10")
            until(lambda: not watch.may_bid(campaign))
        return late

    assert at_best(LATE_MS, turn)


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/St_Johns", "Pacific/Chatham"])
def test_a_brand_s_own_midnight_frees_its_day_and_opens_its_hours_with_nobody_saying_so(
    plant: Plant, live: LiveRedis, client: BudgetClient, set_clock: SetClock, name: str
) -> None:
    def turn(year: int) -> int:
        midnight = ms_of(datetime(2036 + year, 12, 1, tzinfo=ZoneInfo(name)))
        set_clock(midnight - DAY_MS // 2)
        brand_id = 81 + 3 * year
        campaign, hours = brand_id * 65536 + 1, (brand_id + 1) * 65536 + 1
        first_hour = Schedule.parse({"start_time": "00:00", "end_time": "01:00"})
        for brand, schedule in ((brand_id, None), (brand_id + 1, first_hour)):
            plant.brand(brand_id=brand, daily="10", monthly="10", schedule=schedule)
            zone = zone_text(name, midnight - DAY_MS // 2)
            plan = BrandPlan(brand, 2, 10_000_000, 10_000_000, False, False, (), zone)
            assert live.publish(plant.instance, plan, [])
        set_clock(midnight - LEAD_MS)
        client.record_spend(campaign, "10")
        with client.watch() as watch:
            assert watch.wait_ready(PATIENCE_S), watch.why
            assert watch.status(campaign).reasons == ("daily_budget", "monthly_budget")
            assert watch.status(hours).reasons == ("schedule",)
            until(lambda: watch.may_bid(campaign))
            late = late_ms(live, midnight)
            until(lambda: watch.may_bid(hours))
            assert client.status(campaign).reasons == client.status(hours).reasons == ()
            client.record_spend(campaign, "10")
            until(lambda: not watch.may_bid(campaign))
        return late

    assert at_best(LATE_MS, turn)


def test_the_distance_between_the_clocks_is_shown_and_a_clock_that_is_set_forward_is_followed(
    plant: Plant, client: BudgetClient, set_clock: SetClock, live: LiveRedis
) -> None:
    nine = instant(2036, 11, 24, 9)
    plant.brand(schedule=OFFICE)
    set_clock(nine - 3_600_000)
    with client.watch() as watch:
        assert watch.wait_ready(PATIENCE_S), watch.why
        assert watch.clock_skew_ms is not None
        assert watch.clock_skew_ms > 300 * 86_400_000
        # Half of the quickest round trip so far; there is one a second.
        until(lambda: (watch.clock_error_ms or 0) < 200)
        assert not watch.may_bid(CAMPAIGN)
        set_clock(nine)
        until(lambda: watch.may_bid(CAMPAIGN))


def test_a_slow_answer_moves_the_clock_only_as_far_as_it_proves() -> None:
    clock = RedisClock()
    clock.heard(100.0, 100.002, 5_000_000)
    assert abs(clock._offset - (5_000_000 - 100_001 + 0.5)) < 1e-6
    before = clock._offset
    clock.heard(101.0, 103.0, 5_002_500)  # 2 s under way: anything from 4,899,500 to 4,901,501 is possible
    assert clock._offset == before
    clock.heard(104.0, 104.001, 5_004_010)  # Redis is 9 ms further than thought
    assert clock._offset == 5_004_010 - 104_001
    assert clock.error_ms == pytest.approx(1.0)
