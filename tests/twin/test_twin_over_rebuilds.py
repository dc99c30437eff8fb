"""The twin and a whole system: persisted, wiped, damaged and rebuilt at any moment, and still one and the same money."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from engine.domain.ids import brand_of, shard_of
from engine.domain.periods import DAY_MS
from engine.errors import BudgetError
from engine.ledger import limit_rows
from engine.live.keys import shard_keys
from engine.live.scripts import swapping
from engine.wiring import System
from tests.live.plant import MOVABLE_CLOCK
from tests.model import BrandPlan, CampaignPlan, Spend
from tests.twin.conftest import drawn
from tests.twin.drawn import SCHEDULES
from tests.twin.instants import STARTS
from tests.twin.machine import ModelMachine
from tests.twin.paced import PACED_MOVES, PacedRules
from tests.twin.planned import PlannedRules
from tests.twin.rolled import CAPS, DAILY, RolledRules
from tests.twin.stepped import STEPPED_MOVES
from tests.twin.whole_side import WholeSide, check_fold
from tests.twin.zoned import NAMES, ZONED_MOVES, ZonedRules, next_midnight


class OverRebuilds(PlannedRules, PacedRules, RolledRules, ZonedRules, ModelMachine):
    """The live rules, and those of the catalog, the log, the close and the rebuild."""

    moves = {**ModelMachine.moves, **ZONED_MOVES, **PACED_MOVES, **STEPPED_MOVES}

    def __init__(self, side: WholeSide) -> None:
        super().__init__(side)
        self.whole = side

    def bring(self, brand: BrandPlan, campaigns: list[CampaignPlan]) -> None:
        create = {brand.brand_id} - set(self.plans) | {c.campaign_id for c in campaigns} - set(self.campaigns)
        if any(c.limits.lifetime is not None and c.campaign_id in self.campaigns for c in campaigns):
            # A lifetime budget begins with what the log has, so its publish waits for persist, also of what a scheduled change told.
            self.is_published(brand.brand_id)
            self.is_persisted()
        self.whole.at_postgresql(self.now_of(brand.brand_id))
        # What does not fit, as pacing without a daily budget, is refused and changes nothing.
        with suppress(BudgetError):
            self.whole.bring(brand, campaigns, create)
        self.is_published(brand.brand_id)

    def brings_a_zone(self, plan: BrandPlan, name: str | None, now: int) -> None:
        self.whole.at_postgresql(now)
        self.whole.bring_zone(plan.brand_id, name, now)
        self.is_published(plan.brand_id)

    def is_published(self, brand_id: int) -> None:
        """A change of the catalog reaches Redis, with every scheduled one that has begun. A zone may begin later by that."""
        self.whole.stamp(self.now_of(brand_id))
        self.whole.system.publisher.publish_pending()
        self.whole.stamp(self.now_of(brand_id))
        brands, every = self.whole.plans()
        for plan in brands:
            changed = [
                c for c in every
                if brand_of(c.campaign_id) == plan.brand_id and c != self.campaigns.get(c.campaign_id)
            ]  # fmt: skip
            # As publish does: what has a version that is not there yet.
            if changed or plan != self.plans.get(plan.brand_id):
                self.twin.change(plan, self.now_of(plan.brand_id))
                self.twin.publish(plan, changed, self.clock)
        self.plans = {p.brand_id: p for p in brands}
        self.campaigns = {c.campaign_id: c for c in every}

    @rule()
    def is_persisted(self) -> None:
        self.whole.system.persister.drain_all()
        self.twin.persist()
        self.whole.check_log(self.twin)
        check_fold(self.twin)

    @rule()
    def the_log_decides_refunds(self) -> None:
        self.is_persisted()
        self.whole.system.refund_desk.decide()
        self.twin.decide(self.clock)
        self.is_persisted()

    @rule(drained=st.booleans(), place=st.integers(0, 99))
    def is_wiped_and_rebuilt(self, drained: bool, place: int) -> None:
        if drained:
            self.is_persisted()
        self.whole.plain.flushdb()
        self.whole.at(self.clock)
        self.twin.crash()
        # What comes meanwhile is told to wait, and writes nothing.
        campaign = self.campaign(place)
        self.charge("try", "while-it-was-gone", [Spend(campaign, 1)])
        assert self.whole.plain.keys("budget:*") == []
        self.rebuild(self.whole.shards, anew=True)

    @rule(
        drained=st.booleans(),
        changes=st.lists(
            st.tuples(st.integers(0, 2), CAPS, DAILY, st.sampled_from(("the same", *NAMES)), st.integers(0, 2)),
            min_size=1,
            max_size=3,
        ),
        days=st.integers(0, 3),
    )
    def is_lost_for_days(
        self, drained: bool, changes: list[tuple[int, int | None, int | None, str | None, int]], days: int
    ) -> None:
        """People change brands meanwhile, which reaches Redis with its rebuild."""
        if drained:
            self.is_persisted()
        self.moves_on(lambda _, ms: ms, 0)
        self.whole.plain.flushdb()
        self.whole.at(self.clock)
        self.twin.crash()
        for place, cap, daily, zone, midnights in changes:
            for _ in range(midnights):
                self.moves_on(next_midnight, place - 1)
            plan = self.plans.get(self.whole.brands[place])
            if plan is None:
                continue
            self.whole.at_postgresql(self.clock)
            with suppress(BudgetError):
                self.whole.bring(plan._replace(rollover_cap=cap, daily_limit=daily), [], set())
            if zone != "the same":
                self.whole.bring_zone(plan.brand_id, zone, self.clock)
            self.whole.stamp(self.clock)
            self.plans = {p.brand_id: p for p in self.whole.plans()[0]}
            self.twin.change(self.plans[plan.brand_id], self.clock)
        self.moves_on(lambda _, ms: ms + days * DAY_MS, 0)
        self.rebuild(self.whole.shards, anew=True)

    @rule(place=st.integers(0, 99), key=st.sampled_from(("shard", "brand", "requests", "events", "none")))
    def loses_a_key_and_is_rebuilt(self, place: int, key: str) -> None:
        """A shard whose journal is whole loses nothing, whatever else is gone. Its clock's memory goes with its shard key."""
        brand = self.whole.brands[place % 3]
        number = shard_of(brand)
        keys = shard_keys(number)
        names = {"brand": [keys.brand(brand)], "requests": keys.requests, "events": keys.events}
        if key == "shard":
            self.whole.plain.delete(keys.shard)
            self.twin.shards[number].grace_minutes = self.twin.shards[number].closed = 0
        elif key != "none":
            self.whole.plain.delete(*names[key])
        self.rebuild((number,), anew=False)

    def rebuild(self, shards: tuple[int, ...], *, anew: bool) -> None:
        self.whole.system.rebuilder.rebuild(shards)
        for number in shards:
            if anew:
                self.whole.view.begin_anew(number, len(self.twin.shards[number].journal))
        self.twin.rebuild(shards, *self.whole.plans(), self.clock)
        self.whole.check_log(self.twin)
        check_fold(self.twin)


