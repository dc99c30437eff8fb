"""The machine's rules of brakes."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import rule

from engine.domain.brake import Brake
from engine.domain.ids import brand_of
from tests.model import BrandPlan, CampaignPlan, ReferenceModel

BRAKES: Final = st.sampled_from(
    (
        Brake(),
        *(Brake(limit) for limit in (12, 3)),
        *(Brake(None, breaker) for breaker in (15, 4, 1)),
        Brake(10, 14),
        Brake(20, 9),
    )
)


class Braking:
    """What a person does to brakes."""

    twin: ReferenceModel
    plans: dict[int, BrandPlan]
    campaigns: dict[int, CampaignPlan]

    def bring(self, brand: BrandPlan, campaigns: list[CampaignPlan]) -> None:
        """Publishes a plan."""
        raise NotImplementedError

    @rule(place=st.integers(0, 8), brake=BRAKES, resumed=st.booleans())
    def brakes_a_campaign(self, place: int, brake: Brake, resumed: bool) -> None:
        """Gives a campaign another brake. resumed: where its breaker is open, a person closes it."""
        plan = self.campaigns[sorted(self.campaigns)[place % len(self.campaigns)]]
        there = self.twin.shard(plan.campaign_id).campaigns.get(plan.campaign_id)
        closes = resumed and there is not None and there.broken_ms is not None
        number = plan.brake.round + 1 if closes else max(plan.brake.round, int(brake != Brake()))
        changed = plan._replace(version=plan.version + 1, brake=brake._replace(round=number))
        self.bring(self.plans[brand_of(plan.campaign_id)], [changed])

    @rule(place=st.integers(0, 8))
    def resumes_a_campaign(self, place: int) -> None:
        """A person closes the breaker of one of those that are open."""
        shards = self.twin.shards.values()
        broken = sorted(c.campaign_id for shard in shards for c in shard.campaigns.values() if c.broken_ms is not None)
        if broken and (plan := self.campaigns[broken[place % len(broken)]]).brake.round:
            brake = plan.brake._replace(round=plan.brake.round + 1)
            self.bring(self.plans[brand_of(plan.campaign_id)], [plan._replace(version=plan.version + 1, brake=brake)])
