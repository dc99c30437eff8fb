"""The machine's rules of scheduled changes of limits, and of brands that are paused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import rule

from engine.domain.ids import brand_of
from engine.domain.limit_changes import Step
from tests.model import ReferenceModel
from tests.model.steps import limits_at
from tests.twin.zoned import ZonedMachine

GAPS: Final = st.sampled_from((-300_000, -1, 0, 1, 1, 4_000, 300_000, 7_200_000))
LIMITS: Final = st.sampled_from((None, 0, 5, 20, 50, 200, 1000, 1_000_000, 9 * 10**15))


def next_step(twin: ReferenceModel, ms: int) -> int:
    """The next step of any limit."""
    ahead = [
        step.at_ms
        for shard in twin.shards.values()
        for owner in (*shard.brands.values(), *shard.campaigns.values())
        for step in owner.steps
        if step.at_ms > ms
    ]
    return min(ahead, default=ms + 1)


STEPPED_MOVES: Final[dict[str, Callable[[ReferenceModel, int], int]]] = {
    "the next step": next_step,
    "a next step again": next_step,
}


class SteppedMachine(ZonedMachine):
    """With limits that change by schedule."""

    moves = {**ZonedMachine.moves, **STEPPED_MOVES}

    def steps(self, now: int, gaps: list[int], limits: list[int | None]) -> tuple[Step, ...]:
        at, made = now, []
        for place, gap in enumerate(gaps):
            at = max(at + gap, made[-1].at_ms + 1 if made else 0)
            made.append(Step(at, limits[2 * place], limits[2 * place + 1]))
        return tuple(made)

    @rule(place=st.integers(0, 2), paused=st.booleans())
    def pauses_a_brand(self, place: int, paused: bool) -> None:
        plan = self.plans.get(self.side.brands[place])
        if plan is not None:
            self.bring(plan._replace(version=plan.version + 1, paused=paused), [])

    @rule(
        place=st.integers(0, 11),
        gaps=st.lists(GAPS, min_size=0, max_size=2),
        limits=st.lists(LIMITS, min_size=4, max_size=4),
    )
    def schedules_limits(self, place: int, gaps: list[int], limits: list[int | None]) -> None:
        """A brand's, or in three of four cases a campaign's."""
        if place < 3:
            plan = self.plans.get(self.side.brands[place])
            if plan is not None:
                now = max(self.clock, self.twin.shard(plan.brand_id * 65536 + 1).kept_now)
                self.bring(plan._replace(version=plan.version + 1, steps=self.steps(now, gaps, limits)), [])
            return
        own = self.campaigns[sorted(self.campaigns)[place % len(self.campaigns)]]
        now = max(self.clock, self.twin.shard(own.campaign_id).kept_now)
        own = own._replace(version=own.version + 1, steps=self.steps(now, gaps, limits))
        self.bring(self.plans[brand_of(own.campaign_id)], [own])

    @rule(place=st.integers(0, 11))
    def takes_steps_over(self, place: int) -> None:
        """The catalog takes what has passed into the plan's own limits."""
        if place < 3:
            plan = self.plans.get(self.side.brands[place])
            if plan is not None:
                now = max(self.clock, self.twin.shard(plan.brand_id * 65536 + 1).kept_now)
                daily, monthly = limits_at((plan.daily_limit, plan.monthly_limit), plan.steps, now)
                left = tuple(step for step in plan.steps if step.at_ms > now)
                changed = plan._replace(version=plan.version + 1, daily_limit=daily, monthly_limit=monthly, steps=left)
                self.bring(changed, [])
            return
        own = self.campaigns[sorted(self.campaigns)[place % len(self.campaigns)]]
        now = max(self.clock, self.twin.shard(own.campaign_id).kept_now)
        limits = own.limits._make(limits_at(own.limits, own.steps, now))
        left = tuple(step for step in own.steps if step.at_ms > now)
        self.bring(
            self.plans[brand_of(own.campaign_id)], [own._replace(version=own.version + 1, limits=limits, steps=left)]
        )