@pytest.fixture
def side(system: System, monkeypatch: pytest.MonkeyPatch) -> Iterator[WholeSide]:
    made = WholeSide(system)
    monkeypatch.setattr(limit_rows, "now_ms", lambda _: made.postgresql_ms)
    with swapping({"lib/clock.lua": MOVABLE_CLOCK}):
        yield made


@pytest.mark.timeout(0)
def test_a_rebuilt_system_answers_as_the_twin_does(side: WholeSide) -> None:
    run_state_machine_as_test(lambda: OverRebuilds(side), settings=drawn(16, 30, share=10))  # type: ignore[no-untyped-call]


def test_what_a_rebuild_carried_over_is_carried_by_the_next_one_too(side: WholeSide) -> None:
    machine = OverRebuilds(side)
    machine.begins(start=STARTS[-1], daily=200, monthly=None, schedule=SCHEDULES[0])
    machine.rolls_over(place=0, cap=50, daily=50)
    machine.spends("record", None, [(0, 10, None, None)])
    machine.moves_on(lambda _, ms: ms + 2 * DAY_MS, 0)
    for _ in range(2):
        machine.is_wiped_and_rebuilt(drained=True, place=0)
        machine.both_hold_the_same()
        machine.spends("record", None, [(0, 10, None, None)])
        machine.both_hold_the_same()
    assert machine.twin.shards[17].brands[17].carried(machine.clock) == 50


def test_a_step_right_before_a_midnight_and_a_persons_change_right_after_it_are_carried_as_the_twin_does(
    side: WholeSide,
) -> None:
    machine, brand = OverRebuilds(side), side.brands[1]
    machine.begins(start=STARTS[-1], daily=200, monthly=None, schedule=SCHEDULES[0])
    machine.rolls_over(place=1, cap=1000, daily=50)
    machine.schedules_a_limit(place=1, period="daily", change=("add", 100), gap="before midnight", length=None)
    # The change comes at the midnight itself, a millisecond after the step.
    machine.is_lost_for_days(drained=True, changes=[(1, 1000, 20, "the same", 1)], days=0)
    machine.both_hold_the_same()
    assert machine.twin.shards[shard_of(brand)].brands[brand].carried(machine.clock) == 150
