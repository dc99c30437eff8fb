"""Rules of the whole system in which people plan ahead, and days are closed: scheduled limits, pauses, closes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from engine.domain.ids import brand_of
from engine.domain.limit_changes import Period
from engine.domain.periods import MINUTE_MS
from engine.domain.zone_text import Zone
from engine.errors import BudgetError
from tests.model import BrandPlan, CampaignPlan, ReferenceModel
from tests.twin.whole_side import WholeSide

CHANGES: Final = st.sampled_from(
    (
        *(("set", limit) for limit in (None, 0, 5, 20, 50, 200, 1000)),
        *(("add", more) for more in (10, 100, -5)),
        *(("percent", percent * 1_000_000) for percent in (50, 150, 300)),
    )
)
GAPS: Final = st.sampled_from((None, 0, 1, 4_000, 300_000, 7_200_000, "midnight", "before midnight"))
LENGTHS: Final = st.sampled_from((None, None, 1, 5_000, 300_000, 90_000_000))


class PlannedRules(RuleBasedStateMachine):
    """What people plan ahead, and what the catalog and the log make of it: a part of the machine over rebuilds."""

    whole: WholeSide
    twin: ReferenceModel
    clock: int
    plans: dict[int, BrandPlan]
    campaigns: dict[int, CampaignPlan]
    is_persisted: Callable[[], None]
    is_published: Callable[[int], None]
    moves_on: Callable[[Callable[[ReferenceModel, int], int], int], None]

    def now_of(self, brand_id: int) -> int:
        """The time by the shard of a brand."""
        return max(self.clock, self.twin.shards[brand_id % 64].kept_now)

    @rule(
        place=st.integers(0, 11), period=st.sampled_from(("daily", "monthly")), change=CHANGES, gap=GAPS, length=LENGTHS
    )
    def schedules_a_limit(
        self, place: int, period: Period, change: tuple[str, int | None], gap: int | str | None, length: int | None
    ) -> None:
        """Of a brand, or in three of four cases of a campaign. One that does not fit is refused, and changes nothing."""
        known = sorted(self.campaigns)
        owner = self.whole.brands[place] if place < 3 else known[place % len(known)]
        brand_id = owner if place < 3 else brand_of(owner)
        plan = self.plans.get(brand_id)
        if plan is None:
            return
        now = self.now_of(brand_id)
        if gap in ("midnight", "before midnight"):
            starts: int | None = Zone.parse(plan.zone).next_day_ms(now) - (gap == "before midnight")
        else:
            starts = None if gap is None else now + int(gap)
        ends = None if length is None else (now if starts is None else starts) + length
        with suppress(BudgetError):
            self.whole.at_postgresql(now)
            entity = "brand" if place < 3 else "campaign"
            self.whole.system.catalog.limits.schedule(entity, owner, "twin", period, change, starts, ends)
        self.is_published(brand_id)

    @rule(place=st.integers(0, 11))
    def cancels_a_limit(self, place: int) -> None:
        """Before it begins, or while it is in force."""
        found = self.whole.system.catalog.limits.every()
        if found:
            one = found[place % len(found)]
            with suppress(BudgetError):
                self.whole.at_postgresql(self.now_of(one.brand_id))
                self.whole.system.catalog.limits.cancel(one.change.id, "twin")
            self.is_published(one.brand_id)

    @rule(place=st.integers(0, 2), paused=st.booleans())
    def pauses_a_brand(self, place: int, paused: bool) -> None:
        brand = self.whole.brands[place]
        if brand in self.plans:
            self.whole.system.catalog.pause_brand(brand, "twin", paused=paused)
            self.is_published(brand)

    @rule(place=st.integers(0, 2))
    def takes_limits_over(self, place: int) -> None:
        """The catalog takes over what has begun and ended, whoever it is of."""
        if self.whole.brands[place] in self.plans:
            self.is_published(self.whole.brands[place])

    @rule(drained=st.sampled_from((True, True, True, False)))
    def closes_what_is_over(self, drained: bool) -> None:
        """Days that are over for every spend are closed, once the log has them; no other is."""
        if drained:
            self.is_persisted()
        for shard, brands, days in self.whole.closes():
            state = self.twin.shards[shard]
            now = max(self.clock, state.kept_now)
            for zone in [state.brands[brand].zone for brand in brands] or [Zone()]:
                for day in days:
                    assert zone.midnight_ms(day + 1) + state.grace_minutes * MINUTE_MS <= now, "late spends still count"
            self.twin.close(shard, brands, days, self.clock)
        self.twin.tick(self.whole.shards, self.clock)
        if drained:
            self.whole.check_closed(self.twin)

    @rule(hours=st.sampled_from((1, 7, 25, 49)), off=st.sampled_from((-1, 0, 1)))
    def closes_what_is_over_hours_later(self, hours: int, off: int) -> None:
        """Right after a midnight and a grace, or days later."""
        self.moves_on(lambda _, ms: ms - ms % 3_600_000 + hours * 3_600_000, off)
        self.closes_what_is_over(True)
