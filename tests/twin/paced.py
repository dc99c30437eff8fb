"""Pacing that the machine draws, and the rules of it."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import rule

from engine.domain.curves import PPM, check
from engine.domain.ids import brand_of
from engine.domain.pacing import Pacing, compiled
from tests.model import ReferenceModel
from tests.model.plan import is_held_back, retry_ms
from tests.twin.machine import ModelMachine

_EARLY: Final = check([(3_600, 400_000), (43_200, 400_000), (86_400, PPM)])
_LATE: Final = check([(0, 10_000), (79_200, 500_000), (86_399, PPM)])
PACES: Final = st.sampled_from(
    (
        (),
        *(
            compiled(Pacing(mode, catch_up))
            for mode in ("even", "ahead")
            for catch_up in ("asap", "300", "spread", "100")
        ),
        *(compiled(Pacing("custom:c", catch_up), None, {0: _EARLY}) for catch_up in ("asap", "150")),
        compiled(Pacing("traffic", "spread"), None, {day: _EARLY if day % 2 else _LATE for day in range(1, 8)}),
    )
)
LIMITS: Final = st.sampled_from((20, 200, 1000, 1_000_000, 9 * 10**15))


def next_retry(twin: ReferenceModel, ms: int) -> int:
    """The next instant at which pacing lets a try pass that it refuses now."""
    found = [
        retry_ms(brand, campaign, ms)
        for shard in twin.shards.values()
        for campaign in shard.campaigns.values()
        if is_held_back(brand := shard.brands[brand_of(campaign.campaign_id)], campaign, ms)
    ]
    return min((at for at in found if at is not None and at > ms), default=ms + 1)


class PacedMachine(ModelMachine):
    """With paced brands and campaigns."""

    moves = {**ModelMachine.moves, "what pacing waits for": next_retry, "hours": lambda _, ms: ms + 5_000_000}

    @rule(place=st.integers(0, 2), pace=PACES, daily=LIMITS)
    def paces_a_brand(self, place: int, pace: tuple[str, ...], daily: int) -> None:
        plan = self.plans.get(self.side.brands[place])
        if plan is not None:
            self.bring(plan._replace(version=plan.version + 1, daily_limit=daily, archived=False, pace=pace), [])

    @rule(place=st.integers(0, 8), pace=PACES, daily=LIMITS)
    def paces_a_campaign(self, place: int, pace: tuple[str, ...], daily: int) -> None:
        plan = self.campaigns[sorted(self.campaigns)[place % len(self.campaigns)]]
        changed = plan._replace(version=plan.version + 1, pace=pace, limits=plan.limits._replace(daily=daily))
        self.bring(self.plans[brand_of(plan.campaign_id)], [changed])

    @rule(place=st.integers(0, 99), large=st.booleans())
    def spends_a_part_of_a_budget(self, place: int, large: bool) -> None:
        """Small next to the day's plan, so that pacing decides."""
        campaign = self.campaign(place)
        brand = self.plans.get(brand_of(campaign))
        part = (brand.daily_limit or 1000) // (30 if large else 300) if brand else 1
        self.spends("try", None, [(place, max(min(part, 10**12), 1), None, None)])
