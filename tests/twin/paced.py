"""Pacing that the machine draws, and the rules of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from engine.domain.curves import PPM, check
from engine.domain.ids import brand_of
from engine.domain.pacing import Pacing, compiled
from engine.domain.periods import MINUTE_MS
from tests.model import BrandPlan, CampaignPlan, ReferenceModel, Spend
from tests.model.plan import is_held_back, retry_ms
from tests.twin.late_rules import Drawn
from tests.twin.machine import ModelMachine
from tests.twin.side import Side

_EARLY: Final = check([(3_600, 400_000), (43_200, 400_000), (86_400, PPM)])
_LATE: Final = check([(0, 10_000), (79_200, 500_000), (86_399, PPM)])
CURVES: Final = {"early": {0: _EARLY}, "week": {day: _EARLY if day % 2 else _LATE for day in range(1, 8)}}
"""By name, as the catalog has them."""
PACINGS: Final = {
    compiled(pacing, None, CURVES.get(pacing.curve or "")): pacing
    for pacing in (
        Pacing(),
        *(Pacing(mode, catch_up) for mode in ("even", "ahead") for catch_up in ("asap", "300", "spread", "100")),
        *(Pacing("custom:early", catch_up) for catch_up in ("asap", "150")),
        Pacing("custom:week", "spread"),
    )
}
"""What a person chooses, by what publish takes of it for a brand."""
PACES: Final = st.sampled_from(tuple(PACINGS))
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


PACED_MOVES: Final[dict[str, Callable[[ReferenceModel, int], int]]] = {
    "what pacing waits for": next_retry,
    "hours": lambda _, ms: ms + 5_000_000,
    "the next minute": lambda _, ms: ms - ms % MINUTE_MS + MINUTE_MS,
    "minutes": lambda _, ms: ms + 200_000,
}


class PacedRules(RuleBasedStateMachine):
    """Paced brands and campaigns: a part of the machines."""

    side: Side
    plans: dict[int, BrandPlan]
    campaigns: dict[int, CampaignPlan]
    unnamed: int
    campaign: Callable[[int], int]
    bring: Callable[[BrandPlan, list[CampaignPlan]], None]
    charge: Callable[[str, str, list[Spend]], None]
    spends: Callable[[str, str | None, list[Drawn]], None]
    moves_on: Callable[[Callable[[ReferenceModel, int], int], int], None]

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

    @rule(
        place=st.integers(0, 99), pace=PACES, of_both=st.booleans(), part=st.sampled_from((200, 1440, 20_000)),
        tries=st.integers(1, 4), minutes=st.integers(2, 4), idle=st.integers(0, 1),
    )  # fmt: skip
    def is_offered_more_than_its_plan_for_some_minutes(
        self, place: int, pace: tuple[str, ...], of_both: bool, part: int, tries: int, minutes: int, idle: int
    ) -> None:
        """So that a pass rate is between its least and one."""
        plan = self.campaigns[sorted(self.campaigns)[place % len(self.campaigns)]]
        campaign, brand, daily = plan.campaign_id, self.plans[brand_of(plan.campaign_id)], 10**9
        self.bring(brand._replace(version=brand.version + 1, daily_limit=daily, archived=False, pace=pace), [])
        own = plan.limits._replace(daily=daily // 2 if of_both else None)
        changed = plan._replace(version=plan.version + 1, enabled=True, limits=own, pace=pace if of_both else ())
        self.bring(self.plans[brand.brand_id], [changed])
        for _ in range(minutes):
            for number in range(tries):
                self.unnamed += 1
                spent = Spend(campaign, daily // part + number)
                self.charge("record" if number == 3 else "try", f"offer-{self.unnamed}", [spent])
            self.moves_on(lambda _, ms: ms - ms % MINUTE_MS + (1 + idle) * MINUTE_MS, 0)


class PacedMachine(PacedRules, ModelMachine):
    """With paced brands and campaigns."""

    moves = {**ModelMachine.moves, **PACED_MOVES}
