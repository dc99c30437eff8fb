"""The picture is what Redis answers: whatever is published, spent, corrected, lost and cut, and however the clock goes on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import BudgetClient, NotFound, NotReady, Watch
from engine.client.watch import watch as watch_module
from engine.domain.ids import shard_of
from engine.domain.periods import DAY_MS, MINUTE_MS, ms_of
from engine.domain.schedule import Schedule
from engine.domain.zones import UTC_ZONE, BrandZone
from engine.live.admin import BrandPlan, CampaignPlan, LiveRedis
from engine.live.repair import adjust
from tests.live.plant import Plant
from tests.patience import PATIENCE_S
from tests.watch.conftest import SetClock, until

BRANDS = (81, 145, 82)
"""Two of one shard, and one of another."""
CAMPAIGNS = [brand * 65536 + ordinal for brand in BRANDS for ordinal in (1, 2, 3)]
START = ms_of(datetime(2036, 11, 30, 23, 58, tzinfo=UTC))

LIMITS = st.sampled_from([None, 0, 1, 5, 9])
ZONES = ["Europe/Berlin", "America/St_Johns", "Pacific/Chatham", "Asia/Kolkata", None]
"""Chatham is in the day to come when the story begins, St Johns in the day before soon after."""
SCHEDULES = st.sampled_from(
    [
        None,
        {"days": ["mon"]},
        {"days": ["sun", "tue"], "start_time": "23:59", "end_time": "00:01"},
        {"start_time": "00:00", "end_time": "12:00"},
        [{"days": ["sun"]}, {"days": ["mon", "tue"], "start_time": "00:01", "end_time": "24:00"}],
    ]
)
STEPS = st.one_of(
    st.tuples(st.just("brand"), st.sampled_from(BRANDS), LIMITS, LIMITS, st.booleans()),
    st.tuples(st.just("zone"), st.sampled_from(BRANDS), st.sampled_from(ZONES)),
    st.tuples(st.just("campaign"), st.sampled_from(CAMPAIGNS), st.booleans(), st.booleans(), SCHEDULES),
    st.tuples(st.just("record"), st.sampled_from(CAMPAIGNS), st.integers(1, 6)),
    st.tuples(st.just("try"), st.sampled_from(CAMPAIGNS), st.integers(1, 6)),
    st.tuples(st.just("refund"), st.sampled_from(CAMPAIGNS), st.integers(1, 6)),
    st.tuples(st.just("correct"), st.sampled_from(BRANDS), st.integers(-6, 6).filter(bool)),
    st.tuples(st.just("clock"), st.sampled_from([MINUTE_MS, 13 * MINUTE_MS, DAY_MS // 2, DAY_MS - 3 * MINUTE_MS])),
    st.tuples(st.just("cut")),
)


class Story:
    """Applies steps to a planted Redis."""

    def __init__(self, plant: Plant, client: BudgetClient, set_clock: SetClock) -> None:
        self.plant, self.client, self._set_clock = plant, client, set_clock
        self._now = START
        self._versions: dict[int, int] = {}
        self._highest: dict[int, int] = {}
        self._plans: dict[int, BrandPlan] = {}
        self._zones: dict[int, BrandZone] = {}
        self._spends: list[tuple[int, str]] = []
        set_clock(START)
        for brand in BRANDS:
            self.brand(brand, None, None, False)

    def _next(self, entity: int) -> int:
        self._versions[entity] = self._versions.get(entity, 0) + 1
        return self._versions[entity]

    def brand(self, brand: int, daily: int | None, monthly: int | None, archived: bool) -> None:
        zone = self._plans[brand].zone if brand in self._plans else ""
        self._put(BrandPlan(brand, self._next(brand), daily, monthly, archived, brand not in self._plans, (), zone))

    def zone(self, brand: int, name: str | None) -> None:
        """Another zone, from the brand's next midnight on."""
        self._zones[brand] = self._zones.get(brand, UTC_ZONE).changed(name, self._now)
        plan = self._plans[brand]
        self._put(replace(plan, version=self._next(brand), create=False, zone=self._zones[brand].text(self._now)))

    def _put(self, plan: BrandPlan) -> None:
        assert self.plant.live.publish(self.plant.instance, plan, [])
        self._plans[plan.brand_id] = plan

    def campaign(self, campaign: int, enabled: bool, archived: bool, schedule: Any) -> None:
        brand, ordinal = divmod(campaign, 65536)
        for o in range(self._highest.get(brand, 0) + 1, ordinal + 1):
            self._publish(brand * 65536 + o, True, False, None, True)
            self._highest[brand] = o
        self._publish(campaign, enabled, archived, schedule, False)

    def _publish(self, campaign: int, enabled: bool, archived: bool, schedule: Any, create: bool) -> None:
        plan = CampaignPlan(campaign, self._next(campaign), enabled, archived, Schedule.parse(schedule), create)
        brand = BrandPlan(campaign // 65536, 0, None, None, False, False)
        assert self.plant.live.publish(self.plant.instance, brand, [plan])

    def record(self, campaign: int, micros: int) -> None:
        event = f"e{len(self._spends)}"
        self._spends.append((campaign, event))
        self.client.record_spend(campaign, amount_micros=micros, event_id=event)

    def try_(self, campaign: int, micros: int) -> None:
        self.client.try_spend(campaign, amount_micros=micros)

    def refund(self, campaign: int, micros: int) -> None:
        for of, event in reversed(self._spends):
            if of == campaign:
                self.client.refund(campaign, None, event, amount_micros=micros)
                return

    def correct(self, brand: int, micros: int) -> None:
        live, shard = self.plant.live, shard_of(brand)
        state = live.read_shard(shard)
        read = live.read_brand(brand, 0)
        assert read is not None
        field = f"d:{read.zone.day_of(read.now_ms)}"
        adjust(live, self.plant.instance, shard, self.plant.key(brand), field, micros, f"c-{state.n}", state.n)

    def clock(self, ms: int) -> None:
        self._now += ms
        self._set_clock(self._now)

    def cut(self) -> None:
        self.plant.plain.client_kill_filter(_type="pubsub")

    def tell(self, step: tuple[Any, ...]) -> None:
        name, *args = step
        getattr(self, "try_" if name == "try" else name)(*args)


def agrees(watch: Watch, client: BudgetClient) -> bool:
    for campaign in CAMPAIGNS:
        try:
            wanted = client.status(campaign).reasons
        except NotFound:
            if watch.may_bid(campaign):
                return False
            continue
        try:
            seen = watch.status(campaign).reasons
        except (NotFound, NotReady):
            return False
        if seen != wanted or watch.may_bid(campaign) == bool(wanted):
            return False
    return not watch.stale


@settings(
    max_examples=35, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(STEPS, min_size=3, max_size=25), st.data())
def test_the_picture_is_what_redis_answers(
    live: LiveRedis,
    hot_redis: redis.Redis,
    client: BudgetClient,
    set_clock: SetClock,
    beat_often: Callable[[], None],
    steps: list[tuple[Any, ...]],
    data: st.DataObject,
) -> None:
    hot_redis.flushall()
    with ExitStack() as stack:
        story = Story(Plant(live, hot_redis), client, set_clock)
        watch = stack.enter_context(client.watch(fail_open=data.draw(st.booleans())))
        assert watch.wait_ready(PATIENCE_S), watch.why
        for i, step in enumerate(steps):
            story.tell(step)
            if i % 5 == 4:
                until(lambda: agrees(watch, client))
        until(lambda: agrees(watch, client))
        late = stack.enter_context(client.watch())
        assert late.wait_ready(PATIENCE_S), late.why
        until(lambda: agrees(late, client))


@pytest.fixture
def beat_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis' clock is looked at fifty times a second, so that a clock that jumps is soon seen."""
    monkeypatch.setattr(watch_module, "BEAT_S", 0.02)
